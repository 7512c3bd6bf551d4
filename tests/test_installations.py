"""The daemon's memory of installations, with a program that tells how often it was run."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pgsupervisor.daemon.installations import Installations
from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory.spec import InstallationSpec
from tests.fake_programs import write_postgres, write_program


@pytest.fixture
def bindir(short_directory: Path) -> Path:
    """A directory that everybody may enter, for programs."""
    return short_directory / "bin"


def _spec(bindir: Path) -> InstallationSpec:
    return InstallationSpec(name="pg", bindir=str(bindir))


def test_one_looks_for_all(bindir: Path) -> None:
    """Of many threads that ask at once one runs the program, and all have what it said."""
    said, runs = bindir.parent / "said", bindir.parent / "runs"
    os.mkfifo(said)
    write_program(bindir / "postgres", f"echo >> {runs}; cat {said}")
    installations = Installations()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(installations.of, _spec(bindir))
        with said.open("w", encoding="ascii") as answer:  # the program is running now
            others = [pool.submit(installations.of, _spec(bindir)) for _ in range(3)]
            answer.write("postgres (PostgreSQL) 15.18\n")
        found = {id(each.result()) for each in (first, *others)}
    assert found == {id(installations.of(_spec(bindir)))}
    assert runs.read_text(encoding="ascii") == "\n"


def test_a_failure_is_not_remembered(bindir: Path) -> None:
    """Where none was found, the next who asks looks again; also where the one that was known has gone."""
    installations = Installations()
    for _ in range(2):
        with pytest.raises(InstallationError, match="there is no postgres"):
            installations.of(_spec(bindir))
        write_postgres(bindir)
        assert installations.of(_spec(bindir)).major == 15
        (bindir / "postgres").unlink()


def test_another_program(bindir: Path) -> None:
    """A program that was replaced is asked again; so is one that may not be executed any more."""
    installations = Installations()
    write_postgres(bindir)
    installations.of(_spec(bindir))
    (bindir / "postgres").unlink()
    write_postgres(bindir, "16.4")
    assert installations.of(_spec(bindir)).major == 16
    (bindir / "postgres").chmod(0o644)
    with pytest.raises(InstallationError, match="postgres"):
        installations.of(_spec(bindir))
