"""Questions to a running server: what its settings are, and what it makes of its configuration files.

A server that reads its files again tells nobody what it made of them but its log. Views tell: pg_settings what it goes
by, and pg_file_settings, pg_hba_file_rules and pg_ident_file_mappings what the files say at this moment and what is
wrong with that (PostgreSQL manual, "System Views"). They are asked through the server's own psql, by the OS user of the
cluster, over the Unix socket, as an administrator would at its machine (as the role of that name or, where that is not
let in, as postgres), so there is no driver to install and
no password to keep. Nobody's configuration can make it hang: it is over after `patience` seconds, whatever happens.

A new connection sees a reload that was ordered before it: the postmaster looks to its signals before it lets anybody in
(ServerLoop in postmaster.c).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from pgsupervisor.errors import ClusterError, InstallationError, ProbeError
from pgsupervisor.postgres import command
from pgsupervisor.postgres.answers import Answers, FileRow, SettingRow, read
from pgsupervisor.postgres.authfile import RULES, Rules, rules_file
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.lexer import fold
from pgsupervisor.postgres.quantity import same, show
from pgsupervisor.system.process import run
from pgsupervisor.values import frozen

PATIENCE = 10.0
"""Seconds that a server may take for its answers; as a rule it takes a hundredth of one."""

Part: TypeAlias = Literal["settings"] | Rules
"""What a file is part of: postgresql.conf, pg_hba.conf or pg_ident.conf, each with all that it includes."""


@frozen
class Running:
    """A setting that the server has; a row of pg_settings.

    `value` is what the server goes by, and `default` what it would go by if nobody had set it, both as SHOW prints
    them. `raw` is the value in the base unit `unit` (None: it has none), and `kind` is bool, integer, real, string or
    enum (pg_settings.vartype). `pending` if the files give it another value, which waits for a restart.

    `source` says where the value comes from (pg_settings.source). Where that is "database", "user", "database user" or
    "global", an ALTER DATABASE or ALTER ROLE hides the server's own value from whoever asks.
    """

    name: str
    value: str
    default: str
    raw: str
    unit: str | None
    kind: str
    source: str
    pending: bool


@frozen
class Written:
    """A setting that a file gives, as the server reads it now; a row of pg_file_settings.

    `name` is in lower case. `applied` says that it counts, and could be taken without a restart; `error` is what the
    server has against it, if anything. With one line that cannot be parsed, nothing is `applied`.
    """

    path: str
    line: int
    name: str
    value: str
    applied: bool
    error: str | None


@frozen
class Mistake:
    """What the server refuses: the file, the line (0: the file as a whole), and why, in the server's words.

    `name` is the setting that it is about, in lower case; None if there is no telling.
    """

    part: Part
    path: str
    line: int
    why: str
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}" if self.line else f"{self.path}: {self.why}"


@frozen
class Inspection:
    """All that a server answered: `settings` by name in lower case, what is `written`, and the `mistakes` in that."""

    settings: Mapping[str, Running]
    written: tuple[Written, ...]
    mistakes: tuple[Mistake, ...]


def inspect(cluster: Cluster, *, patience: float = PATIENCE) -> Inspection:
    """Ask the server of a cluster what it goes by, and what it makes of its files as they are now.

    Raises ProbeError if it cannot be asked: none runs, it does not let us in, we are no superuser there, or it has not
    answered after `patience` seconds.
    """
    finished = _ask(cluster, _questions(cluster.installation.major), patience)
    found = None if finished.returncode != 0 else inspection(finished.stdout, finished.stderr)
    if found is None:
        raise ProbeError(_reason(finished.stderr) or f"psql ended with status {finished.returncode}")
    return found


def inspection(printed: str, said: str) -> Inspection | None:
    """Return what psql `printed` of a server's answers, and `said` besides; None if not all of them are there. Pure.

    Raises ProbeError if it is nothing that a server answers, or says that there is no answer.
    """
    try:
        answers = read(printed)
        return None if answers is None else _inspection(answers, said)
    except (ValueError, ArithmeticError) as error:
        raise ProbeError("what answers at its socket is no server of PostgreSQL's; look what listens there") from error


def _inspection(answers: Answers, said: str) -> Inspection:
    """Return what answers say. Raises ValueError or ArithmeticError where something is to be a number, and is none."""
    rows = answers["written"] or []
    written = tuple(
        Written(path, line or 0, fold(name), value or "", applied, error)
        for path, line, name, value, applied, error, _ in rows
        if path is not None and name is not None
    )
    assigned = {row.name: row.value for row in written}
    # pg_settings is silent about a name with a dot that nobody has declared: its library is not loaded, or it has none.
    settings = {
        fold(name): Running(name, value, "", value, None, "string", "configuration file", pending=False)
        for _, _, name, _, _, _, value in rows
        if name is not None and value is not None
    }
    settings |= {fold(row[0]): _running(row, assigned.get(fold(row[0]))) for row in answers["settings"]}
    settings |= {f"{part}_file": _rules_setting(part, settings, assigned.get(f"{part}_file")) for part in RULES}
    mistakes = (
        *_mistakes_in_settings(rows, settings["config_file"].value, _messages(said)),
        *_mistakes_in_rules("hba", settings["hba_file"].value, answers),
        *_mistakes_in_rules("ident", settings["ident_file"].value, answers),
    )
    return Inspection(settings, written, mistakes)


_OCTAL = frozenset({"data_directory_mode", "log_file_mode", "unix_socket_permissions"})
"""Integers that SHOW prints as modes (their show hooks in guc_tables.c)."""

_NOT_APPLIED = "setting could not be applied"
"""All that pg_file_settings says of a value that the server does not take."""

_WAITS = "cannot be changed without restarting the server"
"""What is no mistake: a setting, or its absence, waits for a restart."""

_SHORT = 100
"""The longest detail or hint that is worth its place, in characters; some name every value that there is."""

_SETTINGS = """
SET client_encoding = 'SQL_ASCII';
SELECT pg_catalog.json_build_object('settings', pg_catalog.json_agg(pg_catalog.json_build_array(
    name, reset_val, boot_val, unit, vartype, source, pending_restart))) FROM pg_catalog.pg_settings;
