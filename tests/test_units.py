"""The units of systemd, and what sysusers.d and tmpfiles.d get, as systemd's own programs judge them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from daemons import LIMIT, ROOT

UNIT = "pgsupervisor.service"

AS_POSTGRES = "pgsupervisor-as-postgres.conf"

SECURITY = ("systemd-analyze", "security", "--offline=yes", "--no-pager")

SHORTENED = {"CapabilityBoundingSet", "RestrictAddressFamilies"}
"""What is there, but with more in it than systemd would have; what it is for is told value by value."""

DIRECTORIES = ("run/pgsupervisor", "var/log/pgsupervisor", "etc/pgsupervisor")


def need(program: str) -> None:
    """Skip the test where there is no such program of systemd's."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}")


def judge(*command: str) -> subprocess.CompletedProcess[str]:
    """Have a program of systemd's judge something."""
    need(command[0])
    with tempfile.TemporaryDirectory() as runtime:
        environment = {**os.environ, "XDG_RUNTIME_DIR": runtime}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)


def placed(directory: Path, name: str, drop_ins: Sequence[str] = ()) -> Path:
    """Copy a unit, with programs and users that are there, and its drop-ins; return its path."""
    path = directory / UNIT
    path.write_text(re.sub(r"/usr/bin/pgsup\w+", "/bin/true", (ROOT / "systemd" / name).read_text()))
    for drop_in in drop_ins:
        (directory / f"{UNIT}.d").mkdir()
        text = (ROOT / "systemd" / drop_in).read_text()
        (directory / f"{UNIT}.d" / drop_in).write_text(text.replace("=postgres\n", "=daemon\n"))
    return path


@pytest.mark.parametrize("drop_ins", [(), (AS_POSTGRES,)])
def test_verified(tmp_path: Path, drop_ins: Sequence[str]) -> None:
    """There is nothing to say of the unit, nor of it with the drop-in."""
    path = placed(tmp_path, UNIT, drop_ins)
    judged = judge("systemd-analyze", "verify", "--recursive-errors=no", str(path))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_verified_for_a_user(tmp_path: Path) -> None:
    """Nor of the one for a user's own systemd."""
    path = placed(tmp_path, f"user/{UNIT}")
    judged = judge("systemd-analyze", "--user", "verify", "--recursive-errors=no", str(path))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_a_mistake_is_seen(tmp_path: Path) -> None:
    """There is something to say of a unit that has a mistake."""
    path = placed(tmp_path, UNIT)
    path.write_text(path.read_text().replace("KillMode=process", "KillMode=proces"))
    assert "kill mode" in judge("systemd-analyze", "verify", "--recursive-errors=no", str(path)).stderr


@pytest.mark.parametrize(("drop_ins", "threshold"), [((), 45), ((AS_POSTGRES,), 30)])
def test_exposure(tmp_path: Path, drop_ins: Sequence[str], threshold: int) -> None:
    """By the measure of `systemd-analyze security` (here in tenths), it is exposed no more than its job takes."""
    path = placed(tmp_path, UNIT, drop_ins)
    judged = judge(*SECURITY, f"--threshold={threshold}", str(path))
    assert judged.returncode == 0, judged.stdout


def test_what_is_left_out_is_explained(tmp_path: Path) -> None:
    """What systemd would have for hardening, and is not there, has its reason in a comment; so has each capability."""
    path = placed(tmp_path, UNIT)
    lines = path.read_text().splitlines()
    comments = "\n".join(line for line in lines if line.startswith("#"))
    rows = json.loads(judge(*SECURITY, "--json=short", str(path)).stdout)
    names = [row["name"] for row in rows if row["exposure"]]
    missing = {part for name in names for part in re.findall(r"[A-Z]\w+(?==)|@\w+", name)} - SHORTENED
    capabilities = {part for line in lines if line.startswith("Cap") for part in re.findall(r"CAP_(\w+)", line)}
    assert {part for part in missing | capabilities if part not in comments} == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make groups")
def test_sysusers(tmp_path: Path) -> None:
    """The administrators' group is made."""
    (tmp_path / "etc").mkdir()
    done = judge("systemd-sysusers", f"--root={tmp_path}", str(ROOT / "etc/sysusers.d/pgsupervisor.conf"))
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "etc/group").read_text().splitlines()
    assert line.startswith("pgsupervisor:x:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories to root")
def test_tmpfiles(tmp_path: Path) -> None:
    """The directories are made, and what a server has in /tmp is never too old."""
    cleaning = tmp_path / "tmp.conf"
    cleaning.write_text("d /tmp 1777 root root m:10d\n")
    (tmp_path / "tmp").mkdir()
    for name in (".s.PGSQL.5432.lock", "other"):
        (tmp_path / "tmp" / name).touch()
        os.utime(tmp_path / "tmp" / name, (0, 0))
    files = (str(ROOT / "etc/tmpfiles.d/pgsupervisor.conf"), str(cleaning))
    done = judge("systemd-tmpfiles", f"--root={tmp_path}", "--create", "--clean", *files)
    assert (done.returncode, done.stderr) == (0, "")
    made = {path: (tmp_path / path).stat().st_mode & 0o7777 for path in DIRECTORIES}
    assert made == dict.fromkeys(DIRECTORIES, 0o755)
    assert [each.name for each in (tmp_path / "tmp").iterdir()] == [".s.PGSQL.5432.lock"]
