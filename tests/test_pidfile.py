"""postmaster.pid: what it says, half of it as well, and whose process it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import sleeper, write_pid_file

from pgsupervisor.postgres import pidfile
from pgsupervisor.postgres.pidfile import PidFile
from pgsupervisor.system.identity import user
from pgsupervisor.system.process import facts

WHOLE = "4711\n/srv/pg/shop\n1795364165\n5433\n/run/postgresql\nlocalhost\n  2151772     65539\nready   \n"


def test_the_whole_file() -> None:
    """Every line of a running server's file is read."""
    assert pidfile.parse(WHOLE) == PidFile(
        pid=4711,
        data_directory="/srv/pg/shop",
        started=1795364165,
        port=5433,
        socket_directory="/run/postgresql",
        listen_address="localhost",
        shared_memory=(2151772, 65539),
        status="ready",
    )


def test_the_first_lines() -> None:
    """What a starting server has not written yet, or has nothing for, is None."""
    assert pidfile.parse("4711\n/srv/pg/shop\n1795364165\n5433\n\n") == PidFile(
        4711, "/srv/pg/shop", 1795364165, 5433, None, None, None, None
    )


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_file_cut_off_anywhere(length: int) -> None:
    """However much of a file is there, nothing wrong is read from it: the true value, or none."""
    found = pidfile.parse(WHOLE[:length])
    whole = pidfile.parse(WHOLE)
    assert found is None or all(
        getattr(found, name) in (None, getattr(whole, name)) for name in PidFile.__dataclass_fields__
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "4711",
        "0\n",
        "-\n",
        "x\n",
        "+1\n",
        "1_0\n",
        "1.5\n",
        "²\n",
        "99999999999999\n",
        "\x851\n",
        "\x1c\x851\n",
        "\0\n",
        "-0\n",
    ],
)
def test_no_pid_file_at_all(text: str) -> None:
    """Text without a process id in its first line says nothing."""
    assert pidfile.parse(text) is None


@pytest.mark.parametrize("number", ["1" * 19, "1" * 5000, "\u0661", "1_0", "x", "1.5", "0x10", "²"])
def test_what_is_no_number(number: str) -> None:
    """What fits no 64 bits, or is a number to Python alone, is none."""
    found = pidfile.parse(f"4711\n/srv\n{number}\n{number}\n\n\n{number} {number}\n")
    assert found == PidFile(4711, "/srv", None, None, None, None, None, None)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("starting", "starting"),
        ("ready   ", "ready"),
        ("standby ", "standby"),
        ("stopping", "stopping"),
        ("asleep", None),
    ],
)
def test_status(line: str, status: str | None) -> None:
    """The status loses its padding; a word that nobody knows is none."""
    found = pidfile.parse(WHOLE.replace("ready   ", line))
    assert found is not None
    assert found.status == status


def test_a_single_user_backend(tmp_path: Path) -> None:
    """A negative number is a single-user backend: it can be read, and is no postmaster."""
    with sleeper() as process:
        write_pid_file(tmp_path, -process.pid, tmp_path)
        found = pidfile.read(str(tmp_path))
        assert found is not None
        assert found.pid == -process.pid
        assert pidfile.postmaster(str(tmp_path)) is None


def test_nothing_to_read(tmp_path: Path) -> None:
    """No file, no directory, or a file in its place: no server."""
    assert pidfile.read(str(tmp_path)) is None
    assert pidfile.read(str(tmp_path / "missing")) is None
    (tmp_path / "file").touch()
    assert pidfile.read(str(tmp_path / "file")) is None


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    """A data directory may have any bytes in its name."""
    (tmp_path / "postmaster.pid").write_bytes(b"4711\n/srv/caf\xe9\n")
    found = pidfile.read(str(tmp_path))
    assert found is not None
    assert found.data_directory == os.fsdecode(b"/srv/caf\xe9")


@pytest.fixture
def _as_nobody() -> Iterator[None]:
    """Go on as the user nobody; only root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(user("nobody").uid)
    yield
    os.seteuid(0)


@pytest.fixture
def open_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that everybody can enter."""
    path = Path("/tmp") / tmp_path_factory.mktemp("pidfile").name
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)


def test_a_file_that_is_not_ours_to_read(open_directory: Path, request: pytest.FixtureRequest) -> None:
    """A file that may not be read is no sign that no server runs, and the error says whom to ask as."""
    write_pid_file(open_directory, 4711)
    request.getfixturevalue("_as_nobody")
    with pytest.raises(PermissionError, match="ask as root or as the directory's owner"):
        pidfile.read(str(open_directory))


