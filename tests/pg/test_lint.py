"""What would be wrong at the next start, told while the server runs; the next start itself is the judge."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from asking import add, path, restart, start

from pgsupervisor.postgres import Cluster, ClusterStartupError
from pgsupervisor.postgres.lint import Lint, lint, tls_problems


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """A cluster whose server runs, and lets in the user who runs it."""
    start(cluster)
    return cluster


def restarts(cluster: Cluster, settings: Mapping[str, str] | None = None) -> bool:
    """Tell whether the server starts anew, with these settings."""
    try:
        restart(cluster, settings)
    except ClusterStartupError:
        return False
    return True


def test_nothing_wrong(server: Cluster) -> None:
    """Of a server whose files are in order nothing is said, nor of one that waits for a restart."""
    assert lint(server) == Lint(())
    add(server, "shared_buffers = '17MB'", "postgresql.conf")
    server.reload()
    assert lint(server) == Lint(())
    assert restarts(server)


def test_a_mistake_in_postgresql_conf(server: Cluster) -> None:
    """A mistake in postgresql.conf is told once, with file and line."""
    line = add(server, "port = x", "postgresql.conf")
    why = f'{path(server, "postgresql.conf")}:{line}: invalid value for parameter "port": "x"'
    assert lint(server) == Lint((why,))
    assert not restarts(server)


def test_a_mistake_on_the_command_line(server: Cluster) -> None:
    """The settings that the next start would be given are judged too."""
    assert lint(server, {"work_mem": "1MB"}) == Lint(())
    (reason,) = lint(server, {"work_mem": "4XB"}).fatal
    assert reason.startswith('invalid value for parameter "work_mem": "4XB"')


def test_a_mistake_in_pg_hba_conf(server: Cluster) -> None:
    """A mistake in pg_hba.conf is told with file and line, before and after a reload."""
    line = add(server, "local all all trsut", "pg_hba.conf")
    told = Lint((f'{path(server, "pg_hba.conf")}:{line}: invalid authentication method "trsut"',))
    assert lint(server) == told
    server.reload()
    assert lint(server) == told
    assert not restarts(server)


def test_no_rules(server: Cluster) -> None:
    """A pg_hba.conf without a rule keeps a server from starting."""
    path(server, "pg_hba.conf").write_text("\n")
    assert lint(server) == Lint((f"{path(server, 'pg_hba.conf')}: contains no entries",))
    assert not restarts(server)


def test_rules_that_are_taken(server: Cluster) -> None:
    """A rule that can never match keeps no server from starting."""
    add(server, "hostssl all all all trust", "pg_hba.conf")
    assert lint(server) == Lint(())
    assert restarts(server)


def test_a_mistake_in_pg_ident_conf(server: Cluster) -> None:
    """A mistake in pg_ident.conf is told, and keeps no server from starting."""
    line = add(server, "map /( alice", "pg_ident.conf")
    (other,) = lint(server).others
    assert lint(server).fatal == ()
    assert other == (
        f'{path(server, "pg_ident.conf")}:{line}: invalid regular expression "(": parentheses () not balanced'
    )
    assert restarts(server)


def test_a_server_that_cannot_be_asked(server: Cluster) -> None:
    """What a server cannot be asked is not held against it; what can be known is told all the same."""
    server.send(signal.SIGSTOP)
    try:
        unasked = "pg_hba.conf and pg_ident.conf were not checked, the running server could not be asked: the server "
        unasked += "did not answer within 0.5 s"
        assert lint(server, patience=0.5) == Lint((), unasked=unasked)
        add(server, "port = x", "postgresql.conf")
        found = lint(server, patience=0.5)
        assert found == Lint(found.fatal, unasked=unasked)
        assert found.fatal[0].startswith('invalid value for parameter "port": "x"')
    finally:
        server.send(signal.SIGCONT)


def test_no_server(cluster: Cluster) -> None:
    """Where no server runs, the pre-flight check is all there is."""
    add(cluster, "local all all trsut", "pg_hba.conf")
    assert lint(cluster) == Lint(())
    shutil.rmtree(path(cluster, "base"))
    path(cluster, "PG_VERSION").unlink()
    (reason,) = lint(cluster).fatal
    assert "is not a data directory" in reason


@pytest.mark.parametrize("given", ["", "hba_file", "HBA-file"])
def test_another_pg_hba_conf(server: Cluster, given: str) -> None:
    """The pg_hba.conf of the next start counts: it must be there, and no mistake in the old one does harm any more."""
    other = path(server, "other_hba.conf")
    add(server, "local all all trsut", "pg_hba.conf")
    settings = {given: str(other)} if given else {}
    if not given:
        add(server, f"hba_file = '{str(other)[1:]}'")  # relative to where it starts
    missing = Lint((f"{other}: could not open file: No such file or directory",))
    assert lint(server, settings) == missing
    assert not restarts(server, settings)
    assert lint(server, settings) == missing
    other.mkdir()
    assert lint(server, settings) == Lint((f"{other}: is a directory, and no file",))
    assert not restarts(server, settings)
    other.rmdir()
    other.write_text("local all all trust\n")
    other.chmod(0)
    if server.run_as is not None:
        os.chown(other, 0, 0)
        assert lint(server, settings) == Lint((f"{other}: could not open file: Permission denied",))
        assert not restarts(server, settings)
    other.chmod(0o644)
    assert lint(server, settings) == Lint(())
    assert restarts(server, settings)


def test_another_pg_hba_conf_is_not_checked(server: Cluster) -> None:
    """What the running server does not read, it does not judge; that is said."""
    other = path(server, "other_hba.conf")
    other.write_text("local all all trsut\n")
    add(server, "local all all trsut", "pg_hba.conf")
    own = path(server, "pg_hba.conf")
    unasked = f"{other} was not checked: until its restart, the server goes by {own}"
    assert lint(server, {"hba_file": str(other)}) == Lint((), unasked=unasked)
    link = path(server, "link_hba.conf")
    link.symlink_to("pg_hba.conf")
    assert lint(server, {"hba_file": str(link)}) == lint(server)
    assert lint(server).fatal != ()


def test_another_pg_ident_conf(server: Cluster) -> None:
    """A pg_ident.conf that is not there is told, and keeps no server from starting."""
    other, own = path(server, "other_ident.conf"), path(server, "pg_ident.conf")
    settings = {"ident_file": str(other)}
    missing = Lint((), (f"{other}: could not open file: No such file or directory",))
    assert lint(server, settings) == missing
    other.write_text("map\n")
    unasked = f"{other} was not checked: until its restart, the server goes by {own}"
    assert lint(server, settings) == Lint((), unasked=unasked)
    other.unlink()
    assert restarts(server, settings)


def test_without_addresses(server: Cluster, short_directory: Path) -> None:
    """Where addresses change hands, only what the files say counts."""
    other = {"port": "5499", "unix_socket_directories": f"{short_directory}/absent"}
    assert lint(server, other).fatal != ()
    assert lint(server, other, addresses=False) == Lint(())
    assert lint(server, {"work_mem": "x"}, addresses=False).fatal != ()
    path(server, "PG_VERSION").write_text("9.6\n")
    (reason,) = lint(server, other, addresses=False).fatal
    assert "belongs to PostgreSQL 9.6" in reason


def make_certificate(cluster: Cluster, name: str, *extra: str) -> None:
    """Make a certificate and its key, which belong to the server's user."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    certificate, key = path(cluster, f"{name}.crt"), path(cluster, f"{name}.key")
    new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=shop", "-keyout", str(key)]
    subprocess.run([*new, "-out", str(certificate), *(extra or ("-nodes",))], check=True, capture_output=True)
    for file in (certificate, key):
        if cluster.run_as is not None:
            os.chown(file, cluster.run_as.uid, cluster.run_as.gid)
    key.chmod(0o600)


