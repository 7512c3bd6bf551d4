"""The control socket as a file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgsupervisor.control.endpoint import Endpoint
from pgsupervisor.errors import ControlError, DaemonRunningError
from pgsupervisor.system.identity import user

IN_ATTRIB = 0x4
"""The attributes of something in a directory have changed (inotify(7))."""

WE = user(os.geteuid()).name

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A short directory that only we may write."""
    with tempfile.TemporaryDirectory(prefix="pgs-", dir="/tmp") as path:
        yield Path(path)


def path_in(directory: Path) -> str:
    """Return where the socket of a test is."""
    return str(directory / "run" / "control")


def test_it_listens_and_goes(place: Path) -> None:
    """The socket has its mode from the beginning, whatever the umask, and is gone in the end."""
    path = path_in(place)
    former = os.umask(0o077)
    try:
        with Endpoint(path, 0o664, None), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o664
        after = os.umask(0o077)
    finally:
        os.umask(former)
    assert (os.path.exists(path), after) == (False, 0o077)


def test_there_is_no_moment_with_another_mode(place: Path) -> None:
    """The socket is made with its mode: none is given to it afterwards, when somebody could have connected already."""
    with changes_of_attributes(place) as changed:
        with Endpoint(str(place / "control"), 0o664, None):
            assert changed() == []
        (place / "file").touch(mode=0o644)
        (place / "file").chmod(0o600)
        assert changed() == ["file"]


@contextlib.contextmanager
def changes_of_attributes(directory: Path) -> Iterator[Callable[[], list[str]]]:
    """Have the kernel tell whose mode, owner or number of links has changed in a directory, apart from removals."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(libc.inotify_init1(os.O_NONBLOCK), "rb", buffering=0) as events:
        assert libc.inotify_add_watch(events.fileno(), os.fsencode(directory), IN_ATTRIB) >= 0

        def changed() -> list[str]:
            told, names = events.read(65536) or b"", []
            while told:
                length = int.from_bytes(told[12:16], sys.byteorder)
                names.append(told[16 : 16 + length].rstrip(b"\0").decode())
                told = told[16 + length :]
            return names

        yield changed


def test_the_group(place: Path) -> None:
    """The socket belongs to the group that is asked for."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    path = path_in(place)
    with Endpoint(path, 0o660, 12345):
        assert (os.stat(path).st_gid, stat.S_IMODE(os.stat(path).st_mode)) == (12345, 0o660)


def test_one_at_a_time(place: Path) -> None:
    """The second one learns who the first one is, and leaves its socket alone; when that is gone, there is room."""
    path = path_in(place)
    with Endpoint(path, 0o600, None):
        with pytest.raises(DaemonRunningError) as caught:
            Endpoint(path, 0o600, None)
        assert (caught.value.path, caught.value.pid, os.path.exists(path)) == (path, os.getpid(), True)
    Endpoint(path, 0o600, None).close()


def test_one_at_a_time_though_the_socket_was_removed(place: Path) -> None:
    """A socket that somebody removed makes no room for a second daemon: the lock tells."""
    path = str(place / "control")
    with Endpoint(path, 0o600, None):
        os.unlink(path)
        with pytest.raises(DaemonRunningError):
            Endpoint(path, 0o600, None)


def test_a_stale_socket(place: Path) -> None:
    """A socket that nobody listens at is replaced."""
    path = str(place / "control")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with Endpoint(path, 0o600, None), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_somebody_elses_socket(place: Path) -> None:
    """A socket at which another program listens stays, and we are told which one it is."""
    path = str(place / "control")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(DaemonRunningError) as caught:
            Endpoint(path, 0o600, None)
        assert (caught.value.pid, os.path.exists(path)) == (os.getpid(), True)


def test_somebody_elses_socket_that_is_busy(place: Path) -> None:
    """A socket that takes no more connections belongs to somebody, too; nobody waits for it."""
    path = str(place / "control")
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(path)
        other.listen(0)
        waiting.connect(path)
        with pytest.raises(ControlError, match="does not answer"):
            Endpoint(path, 0o600, None)
        assert os.path.exists(path)


def put(path: Path, kind: str) -> None:
    """Put something at a path."""
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "symbolic link":
            (path.parent / "elsewhere").write_text("precious")
            path.symlink_to(path.parent / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(path))


def no_room(path: Path, what: str, there: str) -> str:
    """Return what is said when something is in the way."""
    return f"{path} is not {what}, but a {there}'s; move that away, or name another `socket` in the inventory"


@pytest.mark.parametrize("kind", ["file", "directory", "symbolic link", "pipe"])
def test_what_is_no_socket_stays(place: Path, kind: str) -> None:
    """Whatever is no socket is somebody's, and stays; a symbolic link is not followed."""
    path = place / "control"
    put(path, kind)
    before = os.lstat(path)
    with pytest.raises(ControlError) as caught:
        Endpoint(str(path), 0o600, None)
    assert str(caught.value) == no_room(path, "the control socket", f"{kind} of {WE}")
    assert os.path.samestat(os.lstat(path), before)


