/*
 * A small program that behaves like a postmaster, for where memory ends: a thousand of these take less than one of those.
 *
 *   postgres -V              says its version
 *   postgres -D DIRECTORY    has a socket there where its postgresql.conf says
 *
 * It writes its postmaster.pid as PostgreSQL does (AddToDataDirLockFile in miscinit.c), first "starting" and then "ready",
 * lets in whoever sends a startup packet, and removes the file when it is told to stop.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char AUTHENTICATION_OK[] = {'R', 0, 0, 0, 8, 0, 0, 0, 0};

static void write_pid_file(int file, const char *directory, int port, const char *sockets, const char *status)
{
    char text[4096];
    int length = snprintf(text, sizeof text, "%d\n%s\n%ld\n%d\n%s\n\n%9lu %9lu\n%-8s\n", getpid(), directory,
                          (long)time(NULL), port, sockets, 0UL, 0UL, status);
    if (pwrite(file, text, length, 0) != length)
        exit(1);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    unlink(path);
    if (bind(door, (struct sockaddr *)&address, sizeof address) || listen(door, 64)) {
        perror(path);
        exit(1);
    }
    return door;
}

static void let_in(int door)
{
    char packet[512];
    int guest = accept(door, NULL, NULL);
    if (guest < 0)
        return;
    if (read(guest, packet, sizeof packet) > 0 && write(guest, AUTHENTICATION_OK, sizeof AUTHENTICATION_OK) < 0)
        perror("guest");
    close(guest);
}

static void read_configuration(int *port, char *sockets)
{
    char line[512];
    FILE *file = fopen("postgresql.conf", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "port = %d", port);
        sscanf(line, "unix_socket_directories = '%255[^']'", sockets);
    }
    if (file != NULL)
        fclose(file);
}

int main(int count, char **arguments)
{
    char path[4096], sockets[256] = "/tmp";
    int port = 5432;
    sigset_t told;

    if (count > 1 && !strcmp(arguments[1], "-V")) {
        puts("postgres (PostgreSQL) " VERSION);
        return 0;
    }
    if (count < 3 || strcmp(arguments[1], "-D") || chdir(arguments[2]))
        return 1;
    read_configuration(&port, sockets);
    sigfillset(&told);
    sigprocmask(SIG_BLOCK, &told, NULL);
    int file = open("postmaster.pid", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    write_pid_file(file, arguments[2], port, sockets, "starting");
    snprintf(path, sizeof path, "%s/.s.PGSQL.%d", sockets, port);
    int door = listen_at(path), signals = signalfd(-1, &told, SFD_CLOEXEC);
    write_pid_file(file, arguments[2], port, sockets, "ready");
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd either[] = {{door, POLLIN, 0}, {signals, POLLIN, 0}};
        struct signalfd_siginfo which;
        poll(either, 2, -1);
        if (either[0].revents)
            let_in(door);
        if (either[1].revents && read(signals, &which, sizeof which) > 0)
            if (which.ssi_signo == SIGINT || which.ssi_signo == SIGTERM || which.ssi_signo == SIGQUIT)
                break;
    }
    unlink(path);
    unlink("postmaster.pid");
    return 0;
}