@pytest.fixture
def encrypted(server: Cluster) -> Cluster:
    """A server with the files for TLS, which is switched on for its next start."""
    make_certificate(server, "server")
    add(server, "ssl = on\nssl_ca_file = 'server.crt'", "postgresql.conf")
    return server


def test_tls(encrypted: Cluster) -> None:
    """Whatever the server could not load for TLS is told; what it can is not, and nothing if it need not."""
    if not encrypted.installation.ssl:
        (reason,) = lint(encrypted).fatal
        assert "SSL is not supported by this build" in reason
        assert not restarts(encrypted)
        return
    assert lint(encrypted) == Lint(())
    directory = encrypted.data_directory
    certificate, key = path(encrypted, "server.crt"), path(encrypted, "server.key")
    pair = f"the certificate {certificate} and its key {key} cannot be loaded for TLS"
    key.chmod(0o640)
    mode = f"the private key {key} has the mode 0640, and PostgreSQL accepts 0600, or 0640 if root owns it, and less"
    assert lint(encrypted) == Lint((mode,))
    assert lint(encrypted, {"SSL": "no"}) == Lint(())
    assert not restarts(encrypted)
    key.chmod(0o600)
    make_certificate(encrypted, "other")
    other = f"the certificate {certificate} and its key {directory}/other.key cannot be loaded for TLS"
    found = lint(encrypted, {"ssl-key-file": f"{directory}/other.key"})
    assert found == Lint((f"{other}: KEY_VALUES_MISMATCH",))
    if encrypted.run_as is not None:
        certificate.chmod(0o600)
        os.chown(certificate, 0, 0)
        assert lint(encrypted, {"ssl_ca_file": ""}) == Lint((f"{pair}: Permission denied",))
        os.chown(certificate, encrypted.run_as.uid, encrypted.run_as.gid)
    certificate.write_text("nonsense")
    assert [reason.partition(": ")[0] for reason in lint(encrypted).fatal] == [
        pair,
        f"{certificate} cannot be loaded for TLS",
    ]
    assert not restarts(encrypted)
    key.unlink()
    assert lint(encrypted) == Lint((f"the private key {key} cannot be read for TLS: No such file or directory",))


