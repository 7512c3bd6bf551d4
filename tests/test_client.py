"""The client: what it asks, what it makes of the answers, and what it says when nobody answers."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, error, part, reply, says

from pgsupervisor.control.client import Client
from pgsupervisor.control.protocol import Parameters, Reply, Request
from pgsupervisor.errors import DaemonUnreachableError, MalformedMessageError, RemoteError
from pgsupervisor.system.identity import User

LIMIT = 30.0
"""Seconds until a wait is given up."""

NEXT_STEP = (
    "is pgsupervisord running? Start it with `systemctl start pgsupervisor` or `pgsupervisord -c INVENTORY`, "
    "or name the socket of another one with `-s SOCKET`"
)


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


def test_a_call_has_one_answer(path: str) -> None:
    """A call asks for a method of our interface, and parameters that are None are not sent."""
    with FakeDaemon(path, {"Stop": says(reply(outcomes=[]))}) as daemon, Client(path) as client:
        assert client.call("Stop", names=["shop"], mode=None, timeout=1.5) == {"outcomes": []}
        assert client.call("Stop", names=[]) == {"outcomes": []}
    assert daemon.requests == [
        Request("io.pgsupervisor.Stop", {"names": ["shop"], "timeout": 1.5}),
        Request("io.pgsupervisor.Stop", {"names": []}),
    ]


def test_a_stream_has_many_answers(path: str) -> None:
    """A stream asks for more, and yields everything up to the answer that no other follows."""
    with FakeDaemon(path, {"Start": says(part(n=1), part(n=2), reply(n=3))}) as daemon, Client(path) as client:
        assert list(client.stream("Start", names=["shop"])) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert daemon.requests == [Request("io.pgsupervisor.Start", {"names": ["shop"]}, more=True)]


def test_answers_come_as_soon_as_they_are_there(path: str) -> None:
    """The first answer of a stream is yielded while the daemon has not said the second yet."""
    go_on = threading.Event()

    def slowly(_parameters: Parameters) -> Iterator[Reply | None]:
        yield part(n=1)
        assert go_on.wait(10)
        yield reply(n=2)

    with FakeDaemon(path, {"Start": slowly}), Client(path) as client:
        answers = client.stream("Start", names=["shop"])
        assert next(answers) == {"n": 1}
        go_on.set()
        assert list(answers) == [{"n": 2}]


def test_a_long_answer_arrives_whole(path: str) -> None:
    text = "é\udcff\n" * 500_000
    with FakeDaemon(path, {"GetLog": says(reply(text=text))}), Client(path) as client:
        assert client.call("GetLog", names=["shop"], lines=500_000) == {"text": text}


def test_an_error_is_raised_with_its_facts(path: str) -> None:
    """An error of the interface is a RemoteError that carries its name and parameters."""
    wrong = error("io.pgsupervisor.NoSuchCluster", name="shpo")
    with FakeDaemon(path, {"Start": says(wrong)}), Client(path) as client:
        with pytest.raises(RemoteError, match=r"^NoSuchCluster: name=shpo$") as caught:
            list(client.stream("Start", names=["shpo"]))
        assert (caught.value.name, caught.value.parameters) == ("io.pgsupervisor.NoSuchCluster", {"name": "shpo"})
        with pytest.raises(RemoteError):
            client.call("Start", names=["shpo"])


def unreachable(path: str, timeout: float = LIMIT) -> str:
    """Return the reason why nobody answers."""
    with pytest.raises(DaemonUnreachableError) as caught:
        Client(path, timeout)
    assert caught.value.path == path
    assert str(caught.value) == f"cannot reach pgsupervisord at {path}: {caught.value.why}"
    return caught.value.why


def test_there_is_no_socket(path: str) -> None:
    assert unreachable(path) == f"there is no socket; {NEXT_STEP}"


def test_nobody_listens(path: str) -> None:
    """The socket file of a daemon that was killed is still there."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
    assert unreachable(path) == f"nobody listens there any more; {NEXT_STEP}"


def test_a_path_that_no_socket_can_have() -> None:
    assert unreachable("/tmp/" + "x" * 200) == f"AF_UNIX path too long; {NEXT_STEP}"


def test_we_may_not_connect(path: str, server_user: User | None) -> None:
    """The socket's mode decides who may ask; root, who may always, looks with a server's eyes here."""
    with FakeDaemon(path, {}), contextlib.ExitStack() as as_somebody:
        Path(path).chmod(0)
        if server_user is not None:
            as_somebody.callback(os.seteuid, os.geteuid())
            os.seteuid(server_user.uid)
        assert unreachable(path) == (
            "permission denied; ask as root, as the daemon's own user, or as a member of its admin_group"
        )


def test_a_daemon_that_lets_nobody_in_is_unreachable(path: str) -> None:
    """When more clients wait than the kernel queues, a connection is not waited for longer than asked."""
    waiting = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        waiting.append(Client(path))
        assert unreachable(path, 0.05) == "it takes no more connections at the moment; try again"
        waiting.pop().close()


@pytest.mark.parametrize("timeout", [LIMIT, None])
def test_a_daemon_with_a_crowd_in_front_of_it(path: str, timeout: float | None) -> None:
    """Whoever finds more clients at the door than the kernel queues waits until he is let in."""
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as connected:
        listening.bind(path)
        listening.listen(0)
        first = connected.enter_context(Client(path))
        letting_in = threading.Timer(0.1, lambda: connected.enter_context(listening.accept()[0]))
        letting_in.start()
        connected.enter_context(Client(path, timeout))
        letting_in.join()
        assert first._socket.getpeername() == path


@pytest.mark.parametrize("answers", [[None], [part(n=1), None], [b'{"parameters":', None]])
def test_the_daemon_hangs_up_midway(path: str, answers: list[Reply | bytes | None]) -> None:
    """An answer that ends midway is no answer, and says so."""
    with (
        FakeDaemon(path, {"Start": says(*answers)}),
        Client(path) as client,
        pytest.raises(DaemonUnreachableError, match="it hung up before it had answered; did it stop"),
    ):
        list(client.stream("Start", names=["shop"]))


def test_a_daemon_that_hangs_up_at_once(path: str) -> None:
    """A daemon that has too many clients turns us away: that is told as such, whenever it is noticed."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with Client(path) as client:
            listening.accept()[0].close()
            with pytest.raises(DaemonUnreachableError, match="it hung up"):
                client.call("GetDaemon")


def test_a_call_is_not_waited_for_longer_than_asked(path: str) -> None:
    """A daemon that is stuck is as good as none."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with (
            Client(path, timeout=0.05) as client,
            pytest.raises(DaemonUnreachableError, match=r"no answer within 0\.05 s"),
        ):
            client.call("GetDaemon")


def test_what_answers_is_no_daemon(path: str) -> None:
    with (
        FakeDaemon(path, {"GetDaemon": says(b"220 mail.example.com ESMTP\0")}),
        Client(path) as client,
        pytest.raises(MalformedMessageError),
    ):
        client.call("GetDaemon")


def test_the_end_of_the_daemon_can_be_waited_for(path: str) -> None:
    """After StopDaemon, the connection ends when the daemon does."""
    ended = threading.Event()

    def end(_parameters: Parameters) -> Iterator[Reply | None]:
        yield reply()
        assert ended.wait(10)
        yield None

    with FakeDaemon(path, {"StopDaemon": end}), Client(path) as client:
        assert client.call("StopDaemon") == {}
        ended.set()
        client.wait_for_end()
