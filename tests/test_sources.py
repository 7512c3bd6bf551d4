"""What a server is configured by: every file that has a part in it, its digest, and what the files set."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pgsupervisor.postgres import configtree, sources
from pgsupervisor.postgres.sources import Sources
from pgsupervisor.system.identity import User


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with nothing in it but postgresql.conf, pg_hba.conf and pg_ident.conf, all empty."""
    path = tmp_path / "data"
    path.mkdir()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (path / name).touch()
    return path


def look(
    data: Path, given: Mapping[str, str] | None = None, *, config_file: str | None = None, also: tuple[str, ...] = ()
) -> Sources:
    """Read the sources of a server of PostgreSQL 18."""
    return sources.read(str(data), major=18, config_file=config_file, given=given or {}, also=also)


def digest(content: bytes = b"") -> str:
    """Return the digest of a file with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def found(read: Sources, data: Path) -> dict[str, str]:
    """Return what was found besides the files that every cluster has, by paths relative to the data directory."""
    usual = {"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"}
    named = {os.path.relpath(path, data): word for path, word in read.digests.items()}
    return {path: word for path, word in named.items() if path not in usual}


def test_a_plain_cluster(data: Path) -> None:
    """The files that every cluster has, in the order of reading, and what they set; ALTER SYSTEM wins."""
    conf, auto = b"Port = 1\nwork_mem = '1MB'\n", b"port = '2'\r\n"
    (data / "postgresql.conf").write_bytes(conf)
    (data / "postgresql.auto.conf").write_bytes(auto)
    (data / "pg_hba.conf").write_bytes(b"\xe9\0\xff")
    read = look(data, {"port": "3"})
    assert read == Sources(
        {
            f"{data}/postgresql.conf": digest(conf),
            f"{data}/postgresql.auto.conf": digest(auto),
            f"{data}/pg_hba.conf": digest(b"\xe9\0\xff"),
            f"{data}/pg_ident.conf": digest(),
        },
        (),
        {"port": "2", "work_mem": "1MB"},
    )
    assert list(read.digests) == [
        f"{data}/{name}" for name in ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
    ]


def test_content_counts_and_nothing_else(data: Path) -> None:
    """The same bytes, written again in any way, are the same sources; other bytes of the same length are not."""
    conf = data / "postgresql.conf"
    conf.write_text("port = 1\n")
    before = look(data)
    os.utime(conf, (0, 0))
    (data / "new").write_text("port = 1\n")
    (data / "new").rename(conf)
    assert look(data) == before
    conf.write_text("port = 2\n")
    assert look(data) != before


def test_includes_of_every_kind(data: Path) -> None:
    """All that the three files include has a part, also what is not there yet, and so have the directories."""
    for name in ("conf.d", "hba.d", "ident.d"):
        (data / name).mkdir()
        (data / name / "a.conf").write_text(f"# {name}")
    (data / "postgresql.conf").write_text("include 'more.conf'\ninclude_if_exists 'later.conf'\ninclude_dir 'conf.d'\n")
    (data / "more.conf").write_text("x.y = 1")
    (data / "pg_hba.conf").write_text("include_dir hba.d\nlocal all @admins trust\n")
    (data / "admins").write_text("alice")
    (data / "pg_ident.conf").write_text("include_if_exists later\ninclude_dir ident.d\n")
    read = look(data)
    assert found(read, data) == {
        "more.conf": digest(b"x.y = 1"),
        "later.conf": "missing",
        "conf.d/a.conf": digest(b"# conf.d"),
        "hba.d/a.conf": digest(b"# hba.d"),
        "admins": digest(b"alice"),
        "later": "missing",
        "ident.d/a.conf": digest(b"# ident.d"),
    }
    assert read.directories == tuple(f"{data}/{name}" for name in ("conf.d", "hba.d", "ident.d"))
    assert read.settings == {"x.y": "1"}


def test_files_outside_of_the_data_directory(data: Path, tmp_path: Path) -> None:
    """The files may be elsewhere; the command line wins over them, and a relative path begins where servers start."""
    etc = tmp_path / "etc"
    etc.mkdir()
    relative = f"{str(etc)[1:]}/pg_ident.conf"
    (etc / "my.conf").write_text(f"hba_file = '{etc}/../etc/hba'\nident_file = '{relative}'\n")
    own = [f"{etc}/my.conf", f"{data}/postgresql.auto.conf"]
    read = look(data, config_file=f"{etc}/my.conf")
    assert list(read.digests) == [*own, f"{etc}/hba", f"{etc}/pg_ident.conf"]
    read = look(data, {"HBA-File": f"{etc}/given"}, config_file=f"{etc}/my.conf", also=(f"{etc}/hba", f"{etc}/given"))
    assert list(read.digests) == [*own, f"{etc}/given", f"{etc}/pg_ident.conf", f"{etc}/hba"]
    assert read.settings == {"hba_file": f"{etc}/../etc/hba", "ident_file": relative}


def test_also_is_read_as_pg_hba_conf(data: Path) -> None:
    """A file that the server keeps until its restart leads to other files, too."""
    (data / "old_hba").write_text("include_dir old.d\nlocal all @old trust\n")
    read = look(data, also=(f"{data}/old_hba",))
    assert found(read, data) == {"old_hba": digest(b"include_dir old.d\nlocal all @old trust\n"), "old": "missing"}
    assert read.directories == (f"{data}/old.d",)


@pytest.mark.parametrize("value", ["on", "ON", "true", "t", "Yes", "y", "1"])
def test_tls(data: Path, value: str) -> None:
    """With ssl, the certificate and the key have a part, under their usual names or others."""
    (data / "postgresql.conf").write_text(f"ssl = '{value}'\n")
    (data / "server.crt").write_text("crt")
    assert found(look(data), data) == {"server.crt": digest(b"crt"), "server.key": "missing"}


@pytest.mark.parametrize("value", ["off", "o", "false", "0", "", "truely"])
def test_no_tls(data: Path, value: str) -> None:
    """Without ssl they have none; what is given on the command line decides."""
    (data / "postgresql.conf").write_text(f"ssl = '{value}'\n")
    assert found(look(data), data) == {}
    assert list(found(look(data, {"ssl": "on"}), data)) == ["server.crt", "server.key"]
    (data / "postgresql.conf").write_text("ssl = 'on'\n")
    assert found(look(data, {"ssl": value}), data) == {}


def test_all_of_tls(data: Path, tmp_path: Path) -> None:
    """Every file that TLS is configured by, relative to the data directory, and each in the directory of lists."""
    (data / "crl.d").mkdir()
    (data / "crl.d" / "1f.r0").symlink_to("../missing.crl")
    (data / "crl.d" / "0e.r0").write_text("crl")
    given = {
        "ssl": "on",
        "ssl_cert_file": f"{tmp_path}/crt",
        "ssl_key_file": "../key",
        "ssl_ca_file": "ca",
        "ssl_crl_file": "crl",
        "ssl_dh_params_file": "dh",
        "ssl_crl_dir": "crl.d",
    }
    read = look(data, given)
    missing = dict.fromkeys(("../crt", "../key", "ca", "crl", "dh"), "missing")
    assert found(read, data) == missing | {"crl.d/0e.r0": digest(b"crl"), "crl.d/1f.r0": "missing"}
    assert read.directories == (f"{data}/crl.d",)
    assert look(data, given | {"ssl_crl_dir": "none"}).directories == (f"{data}/none",)


def test_nothing_there(tmp_path: Path) -> None:
    """A data directory that is missing has its files missing, and they are named."""
    names = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
    paths = [f"{tmp_path}/none/{name}" for name in names]
    assert look(tmp_path / "none") == Sources(dict.fromkeys(paths, "missing"), (), {})


def test_postgresql_conf_is_missing(data: Path) -> None:
    """What the other files say is read all the same."""
    (data / "postgresql.conf").unlink()
    (data / "postgresql.auto.conf").write_text("hba_file = '/nowhere/hba'\n")
    read = look(data)
    assert read.digests[f"{data}/postgresql.conf"] == read.digests["/nowhere/hba"] == "missing"
    assert read.settings == {"hba_file": "/nowhere/hba"}


def test_what_is_no_file(data: Path) -> None:
    """A FIFO that nobody writes into, a device, a directory and a link to itself: none is waited for, each is told."""
    os.mkfifo(data / "fifo")
    (data / "postgresql.auto.conf").mkdir()
    (data / "loop").symlink_to("loop")
    (data / "zero").symlink_to("/dev/zero")
    (data / "pg_hba.conf").unlink()
    (data / "pg_hba.conf").symlink_to("fifo")
    included = ("fifo", "zero", "loop", "/proc/self/mem")
    (data / "postgresql.conf").write_text("".join(f"include_if_exists '{name}'\n" for name in included) + "a.b = 1\n")
    read = look(data)
    assert read.settings == {"a.b": "1"}
    assert found(read, data) == {
        "fifo": "not a file",
        "zero": "not a file",
        "loop": "unreadable: Too many levels of symbolic links",
        os.path.relpath("/proc/self/mem", data): "unreadable: Input/output error",
    }
    assert read.digests[f"{data}/pg_hba.conf"] == read.digests[f"{data}/postgresql.auto.conf"] == "not a file"


@pytest.fixture
def as_somebody(short_directory: Path, server_user: User | None) -> Iterator[Path]:
    """Be an ordinary user, with a directory of one's own that has a directory `closed`."""
    before = os.geteuid()
    os.seteuid(before if server_user is None else server_user.uid)
    closed = short_directory / "closed"
    closed.mkdir()
    yield short_directory
    closed.chmod(0o700)
    os.seteuid(before)