def test_a_key_with_a_passphrase(encrypted: Cluster) -> None:
    """An encrypted key needs a command that says its passphrase; what that says is not tried, and nobody is asked."""
    if not encrypted.installation.ssl:
        return
    make_certificate(encrypted, "server", "-passout", "pass:secret")
    why = f"the private key {path(encrypted, 'server.key')} has a passphrase, which nobody would be asked for: "
    why += "set ssl_passphrase_command, or take another key"
    assert lint(encrypted) == Lint((why,))
    assert not restarts(encrypted)
    add(encrypted, "ssl_passphrase_command = 'echo secret'")
    assert lint(encrypted) == Lint(())
    assert restarts(encrypted)
    certificate, key = path(encrypted, "server.crt"), path(encrypted, "server.key")
    certificate.write_text("nonsense")
    assert [reason.partition(": ")[0] for reason in lint(encrypted).fatal] == [
        f"the certificate {certificate} and its key {key} cannot be loaded for TLS",
        f"{certificate} cannot be loaded for TLS",
    ]


def test_ciphers(encrypted: Cluster) -> None:
    """Ciphers of which OpenSSL knows none keep a server from starting; one that it knows is enough."""
    if not encrypted.installation.ssl:
        return
    assert lint(encrypted, {"ssl_ciphers": "HIHG:HIGH"}) == Lint(())
    assert restarts(encrypted, {"ssl_ciphers": "HIHG:HIGH"})
    found = lint(encrypted, {"ssl_ciphers": "HIHG"})
    assert found == Lint(("ssl_ciphers 'HIHG' cannot be used for TLS: No cipher can be selected.",))
    assert not restarts(encrypted, {"ssl_ciphers": "HIHG"})
    assert lint(encrypted, {"ssl_ciphers": "PROFILE=SYSTEM"}) == Lint(())


def test_after_a_reload(encrypted: Cluster) -> None:
    """What a reload could not load is told without a lint of the rest; a directory named by mistake is no file."""
    if not encrypted.installation.ssl:
        return
    assert tls_problems(encrypted, {}) == []
    certificate = path(encrypted, "server.crt")
    certificate.unlink()
    pair = f"the certificate {certificate} and its key {path(encrypted, 'server.key')}"
    missing = f"{pair} cannot be loaded for TLS: No such file or directory"
    assert tls_problems(encrypted, {"ssl_ca_file": ""}) == [missing]
    assert tls_problems(encrypted, {"ssl": "off"}) == []
    directory = path(encrypted, "")
    assert tls_problems(encrypted, {"ssl_key_file": ""}) == [f"the private key {directory}/ is not a regular file"]
