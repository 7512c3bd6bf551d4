"""A service of a systemd of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosted import Service, hosted
from machine import NewDataDirectory


@pytest.fixture
def service(new_data_directory: NewDataDirectory) -> Iterator[Service]:
    """Pgsupervisor as a service with two clusters, which is not started yet."""
    with hosted(new_data_directory) as made:
        for name in ("shop", "blog"):
            made.site.add(name)
        yield made