def test_what_may_not_be_read(as_somebody: Path) -> None:
    """A file and a directory that are not ours to read are told, and what comes after them counts."""
    data = as_somebody
    (data / "own").touch(mode=0)
    (data / "pg_hba.conf").touch(mode=0)
    (data / "closed" / "a.conf").touch()
    (data / "closed").chmod(0)
    conf = data / "postgresql.conf"
    conf.write_text("include 'own'\ninclude 'closed/a.conf'\ninclude_dir 'closed'\ninclude_if_exists 'own'\nport = 1\n")
    read = look(data)
    denied = "unreadable: Permission denied"
    assert found(read, data) == {"own": denied, "closed/a.conf": denied}
    assert read.digests[f"{data}/pg_hba.conf"] == denied
    assert (read.directories, read.settings) == ((f"{data}/closed",), {"port": "1"})
    forgiven = configtree.read(str(conf), None, forgiving=True)
    assert [(problem.path, problem.line) for problem in forgiven.problems] == [(str(conf), n) for n in (1, 2, 3, 4)]
    with pytest.raises(PermissionError, match="own"):
        configtree.read(str(conf), None)


def test_a_large_file_is_known_by_its_size_and_time(data: Path) -> None:
    """A sparse file without an end is not read, yet it is seen when it changes."""
    (data / "postgresql.conf").write_text("include 'large'\nport = 1\n")
    with (data / "large").open("wb") as file:
        file.truncate(1 << 40)
    before = look(data)
    assert found(before, data)["large"].startswith("large: 1099511627776 bytes, ")
    assert before.settings == {"port": "1"}
    assert look(data) == before
    os.utime(data / "large", (0, 0))
    assert look(data) != before


