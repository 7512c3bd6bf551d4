"""Why the next start of a server would fail, told while it still runs.

A mistake in a file does no harm as long as the server runs: it keeps what it has read before. It is the next start that
fails, at night as a rule. What can be known of it now is gathered here: the pre-flight check with PostgreSQL's own
judgement of postgresql.conf (`preflight`), the running server's own judgement of pg_hba.conf (`probe`), and whether
the files for TLS could be loaded. What a server would start in spite of is kept apart.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass

from pgsupervisor.errors import ConfigurationError, ProbeError
from pgsupervisor.postgres import command, preflight, probe
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.lexer import fold
from pgsupervisor.postgres.quantity import same
from pgsupervisor.system.process import User, run

_PATIENCE = 10.0
"""Seconds that the loading of files for TLS may take; as a rule it takes fifty milliseconds."""

_OWN_KEY = 0o077
_ROOTS_KEY = 0o037
"""Mode bits that a private key must not have, if the server's user owns it, and if root does."""


@dataclass(frozen=True, slots=True)
class Lint:
    """What is wrong, in words.

    With the `fatal` reasons the next start would fail. The `others` it would survive: of pg_ident.conf, a server takes
    nothing then. `unasked` is why a running server could not be asked, so that nothing is known of these files; empty
    if it was asked, or none runs.
    """

    fatal: tuple[str, ...]
    others: tuple[str, ...] = ()
    unasked: str = ""


def lint(cluster: Cluster, settings: Settings | None = None, *, patience: float = probe.PATIENCE) -> Lint:
    """Return what would be wrong at the next start of a cluster, as far as it can be told now.

    `settings` are those on the command line of that start, and `patience` the seconds that a running server has for its
    answers.

    Raises what `Cluster.run_as` and `Cluster.running` raise.
    """
    fatal = preflight.problems(
        cluster.installation,
        cluster.data_directory,
        run_as=cluster.run_as,
        config_file=cluster.config_file,
        settings=settings,
    )
    refused = [] if fatal else _refused(cluster, settings)
    if not (fatal or refused):
        fatal = _tls_problems(cluster, settings or {})
    if not cluster.running():
        return Lint((*fatal, *refused))
    try:
        mistakes = probe.inspect(cluster, patience=patience).mistakes
    except ProbeError as error:
        return Lint((*fatal, *refused), unasked=str(error))
    said = {
        part: [str(mistake) for mistake in mistakes if mistake.part == part] for part in ("settings", "hba", "ident")
    }
    # What `postgres -C` refuses, the server that runs can say with file and line, unless it is on the command line.
    refused = refused and (said["settings"] or refused)
    return Lint((*fatal, *refused, *said["hba"]), tuple(said["ident"]))


def _refused(cluster: Cluster, settings: Settings | None) -> list[str]:
    """Return what PostgreSQL has against the configuration; empty if it takes it."""
    why = preflight.configuration_problem(
        cluster.installation,
        cluster.data_directory,
        run_as=cluster.run_as,
        config_file=cluster.config_file,
        settings=settings,
    )
    return [] if why is None else [why]


_TLS = {
    "ssl": "off",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "",
    "ssl_crl_file": "",
}
"""The settings that say what is loaded for TLS, with their defaults (guc_tables.c). An empty file is none."""

_LOAD = """
import os, ssl, sys
identity, certificate, key, *authorities = sys.argv[1:]
if identity:
    uid, gid, *groups = map(int, identity.split())
    os.setgroups(groups), os.setgid(gid), os.setuid(uid)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("ALL:@SECLEVEL=0")
def load(names, function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        print(f"{names} cannot be loaded for TLS: {getattr(error, 'reason', None) or error.strerror}")
def passphrase():
    sys.exit()
load(f"the certificate {certificate} and its key {key}", context.load_cert_chain, certificate, key, passphrase)
for path in authorities:
    load(path, context.load_verify_locations, path)
"""
"""A program that loads files as the server does, and prints what fails.

It has a process of its own, since the library for it would stay in ours, and itself becomes the server's user once it
has that, because he need not be allowed to run our Python. How strong a key must be is for the server to say, and
an encrypted one cannot be judged without its passphrase.
"""


def _tls_problems(cluster: Cluster, settings: Settings) -> list[str]:
    """Return why the files for TLS could not be loaded; empty if they can, or none is asked for (be_tls_init)."""
    given = {fold(name.replace("-", "_")): value for name, value in settings.items()}
    try:
        written = {name: value for name, value in cluster.settings.getset(_TLS).items() if value is not None}
    except (ConfigurationError, OSError) as error:
        return [f"the configuration cannot be read: {error}"]
    chosen = {**_TLS, **written, **{name: value for name, value in given.items() if name in _TLS}}
    if not same(chosen.pop("ssl"), "on", None, "bool"):
        return []
    files = [os.path.join(cluster.data_directory, path) for path in chosen.values() if path]
    key_problem = _key_problem(files[1], cluster.run_as)
    return [key_problem] if key_problem else _unloadable(files, cluster.run_as)


def _key_problem(path: str, run_as: User | None) -> str:
    """Return why a server would not take a private key, as it lies there; empty if it would (be-secure-common.c)."""
    try:
        facts = os.stat(path)
    except OSError as error:
        return f"the private key {path} cannot be read for TLS: {error.strerror}"
    if not stat.S_ISREG(facts.st_mode):
        return f"the private key {path} is not a regular file"
    if facts.st_uid not in {os.geteuid() if run_as is None else run_as.uid, 0}:
        return f"the private key {path} must be owned by the user that the server runs as, or by root"
    if facts.st_mode & (_ROOTS_KEY if facts.st_uid == 0 else _OWN_KEY):
        return (
            f"the private key {path} has the mode {facts.st_mode & 0o7777:04o}, and PostgreSQL accepts 0600, or 0640 "
            "if root owns it, and less"
        )
    return ""


def _unloadable(files: list[str], run_as: User | None) -> list[str]:
    """Return what the program `_LOAD` has against the certificate, the key and the authorities."""
    becomes = () if run_as is None or os.geteuid() != 0 else (run_as.uid, run_as.gid, *run_as.groups)
    identity = " ".join(map(str, becomes))
    arguments = [sys.executable, "-I", "-S", "-c", _LOAD, identity, *files]
    try:
        finished = run(arguments, environment=command.environment(os.environ), timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return [f"the files for TLS cannot be read within {_PATIENCE:.0f} s: {', '.join(files)}"]
    return [line for line in finished.stdout.splitlines() if line]
