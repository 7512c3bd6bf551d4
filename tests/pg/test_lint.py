"""What would be wrong at the next start, told while the server runs; the next start itself is the judge."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from servers import sql

from pgsupervisor.postgres import Cluster, ClusterStartupError
from pgsupervisor.postgres.lint import Lint, lint

LIMIT = 60
"""Seconds after which something hangs."""


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """A cluster whose server runs, and lets in the user who runs it."""
    cluster.start()
    cluster.wait_until_started(LIMIT)
    name = pwd.getpwuid(os.geteuid()).pw_name if cluster.run_as is None else cluster.run_as.name
    if name != "postgres":
        sql(cluster, f'create role "{name}" superuser login')
    return cluster


def path(cluster: Cluster, name: str) -> Path:
    """Return the path of a file in the data directory."""
    return Path(cluster.data_directory, name)


def add(cluster: Cluster, name: str, text: str) -> int:
    """Add a line to a file, and return its number."""
    file = path(cluster, name)
    with file.open("a") as opened:
        opened.write(f"{text}\n")
    return file.read_text().count("\n")


def restarts(cluster: Cluster) -> bool:
    """Tell whether the server starts anew."""
    cluster.shutdown()
    cluster.wait_until_stopped(LIMIT)
    try:
        cluster.start()
        cluster.wait_until_started(LIMIT)
    except ClusterStartupError:
        return False
    return True


def test_nothing_wrong(server: Cluster) -> None:
    """Of a server whose files are in order nothing is said, nor of one that waits for a restart."""
    assert lint(server) == Lint(())
    add(server, "postgresql.conf", "shared_buffers = '17MB'")
    server.reload()
    assert lint(server) == Lint(())
    assert restarts(server)


def test_a_mistake_in_postgresql_conf(server: Cluster) -> None:
    """A mistake in postgresql.conf is told once, with file and line."""
    line = add(server, "postgresql.conf", "port = x")
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
    line = add(server, "pg_hba.conf", "local all all trsut")
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
    add(server, "pg_hba.conf", "hostssl all all all trust")
    assert lint(server) == Lint(())
    assert restarts(server)


def test_a_mistake_in_pg_ident_conf(server: Cluster) -> None:
    """A mistake in pg_ident.conf is told, and keeps no server from starting."""
    line = add(server, "pg_ident.conf", "map /( alice")
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
        unasked = "the server did not answer within 0.5 s"
        assert lint(server, patience=0.5) == Lint((), unasked=unasked)
        add(server, "postgresql.conf", "port = x")
        found = lint(server, patience=0.5)
        assert found == Lint(found.fatal, unasked=unasked)
        assert found.fatal[0].startswith('invalid value for parameter "port": "x"')
    finally:
        server.send(signal.SIGCONT)


def test_no_server(cluster: Cluster) -> None:
    """Where no server runs, the pre-flight check is all there is."""
    add(cluster, "pg_hba.conf", "local all all trsut")
    assert lint(cluster) == Lint(())
    shutil.rmtree(path(cluster, "base"))
    path(cluster, "PG_VERSION").unlink()
    (reason,) = lint(cluster).fatal
    assert "is not a data directory" in reason


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
    add(server, "postgresql.conf", "ssl = on\nssl_ca_file = 'server.crt'")
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
    """An encrypted key is not judged, and nobody is asked for its passphrase."""
    if not encrypted.installation.ssl:
        return
    make_certificate(encrypted, "server", "-passout", "pass:secret")
    assert lint(encrypted) == Lint(())
    add(encrypted, "postgresql.conf", "ssl_passphrase_command = 'echo secret'")
    assert restarts(encrypted)
