"""Why the next start of a server would fail, told while it still runs.

A mistake in a file does no harm as long as the server runs: it keeps what it has read before. It is the next start that
fails, at night as a rule. What can be known of it now is gathered here: the pre-flight check with PostgreSQL's own
judgement of postgresql.conf (`preflight`), the running server's own judgement of pg_hba.conf (`probe`), and whether
the files for TLS could be loaded. What a server would start in spite of is kept apart.

It is the next start that counts: pg_hba.conf and pg_ident.conf are those that it would read, which the running server
judges only if they are its own.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys

from pgsupervisor.errors import ProbeError
from pgsupervisor.postgres import authfile, command, configtree, datalock, preflight, probe
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.lexer import fold
from pgsupervisor.postgres.quantity import same
from pgsupervisor.system.identity import User, as_ourselves, our_uid
from pgsupervisor.system.permission import may
from pgsupervisor.system.process import run
from pgsupervisor.values import frozen

_PATIENCE = 10.0
"""Seconds that the loading of files for TLS may take; as a rule it takes fifty milliseconds."""

_OWN_KEY = 0o077
_ROOTS_KEY = 0o037
"""Mode bits that a private key must not have, if the server's user owns it, and if root does."""


@frozen
class Lint:
    """What is wrong, in words.

    With the `fatal` reasons the next start would fail. The `others` it would survive: of pg_ident.conf, a server takes
    nothing then. `unasked` says which files no server was asked about though one runs, and why, so that nothing is
    known of what they say; empty if it was, or none runs.
    """

    fatal: tuple[str, ...]
    others: tuple[str, ...] = ()
    unasked: str = ""


def lint(
    cluster: Cluster, settings: Settings | None = None, *, addresses: bool = True, patience: float = probe.PATIENCE
) -> Lint:
    """Return what would be wrong at the next start of a cluster, as far as it can be told now.

    `settings` are those on the command line of that start, and `patience` the seconds that a running server has for its
    answers. Without `addresses`, only what the files say counts, and not who has a port, a socket or a directory at
    this moment: when clusters exchange them, each is in the other's way until both are down.

    Raises what `Cluster.run_as` and `Cluster.running` raise.
    """
    given = settings or {}
    anothers = preflight.ownership_problem(cluster.data_directory, cluster.run_as)
    if anothers is not None:
        return Lint((anothers,))
    fatal = _preflight(cluster, given, addresses=addresses)
    refused = [] if fatal else _refused(cluster, given)
    tls = [] if fatal or refused else tls_problems(cluster, given)
    rules = _rules_files(cluster, given)
    wrong = {part: [] if fatal else _unreadable(path, cluster.run_as) for part, path in rules.items()}
    unasked = []
    if cluster.running():
        try:
            found = probe.inspect(cluster, patience=patience)
        except ProbeError as error:
            unasked = [
                f"pg_hba.conf and pg_ident.conf were not checked, the running server could not be asked: {error}"
            ]
        else:
            # What `postgres -C` refuses, the server that runs can say with file and line, unless it is on the command
            # line.
            refused = refused and (_said(found, "settings") or refused)
            for part, path in rules.items():
                own = found.settings[f"{part}_file"].value
                if os.path.realpath(path) == os.path.realpath(own):
                    wrong[part] = _said(found, part)
                elif not wrong[part]:
                    unasked.append(f"{path} was not checked: until its restart, the server goes by {own}")
    return Lint((*fatal, *refused, *tls, *wrong["hba"]), tuple(wrong["ident"]), "; ".join(unasked))


def _said(found: probe.Inspection, part: probe.Part) -> list[str]:
    """Return what the running server says of its own files."""
    return [str(mistake) for mistake in found.mistakes if mistake.part == part]


def _preflight(cluster: Cluster, given: Settings, *, addresses: bool) -> list[str]:
    """Return what is wrong before any file is judged."""
    if not addresses:
        wrong = preflight.version_problem(cluster.installation, cluster.data_directory)
        return [] if wrong is None else [wrong]
    found = preflight.problems(
        cluster.installation,
        cluster.data_directory,
        run_as=cluster.run_as,
        config_file=cluster.config_file,
        settings=given,
    )
    locked = datalock.problem(cluster.data_directory)
    return found if locked is None else [*found, locked]


def _refused(cluster: Cluster, given: Settings) -> list[str]:
    """Return what PostgreSQL has against the configuration; empty if it takes it."""
    why = preflight.configuration_problem(
        cluster.installation,
        cluster.data_directory,
        run_as=cluster.run_as,
        config_file=cluster.config_file,
        settings=given,
    )
    return [] if why is None else [why]


def _effective(cluster: Cluster, given: Settings) -> Settings:
    """Return by name in lower case what is set at the next start. What cannot be read, `postgres -C` complains of."""
    files = cluster.settings
    assignments = configtree.read(files.path, files.auto_file, forgiving=True).effective()
    written = {name: assignment.value for name, assignment in assignments.items()}
    return written | {fold(name.replace("-", "_")): value for name, value in given.items()}


def _rules_files(cluster: Cluster, given: Settings) -> dict[authfile.Rules, str]:
    """Return the paths of pg_hba.conf and pg_ident.conf at the next start."""
    effective = _effective(cluster, given)
    return {
        part: authfile.rules_file(part, cluster.data_directory, effective.get(f"{part}_file"))
        for part in authfile.RULES
    }