SET search_path = '';
SET lc_messages = 'C';
SET client_min_messages = 'debug3';
SELECT json_build_object('written', json_agg(json_build_array(
    sourcefile, sourceline, name, setting, applied, error, current_setting(name, true)) ORDER BY seqno))
    FROM pg_catalog.pg_file_settings;
RESET client_min_messages;
"""
"""Questions about the settings. Each answer is one line of JSON.

The encoding is one that leaves all bytes as they are in the files, which need be no text of the database's. What the
server goes by is `reset_val`: `setting` is that of this session, with what is only true of it (the encoding, keepalives
of a Unix socket). It must be asked first, since reading the other view marks settings as pending in this session.

Names are qualified until nobody's functions can be found: we may be a superuser (CVE-2018-1058).

Of a value that it does not take, the view says only "setting could not be applied". The server's full message, which a
reload writes to its log, is sent to a client that wants to see what is as unimportant as debug3 (set_config_option).
"""

_RULES = """
SELECT json_build_object('{part}', json_build_object('count', count(*), 'mistakes', json_agg(
    json_build_array({file}, line_number, error)) FILTER (WHERE error IS NOT NULL AND {refused} IS NULL)))
    FROM pg_catalog.{view};
\\if :ERROR
SELECT json_build_object('{part}', json_build_object('failed', :'LAST_ERROR_MESSAGE'));
\\endif
"""
"""A question about the rules of one kind; it fails if their file cannot be read.

A line that is accepted can have an error too: hostssl where there is no TLS can never match, and is no mistake.
"""


def _questions(major: int) -> str:
    """Return what to ask a server of a major version."""
    questions = _SETTINGS
    for part, view, since, refused in (
        ("hba", "pg_hba_file_rules", 10, "type"),
        ("ident", "pg_ident_file_mappings", 15, "map_name"),
    ):
        # With includes came the names of files.
        file = "file_name" if major >= 16 else f"current_setting('{part}_file')"  # noqa: PLR2004
        if major >= since:
            questions += _RULES.format(part=part, view=view, file=file, refused=refused)
    return questions


_NOT_LET_IN = 2
"""The exit status of psql when there is no connection."""

_USUAL_ROLE = "postgres"
"""What a superuser is called where he is not called like the OS user: the role that most administrators give initdb."""


def _ask(cluster: Cluster, questions: str, patience: float) -> subprocess.CompletedProcess[str]:
    """Return what psql printed and said. Raises ProbeError if that is nothing."""
    try:
        finished = _psql(cluster, questions, patience, {})
        if finished.returncode == _NOT_LET_IN:
            again = _psql(cluster, questions, patience, {"PGUSER": _USUAL_ROLE})
            finished = finished if again.returncode == _NOT_LET_IN else again
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"the server did not answer within {patience:g} s") from error
    except (InstallationError, ClusterError, OSError) as error:
        raise ProbeError(str(error)) from error
    return finished


def _psql(
    cluster: Cluster, questions: str, patience: float, extra: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Have psql ask, with `extra` in its environment."""
    host, port = _address(cluster)
    arguments = command.psql_command(cluster.installation.require("psql"), host=host, port=port)
    run_as = cluster.run_as
    # The name of the application is a setting too, and left to the server.
    quiet = {"LC_ALL": "C", "PGAPPNAME": "", **extra}
    environment = command.environment(os.environ, run_as=run_as, extra=quiet)
    with open(os.memfd_create("questions"), "w+", encoding="utf-8") as script:
        script.write(questions)
        script.seek(0)
        return run(arguments, environment=environment, run_as=run_as, timeout=patience, stdin=script.fileno())


def _address(cluster: Cluster) -> tuple[str, int]:
    """Return the directory of the server's Unix socket, and its port."""
    written = cluster.announced()
    if written is None and not os.path.isdir(cluster.data_directory):
        raise ProbeError(f"{cluster.data_directory} is gone (moved, or unmounted?): bring it back")
    if written is None:
        raise ProbeError("no server runs there, or it has only begun to start")
    if written.socket_directory is None or written.port is None:
        raise ProbeError("it has no Unix socket to be asked over (see unix_socket_directories)")
    if written.socket_directory.startswith("@"):
        return written.socket_directory, written.port
    # It may be relative to where the server works.
    return os.path.join(cluster.data_directory, written.socket_directory), written.port


