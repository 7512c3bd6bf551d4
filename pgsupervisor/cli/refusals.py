"""What the daemon answers when it does not do what was asked, in words that say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pgsupervisor.control import protocol
from pgsupervisor.errors import RemoteError

Facts = Mapping[str, object]

_LISTED = 8
"""How many clusters are named in a sentence at most."""

_GLOBS = 16
"""How many of the names in one request may be globs (io.pgsupervisor.varlink)."""


def words(error: RemoteError) -> str:
    """Return the words for an error of the interface."""
    said = _WORDS.get(error.name)
    return f"pgsupervisord answered {error}" if said is None else said(error.parameters)


def _not_permitted(facts: Facts) -> str:
    method = str(facts.get("method")).rpartition(".")[2]
    clusters = facts.get("clusters")
    if not isinstance(clusters, list) or not clusters:
        return f"{facts.get('user')} may not do {method}; ask as root, or as a member of the admin_group"
    listed = ", ".join(map(str, clusters[:_LISTED]))
    more = f" and {len(clusters) - _LISTED} more" if len(clusters) > _LISTED else ""
    said = f"{facts.get('user')} may not do {method} for {listed}{more}, so nothing was done"
    return f"{said}; leave that out, or be named in their `allow`"


def _invalid_parameter(facts: Facts) -> str:
    if facts.get("parameter") == "names":
        return f"too many names, or too long: up to {_GLOBS} of them may be patterns; `all` means every cluster"
    return (
        f"what was given as {facts.get('parameter')} is too much, or nothing that this version of pgsupervisord knows"
    )


def _inventory_invalid(facts: Facts) -> str:
    key = f"{facts['key']}: " if facts.get("key") else ""
    return f"{facts.get('path')}: {key}{facts.get('why')}; nothing was changed"


def _configuration_refused(facts: Facts) -> str:
    line = f":{facts['line']}" if facts.get("line") else ""
    return f"{facts['path']}{line}: {facts.get('why')}" if facts.get("path") else str(facts.get("why"))


_WORDS: Mapping[str, Callable[[Facts], str]] = {
    protocol.NO_SUCH_CLUSTER: lambda facts: (
        f"there is no cluster {facts.get('name')}; `pgsupctl status` shows which there are"
    ),
    protocol.INVALID_PARAMETER: _invalid_parameter,
    protocol.NOT_PERMITTED: _not_permitted,
    protocol.INVENTORY_INVALID: _inventory_invalid,
    protocol.LOG_NOT_READABLE: lambda facts: f"the log {facts.get('path')} cannot be read: {facts.get('why')}",
    protocol.LOG_LOST: lambda facts: (
        f"the log {facts.get('path')} was rotated away faster than it was read; keep more of it (`logfile_backups`)"
    ),
    protocol.LOG_UNTIMED: lambda facts: (
        f"no line of {facts.get('path')} says when it was written; have log_line_prefix begin with %m"
    ),
    protocol.UNKNOWN_SETTING: lambda facts: (
        f"the server knows no setting {facts.get('name')}; `pgsupctl config NAME get` shows what is set"
    ),
    protocol.CONFIGURATION_REFUSED: _configuration_refused,
    protocol.CONFIGURATION_NOT_READABLE: lambda facts: f"where the settings stand cannot be told: {facts.get('why')}",
    protocol.SHUTTING_DOWN: lambda _: "pgsupervisord is about to end, and takes no more orders",
    protocol.UPGRADE_REFUSED: lambda facts: f"not upgraded: {facts.get('why')}; the running version goes on",
    protocol.UPGRADING: lambda _: (
        "pgsupervisord is being upgraded: what was ordered goes on, as `pgsupctl status` shows"
    ),
}
