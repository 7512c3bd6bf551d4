"""Processes: what is known of them, how they are held, and what they start with."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pgsupervisor.system.identity import User, user
from pgsupervisor.system.process import (
    Facts,
    Process,
    abandon,
    children,
    facts,
    hold,
    is_zombie,
    run,
    spawn,
    works_in,
)

LIMIT = 20.0
"""Seconds after which what should happen is taken not to."""

NO_PID = 2**22 + 1
"""More than the kernel ever gives to a process."""

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as somebody else")


class _Programs:
    """Starts programs that are ended after the test."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, run_as: User | None = None, until: bytes = b"") -> subprocess.Popen[bytes]:
        """Start a program and wait until it has written something."""
        read, write = os.pipe()
        with open(read, "rb") as output:
            try:
                self.started.append(spawn(arguments, environment=ENVIRONMENT, output=write, run_as=run_as))
            finally:
                os.close(write)
            assert output.read(len(until)) == until
        return self.started[-1]

    def end(self) -> None:
        """Kill what was started, each with its group, and reap it."""
        for program in self.started:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()


@pytest.fixture
def programs() -> Iterator[_Programs]:
    """Programs that do not outlive the test."""
    made = _Programs()
    yield made
    made.end()


def _started(pid: int) -> float:
    """Return when a process started, in seconds since the epoch, by the kernel's own words."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    (booted,) = (line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return int(booted) + ticks / os.sysconf("SC_CLK_TCK")


def _status(pid: int, key: str) -> list[str]:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return line.split()[1:]


def test_facts(programs: _Programs) -> None:
    """The kernel's facts of a process: parent, start, program, working directory, owner."""
    program = programs.start("sleep", "600")
    known = facts(program.pid)
    assert known is not None
    assert known.started == pytest.approx(_started(program.pid), abs=1)
    assert replace(known, started=0) == Facts(
        pid=program.pid,
        parent=os.getpid(),
        started=0,
        executable=os.path.realpath(f"/proc/{program.pid}/exe"),
        directory="/",
        uid=os.geteuid(),
    )
    assert facts(program.pid) == known
    assert not is_zombie(program.pid)


def test_a_deleted_program_keeps_its_name(programs: _Programs, tmp_path: Path) -> None:
    """A server whose program was replaced by an upgrade is known by the old path."""
    path = tmp_path / "program"
    path.write_bytes(Path("/bin/sleep").read_bytes())
    path.chmod(0o755)
    program = programs.start(str(path), "600")
    path.unlink()
    known = facts(program.pid)
    assert known is not None
    assert known.executable == str(path)


def test_a_zombie_is_nobody(programs: _Programs) -> None:
    """A process that has ended, and is not reaped yet, has ended."""
    program = programs.start("true")
    with Process(program.pid) as process:
        assert process.wait(LIMIT)
        assert not process.alive()
        assert _status(program.pid, "State") == ["Z", "(zombie)"]
        assert facts(program.pid) is None
        assert is_zombie(program.pid)
        assert not process.catches(signal.SIGHUP)
        assert children(process) == []
        assert program.wait() == 0, "its exit status is still there for its parent"
        assert not is_zombie(program.pid)
        assert not process.signal(signal.SIGTERM)
        assert not process.catches(signal.SIGHUP)


@pytest.mark.parametrize("pid", [NO_PID, -1, 2**40])
def test_nobody(pid: int) -> None:
    """Numbers that are no process have no facts."""
    assert facts(pid) is None
    assert not is_zombie(pid)


def test_hold(programs: _Programs) -> None:
    """A process that is there is held; one that is not cannot be."""
    program = programs.start("sleep", "600")
    process = hold(program.pid)
    assert process is not None
    with process:
        assert (process.pid, process.fileno()) == (program.pid, process.pidfd)
        assert process.alive()
        assert not process.wait(0)
    assert hold(NO_PID) is None
    with pytest.raises(ProcessLookupError):
        Process(NO_PID)