_NOISE = re.compile(r'(?:psql: (?:error: )?)?(?:connection to server on socket ".*" failed: (?=\S+: ))?(?:\S+:  )?')
"""What psql and the server put before the reason: who says it, over what, and how severe it is."""


def _reason(said: str) -> str:
    """Return the one line of what psql said that tells why; empty if it said nothing."""
    lines = said.splitlines()
    telling = (line for line in lines if line.startswith(("psql: ", "FATAL:", "ERROR:", "PANIC:")))
    return _NOISE.sub("", next(telling, lines[0] if lines else ""), count=1)


def _running(row: SettingRow, written: str | None) -> Running:
    """Make a setting of a row of pg_settings and of what the files say last of it."""
    name, reset, boot, unit, kind, source, pending = row
    raw, default = reset or "", boot or ""
    # The server leaves its mark where a value that has never been in force is taken out of the files again.
    changes = default != raw if written is None else not same(written, raw, unit, kind)
    value, otherwise = (f"{int(text):04o}" if name in _OCTAL else show(text, unit, kind) for text in (raw, default))
    return Running(name, value, otherwise, raw, unit, kind, source, pending and changes)


def _rules_setting(part: Rules, settings: Mapping[str, Running], written: str | None) -> Running:
    """Return hba_file or ident_file, which the server compares with what the files say before that is made a path."""
    running, directory = settings[f"{part}_file"], settings["data_directory"].value
    pending = running.pending and rules_file(part, directory, written) != running.raw
    return replace(running, default=rules_file(part, directory, None), pending=pending)


def _mistakes_in_settings(rows: Iterable[FileRow], config_file: str, messages: list[str]) -> Iterator[Mistake]:
    """Yield what is wrong with the settings in the files."""
    wrong = [(path, line, name, error) for path, line, name, _, _, error, _ in rows if error is not None]
    refusals = _refusals([name for _, _, name, error in wrong if name and error == _NOT_APPLIED], messages)
    for path, line, name, error in wrong:
        why = refusals[name] if name in refusals else _in_full(error, f' in file "{path}" line {line}', messages)
        if _WAITS not in why:
            about = None if name is None else fold(name)
            yield Mistake("settings", path or config_file, line or 0, why, about)


def _refusals(names: list[str], messages: list[str]) -> dict[str, str]:
    """Return by name why the values of settings were not applied, which the server says in the order of the files.

    A few reasons name no setting ("SSL is not supported by this build"). They are told apart if nothing else is left;
    what begins with "io" is how the server reads its tables while it answers.
    """
    named = {
        name: next((message for message in messages if f'"{name.lower()}"' in message.lower()), "") for name in names
    }
    nameless = [name for name, message in named.items() if not message]
    left = [
        message
        for message in messages
        if message not in named.values() and not message.startswith("io ") and _WAITS not in message
    ]
    if len(left) != len(nameless):
        left = [f'setting "{name}" could not be applied' for name in nameless]
    return named | dict(zip(nameless, left, strict=True))


def _in_full(error: str, place: str, messages: list[str]) -> str:
    """Return an error in the fullest words that the server has for it; `place` is how these name the line."""
    # Of a file that cannot be opened, the reason follows its name.
    wanted = error[error.index('"') :] + ": " if error.endswith('"') else place
    found = next((message for message in messages if wanted in message), error)
    return found.replace(f"{place},", "").replace(place, "")


def _messages(said: str) -> list[str]:
    """Return the server's messages, each on one line, with its detail or hint if that is short."""
    messages = []
    for message in re.split(r"^DEBUG:  ", said, flags=re.MULTILINE)[1:]:
        first, *more = (" ".join(part.split()) for part in re.split(r"\n(?=[A-Z]+:  )", message))
        remark = "".join(more[:1])
        short = remark.startswith(("DETAIL: ", "HINT: ")) and len(remark) <= _SHORT
        messages.append(f"{first} ({remark.partition(': ')[2].removesuffix('.')})" if short else first)
    return messages


def _mistakes_in_rules(part: Rules, file: str, answers: Answers) -> Iterator[Mistake]:
    """Yield what is wrong with pg_hba.conf or pg_ident.conf, whose path is `file`."""
    answer = answers.get(part, {})
    failed = answer.get("failed")
    if failed is not None and failed.startswith("could not open"):
        yield Mistake(part, file, 0, failed.replace(f' "{file}"', ""))
    elif failed is not None:
        raise ProbeError(failed)
    elif part == "hba" and answer["count"] == 0:
        # Nobody could log in, so the server takes it for a mistake (load_hba in hba.c).
        yield Mistake(part, file, 0, "contains no entries")
    for path, line, why in answer.get("mistakes") or ():
        yield Mistake(part, path or file, line, why)
