"""Where a server would listen, and who listens there already; with real sockets and no server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import write_pid_file

from pgsupervisor.postgres.addresses import socket_path, split_list, tcp_problems, unix_problems


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("", []),
        (" ", []),
        ("localhost", ["localhost"]),
        ("127.0.0.1, ::1", ["127.0.0.1", "::1"]),
        ("*", ["*"]),
        ('/tmp, "/run/a, b"', ["/tmp", "/run/a, b"]),
    ],
)
def test_split_list(value: str, items: list[str]) -> None:
    """A list is split as the server splits it, quotes and all."""
    assert split_list(value) == items


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of 127.0.0.1 on which we listen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use(listener: int) -> None:
    """A port that somebody listens on is reported with who that is, also where only one of many addresses is taken."""
    name = Path("/proc/self/comm").read_text().strip()
    words = f"port {listener} at 127.0.0.1 is in use by {name} (pid {os.getpid()}); "
    words += "stop what listens there, or choose another port"
    assert tcp_problems(["127.0.0.1"], listener) == [words]
    assert tcp_problems(["127.0.0.1", "127.0.0.2"], listener) == [words]


def test_everywhere_is_in_use_where_one_address_is(listener: int) -> None:
    """A port of all addresses cannot be had while one address has it in use."""
    assert "0.0.0.0" in tcp_problems(["*"], listener)[0]  # noqa: S104 - the address that the message names


def test_a_free_port(listener: int) -> None:
    """Another address of the port, or no address at all, is fine, and stays free after it was tried."""
    for _ in range(2):
        assert tcp_problems(["127.0.0.2"], listener) == []
    assert tcp_problems([], listener) == []


def test_a_port_that_was_in_use() -> None:
    """A port whose connections linger (TIME_WAIT) is free, as it is for the server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    assert tcp_problems(["127.0.0.1"], port) == []


def test_addresses_of_another_machine(listener: int) -> None:
    """An address that this machine does not have is a problem if there is no other."""
    (problem,) = tcp_problems(["192.0.2.1"], listener)
    assert problem.startswith("no address of listen_addresses can be used (192.0.2.1: ")
    assert tcp_problems(["192.0.2.1", "127.0.0.2"], listener) == []


def test_an_unknown_host(listener: int) -> None:
    """A name that nobody knows is no address."""
    assert tcp_problems(["no-such-host.invalid"], listener)[0].startswith("no address of listen_addresses can be used")


def test_a_socket_in_use(short_directory: Path) -> None:
    """A socket that somebody listens on is reported, with the server that its lock file names."""
    path = socket_path(str(short_directory), 5432)
    write_pid_file(short_directory, 4711, "/srv/pg/other").rename(path + ".lock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        words = f"the socket {path} is in use by the server with pid 4711 of /srv/pg/other; "
        words += "stop that server, or choose another port or directory"
        assert unix_problems([str(short_directory)], 5432, None) == [words]
        assert unix_problems([str(short_directory)], 5433, None) == []
        # Nobody accepts, so by now the queue is full.
        assert len(unix_problems([str(short_directory)], 5432, None)) == 1
    assert unix_problems([str(short_directory)], 5432, None) == [], "a socket without a listener is a leftover"


def test_an_abstract_socket() -> None:
    """A socket in the abstract namespace needs no directory, and can be in use all the same."""
    name = f"@pgsupervisor-test-{os.getpid()}"
    assert unix_problems([name], 5432, None) == []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + socket_path(name, 5432)[1:])
        server.listen()
        assert len(unix_problems([name], 5432, None)) == 1


def test_the_longest_path(short_directory: Path) -> None:
    """A socket's path has 107 bytes at most."""
    room = 107 - len(socket_path(str(short_directory), 5432)) - 1
    fits, too_long = short_directory / ("x" * room), short_directory / ("x" * (room + 1))
    fits.mkdir()
    too_long.mkdir()
    assert unix_problems([str(fits)], 5432, None) == []
    with socket.socket(socket.AF_UNIX) as judge:
        judge.bind(socket_path(str(fits), 5432))
    (problem,) = unix_problems([str(too_long)], 5432, None)
    assert "is longer than 107 bytes" in problem


def test_a_socket_directory_that_cannot_be_used(short_directory: Path) -> None:
    """A socket directory must be there, and be the server's to write."""
    (problem,) = unix_problems([str(short_directory / "missing")], 5432, None)
    assert problem.startswith(f"the socket directory {short_directory}/missing does not exist, or")