def test_a_thread_is_no_process() -> None:
    """A number that only a thread has is that of no process: an old postmaster.pid may well have it."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        assert hold(thread.native_id) is None
    finally:
        over.set()
        thread.join()


def test_signal(programs: _Programs) -> None:
    """A signal reaches the process that is held."""
    program = programs.start("sleep", "600")
    with Process(program.pid) as process:
        assert process.signal(signal.SIGTERM)
        assert process.wait(None)
    assert program.wait() == -signal.SIGTERM


def test_no_signal_to_whom_we_let_go(programs: _Programs) -> None:
    """What is told a process later than it was let go of reaches nobody, and is no mistake."""
    program = programs.start("sleep", "600")
    process = Process(program.pid)
    process.close()
    assert not process.signal(signal.SIGTERM)
    assert program.poll() is None


@as_root
def test_a_signal_to_somebody_else(programs: _Programs) -> None:
    """An ordinary user is refused, not told that the process is gone."""
    program = programs.start("sleep", "600", run_as=user("nobody"))
    with Process(program.pid) as process:
        os.seteuid(user("daemon").uid)
        try:
            with pytest.raises(PermissionError):
                process.signal(signal.SIGTERM)
        finally:
            os.seteuid(0)
        assert process.alive()


def test_close(programs: _Programs) -> None:
    """To let go of a process does not end it; the descriptor is closed once."""
    program = programs.start("sleep", "600")
    process = Process(program.pid)
    pidfd = process.pidfd
    process.close()
    process.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pidfd)
    assert program.poll() is None


def test_the_pidfd_is_not_inherited(programs: _Programs) -> None:
    """Nobody whom we start holds those whom we hold."""
    with Process(programs.start("sleep", "600").pid) as process:
        assert not os.get_inheritable(process.pidfd)


def test_catches(programs: _Programs) -> None:
    """A handler is seen from outside."""
    program = programs.start("sh", "-c", "trap : HUP; echo up; sleep 600 & wait", until=b"up\n")
    with Process(program.pid) as process:
        assert process.catches(signal.SIGHUP)
        assert not process.catches(signal.SIGTERM)


def test_works_in(programs: _Programs, tmp_path: Path) -> None:
    """The working directory is compared as a directory, whatever it is called."""
    pid = programs.start("sleep", "600").pid
    (tmp_path / "root").symlink_to("/")
    assert works_in(pid, str(tmp_path / "root")) is True
    assert works_in(pid, str(tmp_path)) is False
    with pytest.raises(FileNotFoundError):
        works_in(pid, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        works_in(NO_PID, "/")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_children(programs: _Programs) -> None:
    """The children of a process are held, and those of its children are not; no descriptor is lost."""
    script = "sleep 600 & sleep 600 & (sleep 600 & wait) & echo up; wait"
    program = programs.start("sh", "-c", script, until=b"up\n")
    before = _descriptors()
    with Process(program.pid) as parent:
        held = children(parent)
        try:
            known = [facts(process.pid) for process in held]
            assert [each.parent for each in known if each is not None] == [program.pid] * 3
        finally:
            for process in held:
                process.close()
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        assert children(parent) == []
    assert _descriptors() == before


def test_spawn_in_a_clean_place(programs: _Programs) -> None:
    """A program starts in a session of its own, with three descriptors, in /, with nothing of our environment."""
    stray = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(stray, True)  # noqa: FBT003  # os has it so
    reads, writes = os.pipe()
    with os.fdopen(reads) as said:
        try:
            # It stops when it has been loaded: the loader opens files of its own.
            script = ["sh", "-c", "echo up; kill -STOP $$"]
            program = spawn(script, environment={"PATH": os.environ["PATH"]}, output=writes)
            programs.started.append(program)
            pipe = os.readlink(f"/proc/self/fd/{writes}")
        finally:
            os.close(stray)
            os.close(writes)
        assert said.readline() == "up\n"
    proc = Path(f"/proc/{program.pid}")
    assert {name: os.readlink(proc / "fd" / name) for name in os.listdir(proc / "fd")} == {
        "0": "/dev/null",
        "1": pipe,
        "2": pipe,
    }
    assert (os.getsid(program.pid), os.getpgid(program.pid)) == (program.pid, program.pid)
    assert os.readlink(proc / "cwd") == "/"
    assert (proc / "environ").read_bytes() == f"PATH={os.environ['PATH']}\0".encode()
    assert _status(program.pid, "Umask") == ["0077"]


def test_spawn_blocks_no_signals(programs: _Programs) -> None:
    """A program starts with no signal blocked, and ignores none that Python ignores."""
    program = programs.start("sleep", "600")
    blocked, ignored = (int(_status(program.pid, key)[0], 16) for key in ("SigBlk", "SigIgn"))
    # Whoever started us may ignore others, and that is inherited.
    assert (blocked, ignored & sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))) == (0, 0)


def test_spawn_what_is_not_there() -> None:
    """A program that cannot be executed is an OSError at once."""
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"], environment={}, output=subprocess.DEVNULL)


@as_root
def test_spawn_as_another_user(programs: _Programs) -> None:
    """Root can lend a program to a user: ids and groups are all that user's, and nothing of root's is left."""
    nobody = replace(user("nobody"), groups=(user("nobody").gid, 12345))
    pid = programs.start("sleep", "600", run_as=nobody).pid
    assert (_status(pid, "Uid"), _status(pid, "Gid"), sorted(_status(pid, "Groups"))) == (
        [str(nobody.uid)] * 4,
        [str(nobody.gid)] * 4,
        sorted(str(group) for group in nobody.groups),
    )


def test_spawn_as_ourselves(programs: _Programs) -> None:
    """Whoever asks for himself gets himself, root or not."""
    pid = programs.start("sleep", "600", run_as=user(os.geteuid())).pid
    assert _status(pid, "Uid") == [str(os.geteuid())] * 4


def test_run() -> None:
    """A short program is run to its end: status, output and errors; bytes that are no UTF-8 are kept."""
    finished = run(["sh", "-c", r"printf 'caf\351'; echo no >&2; exit 3"], environment=ENVIRONMENT)
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, "caf\udce9", "no\n")


def test_run_with_input(tmp_path: Path) -> None:
    """A descriptor may be given to read; without one there is nothing to read."""
    (tmp_path / "input").write_text("hello")
    with (tmp_path / "input").open() as file:
        assert run(["cat"], environment=ENVIRONMENT, stdin=file.fileno()).stdout == "hello"
    assert run(["cat"], environment=ENVIRONMENT).stdout == ""


def test_run_in_a_clean_place() -> None:
    """A short program too has a session, a directory and a umask of its own."""
    script = "umask; pwd; ps -o sid= -p $$ | tr -d ' '; echo $$"
    umask, directory, session, pid = run(["sh", "-c", script], environment=ENVIRONMENT).stdout.split()
    assert (umask, directory, session) == ("0077", "/", pid)


def test_run_out_of_time() -> None:
    """When its time is over, a program is killed with all that it started."""
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        run(["sh", "-c", "sleep 600 & echo $!; wait"], environment=ENVIRONMENT, timeout=0.5)
    assert caught.value.stdout is not None
    left = hold(int(caught.value.stdout))
    if left is not None:
        with left:
            assert left.wait(LIMIT)


@as_root
def test_run_as_another_user() -> None:
    """Root can have a question answered for a user."""
    nobody = user("nobody")
    finished = run(["sh", "-c", "id -u; id -g; id -G"], environment=ENVIRONMENT, run_as=nobody)
    assert finished.stdout.split() == [str(nobody.uid), str(nobody.gid), *(str(group) for group in nobody.groups)]


def test_user() -> None:
    """A user is found by name and by number, and nobody else is."""
    assert user("root") == user(0)
    assert (user(0).name, user(0).uid, user(0).gid) == ("root", 0, 0)
    assert 0 in user(0).groups
    with pytest.raises(KeyError):
        user("no such user")
    with pytest.raises(KeyError):
        user(2**31)


def test_abandon() -> None:
    """Short programs that still run are killed, so that whoever waits for one waits no more."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, ["/bin/sleep", "1000"], environment={})
        while not waiting.done():
            abandon()
        assert waiting.result().returncode == -signal.SIGKILL