def test_files_that_include_each_other_a_thousand_times(data: Path) -> None:
    """What would be read for years ends soon, and the rest of the files is told all the same."""
    (data / "postgresql.conf").write_text("port = 1\ninclude '0'\n")
    for number in range(9):
        (data / str(number)).write_text(f"include '{number + 1}'\n" * 10)
    (data / "9").write_text("port = 2\n")
    read = look(data)
    assert read.settings == {"port": "2"}
    assert set(found(read, data)) == {str(number) for number in range(10)}
    assert read.digests.keys() >= {f"{data}/pg_hba.conf", f"{data}/pg_ident.conf"}
    assert look(data) == read


def test_a_directory_that_is_included_costs_no_descriptor(data: Path) -> None:
    """To look at what is no file leaves nothing open behind, in a daemon that looks for years."""
    (data / "postgresql.conf").write_text("include '.'\n")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert found(look(data), data) == {".": "not a file"}
    assert os.listdir("/proc/self/fd") == before


def test_a_leased_file_is_not_waited_for(data: Path) -> None:
    """Who has taken a lease on a file (fcntl(2)) could keep every other reader waiting for 45 s; not us."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with (data / "pg_hba.conf").open("r+") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert look(data).digests[f"{data}/pg_hba.conf"] == "unreadable: Resource temporarily unavailable"
    signal.signal(signal.SIGIO, before)
    assert look(data).digests[f"{data}/pg_hba.conf"] == digest()


def test_links(data: Path, tmp_path: Path) -> None:
    """A link counts by what it leads to now, under its own name, and includes are looked for beside the link."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c").write_text(f"include_if_exists 'beside'\nx.y = {name}\n")
    (tmp_path / "..data").symlink_to("one")
    (data / "postgresql.conf").unlink()
    (data / "postgresql.conf").symlink_to(tmp_path / "..data" / "c")
    one = look(data)
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("two")
    two = look(data)
    assert (one.settings, two.settings) == ({"x.y": "one"}, {"x.y": "two"})
    assert found(one, data) == found(two, data) == {"beside": "missing"}
    assert one.digests[f"{data}/postgresql.conf"] != two.digests[f"{data}/postgresql.conf"]


def test_names_that_are_no_utf_8(data: Path) -> None:
    """A name is any bytes."""
    (data / "postgresql.conf").write_bytes(b"include '\xe9.conf'\n")
    (data / "\udce9.conf").write_bytes(b"x.y = '\xff'\r\n")
    read = look(data)
    assert found(read, data) == {"\udce9.conf": digest(b"x.y = '\xff'\r\n")}
    assert read.settings == {"x.y": "\udcff"}
