"""Whether everything ends, by the word of a systemctl of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsupervisor.system.poweroff import goes_down

SERVICE = {"NOTIFY_SOCKET": "/run/systemd/notify"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory with a systemctl that says `stopping` of the system, and `running` of a user's own systemd."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\ntest "$1" = --user && echo running || { echo stopping; exit 1; }\n')
    systemctl.chmod(0o755)
    return tmp_path


def test_the_word_of_systemd(path: Path) -> None:
    """That systemd is asked which has this service; who is no service, or hears nothing, goes on as told."""
    here = {"PATH": f"{path}:/usr/bin:/bin"}
    assert goes_down(here | SERVICE)
    assert not goes_down(here | SERVICE | {"MANAGERPID": "1"})
    assert not goes_down(here)
    assert not goes_down(SERVICE | {"PATH": f"{path}/nowhere"})