def _unreadable(path: str, run_as: User | None) -> list[str]:
    """Return why the server's user cannot read a file; empty if he can."""
    try:
        facts = os.stat(path)
    except OSError as error:
        return [f"{path}: could not open file: {error.strerror}"]
    if stat.S_ISDIR(facts.st_mode):
        return [f"{path}: is a directory, and no file"]
    return [] if may(run_as, path, os.R_OK) else [f"{path}: could not open file: Permission denied"]


_TLS = {
    "ssl": "off",
    "ssl_ciphers": "",
    "ssl_passphrase_command": "",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "",
    "ssl_crl_file": "",
}
"""The settings that say what is loaded for TLS, with their defaults (guc_tables.c). An empty file is none.

The default of ssl_ciphers depends on how the server was built, and is left to it.
"""

_SYSTEMS_CIPHERS = "PROFILE="
"""How a choice of ciphers begins that only the OpenSSL of some distributions knows, and perhaps not our Python's."""

_LOAD = """
import os, ssl, sys
identity, ciphers, passphrase_command, certificate, key, *authorities = sys.argv[1:]
if identity:
    uid, gid, *groups = map(int, identity.split())
    os.setgroups(groups), os.setgid(gid), os.setuid(uid)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("ALL:@SECLEVEL=0")
class Encrypted(Exception):
    pass
def passphrase():
    raise Encrypted
def load(what, function, *arguments):
    try:
        function(*arguments)
    except Encrypted:
        if not passphrase_command:
            print(f"the private key {key} has a passphrase, which nobody would be asked for: "
                  "set ssl_passphrase_command, or take another key")
    except OSError as error:
        print(f"{what}: {getattr(error, 'reason', None) or error.args[-1]}")
pair = f"the certificate {certificate} and its key {key} cannot be loaded for TLS"
load(pair, context.load_cert_chain, certificate, key, passphrase)
for path in authorities:
    load(f"{path} cannot be loaded for TLS", context.load_verify_locations, path)
if ciphers:
    load(f"ssl_ciphers '{ciphers}' cannot be used for TLS", context.set_ciphers, ciphers)
"""
"""A program that loads files as the server does, and prints what fails.

It has a process of its own, since the library for it would stay in ours, and itself becomes the server's user once it
has that, because he need not be allowed to run our Python. How strong a key must be is for the server to say, and
whether a passphrase opens an encrypted one is not tried.
"""


def tls_problems(cluster: Cluster, settings: Settings) -> list[str]:
    """Return why the files for TLS could not be loaded; empty if they can, or none is asked for (be_tls_init).

    At its start a server fails then. At a reload it only says so in its log, and goes on with those that it has.
    `settings` are those on its command line. Blocks for as long as it takes to load them, 10 s at most.

    Raises what `Cluster.run_as` raises.
    """
    effective = _effective(cluster, settings)
    chosen = {name: effective.get(name, default) for name, default in _TLS.items()}
    if not same(chosen.pop("ssl"), "on", None, "bool"):
        return []
    ciphers, passphrase_command = chosen.pop("ssl_ciphers"), chosen.pop("ssl_passphrase_command")
    certificate, key, *authorities = chosen.values()
    files = [os.path.join(cluster.data_directory, path) for path in (certificate, key, *filter(None, authorities))]
    key_problem = _key_problem(files[1], cluster.run_as)
    if key_problem:
        return [key_problem]
    judged = "" if ciphers.startswith(_SYSTEMS_CIPHERS) else ciphers
    return _unloadable([judged, passphrase_command], files, cluster.run_as)


def _key_problem(path: str, run_as: User | None) -> str:
    """Return why a server would not take a private key, as it lies there; empty if it would (be-secure-common.c)."""
    try:
        facts = os.stat(path)
    except OSError as error:
        return f"the private key {path} cannot be read for TLS: {error.strerror}"
    if not stat.S_ISREG(facts.st_mode):
        return f"the private key {path} is not a regular file"
    if facts.st_uid not in {our_uid() if run_as is None else run_as.uid, 0}:
        return f"the private key {path} must be owned by the user that the server runs as, or by root"
    if facts.st_mode & (_ROOTS_KEY if facts.st_uid == 0 else _OWN_KEY):
        return (
            f"the private key {path} has the mode {facts.st_mode & 0o7777:04o}, and PostgreSQL accepts 0600, or 0640 "
            "if root owns it, and less"
        )
    return ""


def _unloadable(choices: list[str], files: list[str], run_as: User | None) -> list[str]:
    """Return what the program `_LOAD` has against the certificate, the key, the authorities and the ciphers."""
    becomes = () if run_as is None or our_uid() != 0 else (run_as.uid, run_as.gid, *run_as.groups)
    identity = " ".join(map(str, becomes))
    arguments = [sys.executable, "-I", "-S", "-c", _LOAD, identity, *choices, *files]
    try:
        with as_ourselves():
            finished = run(arguments, environment=command.environment(os.environ), timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return [f"the files for TLS cannot be read within {_PATIENCE:.0f} s: {', '.join(files)}"]
    return [line for line in finished.stdout.splitlines() if line]
