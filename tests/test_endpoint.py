"""The control socket as a file."""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path

import pytest

from pgsupervisor.control.endpoint import Endpoint
from pgsupervisor.errors import ControlError, DaemonRunningError


def path_in(directory: Path) -> str:
    """Return where the socket of a test is."""
    return str(directory / "run" / "control")


def test_it_listens_and_goes(short_directory: Path) -> None:
    """The socket has its mode from the beginning, whatever the umask, and is gone in the end."""
    path = path_in(short_directory)
    former = os.umask(0o077)
    try:
        with Endpoint(path, 0o664, None), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o664
        after = os.umask(0o077)
    finally:
        os.umask(former)
    assert (os.path.exists(path), after) == (False, 0o077)


def test_the_group(short_directory: Path) -> None:
    """The socket belongs to the group that is asked for."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    path = path_in(short_directory)
    with Endpoint(path, 0o660, 12345):
        assert (os.stat(path).st_gid, stat.S_IMODE(os.stat(path).st_mode)) == (12345, 0o660)


def test_one_at_a_time(short_directory: Path) -> None:
    """The second one learns who the first one is, and leaves its socket alone; when that is gone, there is room."""
    path = path_in(short_directory)
    with Endpoint(path, 0o600, None):
        with pytest.raises(DaemonRunningError) as caught:
            Endpoint(path, 0o600, None)
        assert (caught.value.path, caught.value.pid, os.path.exists(path)) == (path, os.getpid(), True)
    Endpoint(path, 0o600, None).close()


def test_one_at_a_time_though_the_socket_was_removed(short_directory: Path) -> None:
    """A socket that somebody removed makes no room for a second daemon: the lock tells."""
    path = str(short_directory / "control")
    with Endpoint(path, 0o600, None):
        os.unlink(path)
        with pytest.raises(DaemonRunningError):
            Endpoint(path, 0o600, None)


def test_a_stale_socket(short_directory: Path) -> None:
    """A socket that nobody listens at is replaced."""
    path = str(short_directory / "control")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with Endpoint(path, 0o600, None), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_somebody_elses_socket(short_directory: Path) -> None:
    """A socket at which another program listens stays, and we are told which one it is."""
    path = str(short_directory / "control")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(DaemonRunningError) as caught:
            Endpoint(path, 0o600, None)
        assert (caught.value.pid, os.path.exists(path)) == (os.getpid(), True)


def test_somebody_elses_socket_that_is_busy(short_directory: Path) -> None:
    """A socket that takes no more connections belongs to somebody, too; nobody waits for it."""
    path = str(short_directory / "control")
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(path)
        other.listen(0)
        waiting.connect(path)
        with pytest.raises(ControlError, match="does not answer"):
            Endpoint(path, 0o600, None)
        assert os.path.exists(path)


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_stays(short_directory: Path, kind: str) -> None:
    """Whatever is no socket is somebody's, and stays."""
    path = short_directory / "control"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/nowhere")
    with pytest.raises(ControlError, match=f"{re.escape(str(path))} is no socket"):
        Endpoint(str(path), 0o600, None)
    assert os.path.lexists(path)


@pytest.mark.parametrize(
    ("place", "says"),
    [("x" * 200, "too long"), ("file/control", "Not a directory|File exists")],
)
def test_a_place_that_cannot_be_used(short_directory: Path, place: str, says: str) -> None:
    """A place where no socket can be says why, and nothing stays open."""
    (short_directory / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ControlError, match=says):
        Endpoint(str(short_directory / place), 0o600, None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_symlink_at_the_place_of_the_lock(short_directory: Path) -> None:
    """A symlink at the lock's place does not make us write elsewhere."""
    precious = short_directory / "precious"
    precious.write_text("precious")
    (short_directory / "control.lock").symlink_to(precious)
    with pytest.raises(ControlError):
        Endpoint(str(short_directory / "control"), 0o600, None)
    assert precious.read_text() == "precious"
