"""What else on a machine meddles with clusters, as its files say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import spec

from pgsupervisor.cli.surroundings import lock_removed, memory_removed, rivals, sockets_removed

ALICE = 12345
"""A number that is no user's of the system's, and nobody's at all."""


def furnish(root: Path, files: Mapping[str, str]) -> str:
    """Make a machine's files."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


BOOTED = {"run/systemd/system/x": ""}

NO = "[Login]\nRemoveIPC=no\n"

YES = "[Login]\n RemoveIPC = yes\n"


@pytest.mark.parametrize(
    ("uid", "files", "removed"),
    [
        (ALICE, {}, False),
        (ALICE, BOOTED, True),
        (999, BOOTED, False),
        (0, BOOTED, False),
        (999, {**BOOTED, "etc/login.defs": "#SYS_UID_MAX 1000\nSYS_UID_MAX\t499\n"}, True),
        (ALICE, {**BOOTED, "etc/systemd/logind.conf": "[Login]\n#RemoveIPC=no\n"}, True),
        (ALICE, {**BOOTED, "etc/systemd/logind.conf": NO}, False),
        (ALICE, {**BOOTED, "etc/systemd/logind.conf": NO, "etc/systemd/logind.conf.d/a.conf": YES}, True),
        (ALICE, {**BOOTED, "usr/lib/systemd/logind.conf.d/b.conf": NO, "run/systemd/logind.conf.d/a.conf": YES}, False),
        (ALICE, {**BOOTED, "usr/lib/systemd/logind.conf.d/a.conf": NO, "etc/systemd/logind.conf.d/a.conf": ""}, True),
        (ALICE, {**BOOTED, f"var/lib/systemd/linger/{ALICE}": ""}, False),
    ],
)
def test_memory_of_a_user_who_logs_out(tmp_path: Path, uid: int, files: Mapping[str, str], *, removed: bool) -> None:
    """It is removed where systemd runs, from users who are no user of its own and do not linger."""
    assert bool(memory_removed(uid, furnish(tmp_path, files))) is removed


@pytest.mark.parametrize(
    ("socket", "removed"),
    [
        ("/run/pgsupervisor/control", False),
        ("/tmp/pg/control", True),
        ("/var/tmp/pg/control", True),
        ("/tmpfs/pg/control", False),
    ],
)
def test_a_lock_that_is_removed(socket: str, *, removed: bool) -> None:
    """The lock beside the control socket is removed where old files are."""
    assert bool(lock_removed(socket)) is removed


@pytest.mark.parametrize(
    ("data_directory", "listed", "removed"),
    [
        ("/srv/pg/shop", "/tmp", False),
        ("/srv/pg/shop", "/run/postgresql, /tmp/pg", True),
        ("/srv/pg/shop", "@/tmp/pg", False),
        ("/srv/pg/shop", "sockets", False),
        ("/tmp/pg/shop", "/tmp/pg", False),
    ],
)
def test_a_socket_directory_that_is_removed(data_directory: str, listed: str, *, removed: bool) -> None:
    """A directory below /tmp goes, /tmp itself does not; who has all there wants it so."""
    cluster = replace(spec("shop"), data_directory=data_directory, settings={"unix_socket_directories": listed})
    assert bool(sockets_removed(cluster)) is removed


def test_a_socket_directory_that_the_cluster_itself_names(tmp_path: Path) -> None:
    """What the inventory does not say is looked up in the cluster's own files."""
    (tmp_path / "postgresql.conf").write_text("unix_socket_directories = '/var/tmp/pg'\n")
    assert "/var/tmp/pg" in sockets_removed(replace(spec("shop"), data_directory=str(tmp_path)))


WANTED = "etc/systemd/system/multi-user.target.wants"

AUTO = {f"{WANTED}/postgresql.service": ""}


@pytest.mark.parametrize(
    ("files", "remedy"),
    [
        (AUTO, "write `manual` into {0}/start.conf, and do `systemctl daemon-reload`"),
        ({**AUTO, "{0}/start.conf": "# as it comes\n\n auto # really\n"}, "write `manual` into {0}/start.conf, and do"),
        ({}, None),
        ({**AUTO, "{0}/start.conf": "manual\n"}, None),
        (
            {f"{WANTED}/postgresql@15-main.service": "", "{0}/start.conf": "manual\n"},
            "do `systemctl disable postgresql@1",
        ),
        ({f"{WANTED}/postgresql@15-main.service": "", "{0}/start.conf": "disabled\n"}, None),
        ({f"{WANTED}/postgresql@15-other.service": ""}, None),
    ],
)
def test_a_unit_with_the_same_data_directory(tmp_path: Path, files: Mapping[str, str], remedy: str | None) -> None:
    """A unit of Debian's is a rival if it has the same data directory, by whatever name, and something starts it."""
    here = "etc/postgresql/15/main"
    root = furnish(
        tmp_path,
        {
            f"{here}/postgresql.conf": f"data_directory = '{tmp_path}/link/15'\n",
            "etc/postgresql/15/other/postgresql.conf": "data_directory = '/elsewhere'\n",
            "data/15/PG_VERSION": "15\n",
            **{path.format(here): text for path, text in files.items()},
        },
    )
    (tmp_path / "link").symlink_to("data")
    said = list(rivals(f"{tmp_path}/data/15", root))
    if remedy is None:
        assert said == []
    else:
        (one,) = said
        assert one.startswith("postgresql@15-main.service has this data directory, too, ")
        assert remedy.format(f"{root}/{here}") in one


def test_a_masked_unit_is_no_rival(tmp_path: Path) -> None:
    """A unit that is masked is not started by anybody."""
    conf = {"etc/postgresql/15/main/postgresql.conf": "data_directory = '/srv/pg'\n"}
    root = furnish(tmp_path, {**conf, **AUTO})
    assert len(list(rivals("/srv/pg", root))) == 1
    (tmp_path / "etc/systemd/system/postgresql@15-main.service").symlink_to("/dev/null")
    assert list(rivals("/srv/pg", root)) == []
