"""A cluster for each test, that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Site, new_site
from machine import NewDataDirectory

from pgsupervisor.postgres import Cluster, Installation


@pytest.fixture
def cluster(installation: Installation, data_directory: Path) -> Iterator[Cluster]:
    """An initialised cluster whose server does not run yet, and is killed afterwards."""
    made = Cluster(installation, data_directory)
    yield made
    made.kill()
    made.wait_until_stopped()


@pytest.fixture
def site(new_data_directory: NewDataDirectory) -> Iterator[Site]:
    """A directory for a daemon and its clusters, of this test alone."""
    with new_site(new_data_directory) as made:
        yield made
