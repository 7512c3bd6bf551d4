"""`pgsupctl daemon install`, where there is a systemd to install into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from booted import Systemd, booted
from hosted import PROGRAMS
from machine import make_directory, remove_directory

from pgsupervisor.cli.install import _marked
from pgsupervisor.paths import UNIT

PATH = f"/etc/systemd/system/{UNIT}"


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    """A systemd without a service."""
    lent = make_directory()
    try:
        with booted(lent) as made:
            yield made
    finally:
        remove_directory(lent)


def install(systemd: Systemd, *options: str) -> tuple[int, str, str]:
    """Run the command; return its exit status, and what it said."""
    done = systemd.try_to(str(PROGRAMS / "pgsupctl"), "daemon", "install", *options)
    return done.returncode, done.stdout, done.stderr


def written(systemd: Systemd) -> Path:
    """Return where the unit is, seen from outside."""
    return Path(f"{systemd.root}{PATH}")


def identity(path: Path) -> tuple[int, int, int]:
    """Return what changes with a file: mode, number, time."""
    facts = path.lstat()
    return facts.st_mode, facts.st_ino, facts.st_mtime_ns


def test_install(systemd: Systemd) -> None:
    """The unit is written once, with the programs of this installation; what is to be done next is said, and works."""
    hint = "There is no inventory yet: write /etc/pgsupervisor/inventory.toml first, and try it with `pgsupctl check`."
    commands = f"Now do:\n  systemctl daemon-reload\n  systemctl enable --now {UNIT}\n"
    shown = install(systemd, "--dry-run")[1]
    assert not written(systemd).exists()
    assert install(systemd) == (0, f"{PATH} is written.\n{hint}\n{commands}", "")
    text = written(systemd).read_text()
    assert text in shown
    assert f"ExecStart={PROGRAMS}/pgsupervisord --limits\n" in text
    (systemd.root / "etc/pgsupervisor/inventory.toml").write_text("")
    before = identity(written(systemd))
    assert install(systemd) == (0, f"{PATH} is as it should be.\n{commands}", "")
    assert identity(written(systemd)) == before
    assert oct(before[0]) == "0o100644"
    for command in commands.splitlines()[1:]:
        systemd.run(*command.split())
    assert systemd.show(UNIT, "ActiveState", "UnitFileState", "StatusText") == ("active", "enabled", "no clusters")


def test_what_somebody_else_wrote_is_left_alone(systemd: Systemd) -> None:
    """A unit that is not as we wrote it stays as it is, be it changed, another's or masked; ours is renewed."""
    install(systemd)
    path = written(systemd)
    ours = path.read_text()
    for spoil in (lambda: path.write_text(f"{ours}\n"), lambda: path.write_text("[Service]\n"), lambda: mask(path)):
        spoil()
        before = identity(path)
        status, output, errors = install(systemd)
        assert (status, output, identity(path)) == (1, "", before)
        assert errors.startswith(f"pgsupctl: {PATH} is not as `pgsupctl daemon install` writes it, and is left alone; ")
    path.unlink()
    path.write_text(_marked("[Unit]\nDescription=What another version wrote\n"))
    assert json.loads(install(systemd, "--json")[1])["written"]
    assert path.read_text() == ours


def mask(path: Path) -> None:
    """Do what `systemctl mask` does."""
    path.unlink()
    path.symlink_to("/dev/null")
