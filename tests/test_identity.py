"""Acting as another user: the kernel, by what it grants and refuses, is the judge."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pgsupervisor.system import identity
from pgsupervisor.system.identity import User, _death_signal, _die_with_parent_by, acting, acting_as, as_ourselves, user
from pgsupervisor.system.process import facts, run, spawn
from tests.people import as_root

GROUP = 12345


@pytest.fixture
def nobody() -> User:
    """A user without rights, in one group more than its own."""
    found = user("nobody")
    return replace(found, groups=tuple(sorted({found.gid, GROUP})))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that everybody may enter."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def _identity(thread: str = "thread-self") -> dict[str, list[str]]:
    """Return what the kernel says of who a thread is."""
    lines = Path(f"/proc/{thread}/status").read_text(encoding="utf-8").splitlines()
    said = dict(line.split(":", 1) for line in lines)
    return {name: said[name].split() for name in ("Uid", "Gid", "Groups", "CapEff")}


@as_root
def test_one_thread_alone(nobody: User) -> None:
    """A thread that acts is the other user for files, with his groups and no capability; no other thread is."""
    before = _identity()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_identity).result()  # a thread that is started by one who acts would act, too
        _act(nobody, before, pool)
    assert (_identity(), acting()) == (before, None)


def _act(nobody: User, before: dict[str, list[str]], pool: ThreadPoolExecutor) -> None:
    with acting_as(nobody):
        uid, gid = str(nobody.uid), str(nobody.gid)
        assert _identity() == {
            "Uid": ["0", uid, "0", uid],
            "Gid": [before["Gid"][0], gid, before["Gid"][2], gid],
            "Groups": [str(each) for each in nobody.groups],
            "CapEff": ["0000000000000000"],
        }
        assert acting() == nobody
        assert pool.submit(_identity).result() == before


@as_root
def test_what_is_not_his_is_refused(nobody: User, directory: Path) -> None:
    """Files are opened, made and given away as the kernel grants it to the other user, and are his."""
    secret, shared = directory / "secret", directory / "shared"
    secret.write_text("s", encoding="utf-8")
    secret.chmod(0o600)
    shared.write_text("g", encoding="utf-8")
    shared.chmod(0o040)
    os.chown(shared, 0, GROUP)
    room = directory / "room"
    room.mkdir()
    os.chown(room, nobody.uid, nobody.gid)
    with acting_as(nobody):
        for refused in (
            lambda: secret.read_text(encoding="utf-8"),
            (directory / "new").touch,
            lambda: os.chown(shared, nobody.uid, nobody.gid),
            secret.unlink,
        ):
            with pytest.raises(PermissionError):
                refused()
        assert shared.read_text(encoding="utf-8") == "g"
        (room / "his").touch()
    facts = (room / "his").stat()
    assert (facts.st_uid, facts.st_gid) == (nobody.uid, nobody.gid)
    assert secret.read_text(encoding="utf-8") == "s"


@as_root
def test_back_in_any_case(nobody: User) -> None:
    """An error ends the acting; one within another takes its place for so long, and so does being oneself."""
    before = _identity()
    other = replace(nobody, name="other", uid=nobody.uid - 1, gid=nobody.gid - 1, groups=())
    with pytest.raises(ZeroDivisionError), acting_as(nobody):
        raise ZeroDivisionError
    assert _identity() == before
    with acting_as(nobody):
        his = _identity()
        with acting_as(other):
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (other.uid, other.gid, [])
            with as_ourselves():
                assert (_identity(), acting()) == (before, None)
            assert acting() == other
        with acting_as(None), acting_as(nobody):
            assert _identity() == his
        assert _identity() == his
    assert _identity() == before


@as_root
def test_back_where_another_cannot_be(nobody: User) -> None:
    """Who cannot be become leaves the thread as it was, also within what it does as somebody else."""
    refused = replace(nobody, name="refused", groups=tuple(range(70_000)))  # NGROUPS_MAX is 65,536
    with acting_as(nobody):
        his = _identity()
        with pytest.raises(OSError, match="cannot act as the user refused"), acting_as(replace(refused, uid=1)):
            pass
        assert (_identity(), acting()) == (his, nobody)


@as_root
def test_programs_have_no_way_back(nobody: User) -> None:
    """A program that an acting thread starts is the other user for good, with all groups; or whom it shall run as."""
    ids = ["sh", "-c", "id -u; id -ru; id -g; id -G | tr ' ' '\\n' | sort -n; grep ^CapPrm /proc/self/status"]
    numbers = (nobody.uid, nobody.uid, nobody.gid, *nobody.groups)
    his = "".join(f"{number}\n" for number in numbers) + "CapPrm:\t0000000000000000\n"
    with acting_as(nobody):
        assert run(ids, environment=os.environ).stdout == his
        assert run(["id", "-ru"], environment=os.environ, run_as=user("daemon")).stdout == f"{user('daemon').uid}\n"
        program = spawn(["sleep", "600"], environment=os.environ, output=2)
        try:
            assert _identity(str(program.pid))["Uid"] == [str(nobody.uid)] * 4
        finally:
            program.kill()
            program.wait()
        assert acting() == nobody


@as_root
def test_proc_is_looked_at_as_ourselves(nobody: User) -> None:
    """What there is to know of processes is known while acting, too."""
    program = spawn(["sleep", "600"], environment=os.environ, output=2)
    try:
        with acting_as(nobody):
            known = facts(program.pid)
        assert known == facts(program.pid)
        assert known is not None
        assert known.executable is not None
    finally:
        program.kill()
        program.wait()


@as_root
def test_what_comes_when_the_parent_ends(nobody: User) -> None:
    """Who is to get a signal when his parent ends gets it while he acts, and afterwards."""
    with acting_as(nobody):
        assert _death_signal() == 0
    _die_with_parent_by(signal.SIGUSR1)
    try:
        with acting_as(nobody):
            assert _death_signal() == signal.SIGUSR1
        assert _death_signal() == signal.SIGUSR1
    finally:
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)


def test_nobody_else() -> None:
    """Who is asked to act as himself, or as no one in particular, does nothing; that takes no privilege."""
    before = _identity()
    with acting_as(None), acting_as(user(os.geteuid())), as_ourselves():
        assert (_identity(), acting()) == (before, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may be anybody")
def test_not_root() -> None:
    """Who is not root may not be another user, is told so, and stays who he is."""
    before = _identity()
    with pytest.raises(PermissionError, match="cannot act as the user root"), acting_as(user(0)):
        pass
    assert (_identity(), acting()) == (before, None)


@as_root
def test_unknown_machine(nobody: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the numbers of the system calls are not known, nobody acts, and it is said what to do."""
    monkeypatch.setattr(identity, "_machine", "vax")
    with pytest.raises(OSError, match="run pgsupervisor as that user"), acting_as(nobody):
        pass
    assert acting() is None