@pytest.mark.parametrize("kind", ["directory", "symbolic link", "pipe", "socket"])
def test_what_is_no_lock_stays(place: Path, kind: str) -> None:
    """Whatever is at the lock's place and is no file of ours stays as it is, and so does what a link leads to."""
    path = place / "control.lock"
    put(path, kind)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ControlError) as caught:
        Endpoint(str(place / "control"), 0o600, None)
    assert str(caught.value) == no_room(path, "the lock of the control socket", f"{kind} of {WE}")
    assert len(os.listdir("/proc/self/fd")) == before
    assert kind != "symbolic link" or (place / "elsewhere").read_text() == "precious"


def test_a_lock_with_another_name(place: Path) -> None:
    """A hard link that was put at the lock's place does not make us write into a file that is elsewhere, too."""
    precious = place / "precious"
    precious.write_text("precious")
    (place / "control.lock").hardlink_to(precious)
    with pytest.raises(ControlError) as caught:
        Endpoint(str(place / "control"), 0o600, None)
    there = f"file with 2 names of {WE}"
    assert str(caught.value) == no_room(place / "control.lock", "the lock of the control socket", there)
    assert precious.read_text() == "precious"


@as_root
@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [("control", "socket", "the control socket"), ("control.lock", "file", "the lock of the control socket")],
)
def test_what_belongs_to_another_user_stays(place: Path, name: str, kind: str, what: str) -> None:
    """A stale socket and a lock that another user has left are his, and stay."""
    path = place / name
    put(path, kind)
    os.chown(path, user("nobody").uid, -1)
    with pytest.raises(ControlError) as caught:
        Endpoint(str(place / "control"), 0o600, None)
    assert str(caught.value) == no_room(path, what, f"{kind} of nobody")
    assert path.exists()


def test_what_has_taken_its_place_stays(place: Path) -> None:
    """In the end, what is not our socket any more is not removed."""
    path = place / "control"
    endpoint = Endpoint(str(path), 0o600, None)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        endpoint.close()
        assert path.exists()


def test_it_is_gone_though_a_child_has_it(place: Path) -> None:
    """A socket that another process still has open, as a child does before it executes a program, is removed."""
    path = place / "control"
    endpoint = Endpoint(str(path), 0o600, None)
    with endpoint.socket.dup():
        endpoint.close()
        assert not path.exists()


@pytest.mark.parametrize(("mode", "bits"), [(0o777, "0777"), (0o702, "0702")])
def test_a_directory_that_others_may_write(place: Path, mode: int, bits: str) -> None:
    """Where others could put a socket of theirs, ours is not made, nor anything else; we are told what to do."""
    place.chmod(mode)
    with pytest.raises(ControlError) as caught:
        Endpoint(str(place / "control"), 0o600, None)
    assert str(caught.value) == (
        f"others could put a socket of theirs at {place}/control, since others may write in {place} (its mode is "
        f"{bits}); do `chmod go-w {place}`, or name another `socket` in the inventory"
    )
    assert list(place.iterdir()) == []


def test_a_directory_is_made_for_all_to_enter(place: Path) -> None:
    """The socket's mode alone says who may connect: its directory, made for it, lets in all, whatever the umask."""
    former = os.umask(0)
    try:
        for umask in (0, 0o077):
            os.umask(umask)
            path = place / f"{umask}" / "run" / "control"
            with Endpoint(str(path), 0o600, None):
                modes = [stat.S_IMODE(each.stat().st_mode) for each in (path.parents[1], path.parent, path)]
            assert modes == [0o755, 0o755, 0o600]
    finally:
        os.umask(former)


@as_root
def test_the_daemon_of_an_ordinary_user(place: Path) -> None:
    """An ordinary user's daemon listens in his own runtime directory, and in nobody else's."""
    nobody = user("nobody")
    place.chmod(0o755)
    his = place / "runtime"
    his.mkdir(mode=0o700)
    os.chown(his, nobody.uid, nobody.gid)
    os.seteuid(nobody.uid)
    try:
        with Endpoint(str(his / "pgsupervisor" / "control"), 0o660, None) as endpoint:
            assert os.stat(endpoint.path).st_uid == nobody.uid
        with pytest.raises(ControlError, match="Permission denied"):
            Endpoint(str(place / "control"), 0o660, None)
    finally:
        os.seteuid(0)
    with pytest.raises(ControlError, match=f"since {his} belongs to nobody; do `chown -h root {his}`"):
        Endpoint(str(his / "pgsupervisor" / "control"), 0o660, None)


@pytest.mark.parametrize(
    ("name", "says"),
    [("x" * 200, "too long"), ("file/control", "Not a directory|File exists")],
)
def test_a_place_that_cannot_be_used(place: Path, name: str, says: str) -> None:
    """A place where no socket can be says why, and nothing stays open."""
    (place / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ControlError, match=says):
        Endpoint(str(place / name), 0o600, None)
    assert len(os.listdir("/proc/self/fd")) == before
