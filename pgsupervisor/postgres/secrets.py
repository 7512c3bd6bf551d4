"""Passwords in settings: which setting may hold one, and what of them has no business on a command line. Pure.

PostgreSQL shows some settings to superusers only, as they may hold a password (GUC_SUPERUSER_ONLY in guc_tables.c),
and others hold what somebody has put there: a connection string, a URL with a user's name and password, the token of
an extension. A file keeps that between the server and its owner. A command line is everybody's to read (ps).
"""

from __future__ import annotations

import re

_CONFIDENTIAL = frozenset({"primary_conninfo", "ssl_passphrase_command"})
"""Settings that may hold a password in a way that nobody can tell."""

_NAMED_SO = re.compile(r"(?:\A|[._])(?:password|passphrase|secret|token)\Z", re.IGNORECASE)
"""The ends of names that say it, as of the settings of extensions."""

_PASSWORD = re.compile(
    r"(?:password|passphrase|secret|scram_client_key|scram_server_key)\s*=|://[^\s/@:]*:[^\s/@]+@", re.IGNORECASE
)
"""A password in a connection string, in an assignment of the shell's, or in a URL (libpq, "Connection Strings")."""


def may_be_secret(name: str, *values: str) -> bool:
    """Tell whether a setting, or one of its values, may hold a password."""
    return name.lower() in _CONFIDENTIAL or _holds_password(name, *values)


def objection(name: str, value: str) -> str:
    """Say why a setting must not be on a server's command line, and what to do instead; empty if it may be.

    A `primary_conninfo` without a password may.
    """
    if name.lower() == "ssl_passphrase_command" or _holds_password(name, value):
        return (
            "may hold a password, and would be on the server's command line, which everybody can read; "
            "write it into postgresql.conf instead, or have libpq read a passfile"
        )
    return ""


def _holds_password(name: str, *values: str) -> bool:
    return _NAMED_SO.search(name) is not None or any(_PASSWORD.search(each) for each in values)
