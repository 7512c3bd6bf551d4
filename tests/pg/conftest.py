"""A cluster for each test, that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.postgres import Cluster, Installation


@pytest.fixture
def cluster(installation: Installation, data_directory: Path) -> Iterator[Cluster]:
    """An initialised cluster whose server does not run yet, and is killed afterwards."""
    made = Cluster(installation, data_directory)
    yield made
    made.kill()
    made.wait_until_stopped()
