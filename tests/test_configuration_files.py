"""When there has been quiet enough to look at what was saved, and what cannot be watched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import spec
from watching import unprivileged, watching

from pgsupervisor.daemon.files import ConfigurationFiles, quiet_at
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.system.watch import Watcher


@pytest.mark.parametrize(
    ("first", "last", "delay", "due"),
    [
        (100.0, 100.0, 0.3, 100.3),
        (100.0, 101.0, 0.3, 101.3),
        (100.0, 102.9, 0.3, 103.0),
        (100.0, 200.0, 0.3, 103.0),
        (100.0, 100.0, 0.0, 100.0),
    ],
)
def test_quiet(first: float, last: float, delay: float, due: float) -> None:
    """It is quiet a delay after the last change, or else ten delays after the first."""
    assert quiet_at(first, last, delay) == pytest.approx(due)


def test_a_directory_that_may_not_be_listed(short_directory: Path) -> None:
    """What is read but cannot be watched is told, until it can be."""
    private = short_directory / "private"
    private.mkdir()
    (private / "postgresql.conf").touch()
    os.chmod(short_directory, 0o755)
    private.chmod(0o311)
    cluster = spec("shop", config_file=str(private / "postgresql.conf"))

    async def play(watcher: Watcher) -> None:
        files = ConfigurationFiles(cluster, watcher, Installations(), lambda: None)
        await files.tell()  # whoever becomes somebody else cannot import any more
        files.close()
        files = ConfigurationFiles(cluster, watcher, Installations(), lambda: None)
        with unprivileged():
            await files.tell()
            assert files.polled == f"changes in {private} go unnoticed: it may not be read"
            assert str(private / "postgresql.conf") in files.told.digests
        private.chmod(0o755)
        await files.tell()
        assert files.polled == ""
        files.close()

    watching(play)


def test_too_many_directories(short_directory: Path) -> None:
    """Of files that lead through more directories than can be watched, that is told, and the first are watched."""
    path = short_directory / "postgresql.conf"
    deep = short_directory
    for _ in range(200):
        deep /= "d"
    deep.mkdir(parents=True)
    path.write_text(f"include_if_exists '{deep}/x.conf'\n")
    os.chmod(short_directory, 0o755)
    cluster = spec("shop", config_file=str(path))

    async def play(watcher: Watcher) -> None:
        files = ConfigurationFiles(cluster, watcher, Installations(), lambda: None)
        await files.tell()
        assert files.polled.endswith("they lead through too many directories")
        assert str(short_directory) in watcher._directories
        assert len(watcher._directories) < 150
        path.write_text("")
        await files.tell()
        assert (files.polled, len(watcher._directories) < 10) == ("", True)
        files.close()

    watching(play)