def test_a_server_of_another_user(open_directory: Path, request: pytest.FixtureRequest) -> None:
    """Where the process is not ours to look at, its start time and the directory's owner tell it."""
    with sleeper() as process:
        known = facts(process.pid)
        assert known is not None
        started = int(known.started)
        path = write_pid_file(open_directory, process.pid, open_directory, started)
        path.chmod(0o644)
        request.getfixturevalue("_as_nobody")
        held = pidfile.postmaster(str(open_directory))
        assert held is not None
        held.close()
        os.seteuid(0)
        write_pid_file(open_directory, process.pid, open_directory, started - 10).chmod(0o644)
        os.seteuid(user("nobody").uid)
        assert pidfile.postmaster(str(open_directory)) is None


@pytest.fixture
def postgres(tmp_path: Path) -> str:
    """A program named postgres, that does nothing."""
    program = tmp_path / "bin/postgres"
    program.parent.mkdir()
    shutil.copy("/bin/sleep", program)
    return str(program)


def test_the_postmaster(tmp_path: Path, postgres: str) -> None:
    """A process that runs postgres in the data directory is the postmaster, whatever the clock says of its start."""
    with sleeper(directory=str(tmp_path), program=postgres) as process:
        write_pid_file(tmp_path, process.pid, tmp_path, 1)
        held = pidfile.postmaster(str(tmp_path))
        assert held is not None
        with held:
            assert held.pid == process.pid


def test_the_postmaster_of_another_cluster(tmp_path: Path, postgres: str) -> None:
    """A server that works in another data directory is not ours, although its number stands in our file."""
    other = tmp_path / "other"
    other.mkdir()
    with sleeper(directory=str(other), program=postgres) as process:
        write_pid_file(tmp_path, process.pid, tmp_path, 1)
        assert pidfile.postmaster(str(tmp_path)) is None


def test_a_renamed_data_directory(tmp_path: Path, postgres: str) -> None:
    """A server is found by whichever name leads to its directory: renamed, or through a symbolic link."""
    data = tmp_path / "data"
    data.mkdir()
    with sleeper(directory=str(data), program=postgres) as process:
        write_pid_file(data, process.pid, data, 1)
        data.rename(tmp_path / "renamed")
        (tmp_path / "link").symlink_to("renamed")
        held = pidfile.postmaster(str(tmp_path / "link"))
        assert held is not None
        held.close()


def test_a_stranger(tmp_path: Path) -> None:
    """A process that has the number by now is not the postmaster, though it works there and started just then."""
    with sleeper(directory=str(tmp_path)) as process:
        known = facts(process.pid)
        assert known is not None
        write_pid_file(tmp_path, process.pid, tmp_path, int(known.started))
        assert pidfile.postmaster(str(tmp_path)) is None


@pytest.mark.parametrize("pid", [1, os.getpid(), os.getppid(), 999999999], ids=["first", "we", "parent", "nobody"])
def test_numbers_that_are_no_postmaster(tmp_path: Path, pid: int) -> None:
    """Neither the first process, nor we, nor our parent, nor nobody is the postmaster."""
    write_pid_file(tmp_path, pid, tmp_path, 1)
    assert pidfile.postmaster(str(tmp_path)) is None


def test_a_zombie(tmp_path: Path, postgres: str) -> None:
    """A postmaster that has ended and was not reaped by its parent is not running."""
    with subprocess.Popen([postgres, "1000"], cwd=tmp_path) as process:
        write_pid_file(tmp_path, process.pid, tmp_path, 1)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert pidfile.postmaster(str(tmp_path)) is None


def test_ignoring_a_stranger(tmp_path: Path, postgres: str) -> None:
    """A server is told to ignore a number only if that is certainly no server's of its data directory."""
    with (
        sleeper() as stranger,
        sleeper(directory=str(tmp_path)) as shell,
        sleeper(directory=str(tmp_path), program=postgres) as server,
        sleeper(directory="/tmp", program=postgres) as server_elsewhere,
    ):
        for other in (stranger, shell, server_elsewhere):
            for number in (other.pid, -other.pid):
                left = pidfile.parse(f"{number}\n")
                assert pidfile.ignoring(left, str(tmp_path)) == {"PG_GRANDPARENT_PID": str(other.pid)}
        for number in (server.pid, -server.pid, 999999999):
            assert pidfile.ignoring(pidfile.parse(f"{number}\n"), str(tmp_path)) == {}
        assert pidfile.ignoring(None, str(tmp_path)) == {}
