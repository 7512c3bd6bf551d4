"""What a server said last: the line of its log that tells an administrator why it ended."""

from __future__ import annotations

import pytest

from pgsupervisor.daemon.last_words import last_words

NOT_LOADED = {
    # PostgreSQL 15
    """\
2026-01-01 00:00:00.000 UTC [7] LOG:  listening on Unix socket "/x/.s.PGSQL.5432"
2026-01-01 00:00:00.000 UTC [7] LOG:  hostssl record cannot match because SSL is disabled
2026-01-01 00:00:00.000 UTC [7] HINT:  Set ssl = on in postgresql.conf.
2026-01-01 00:00:00.000 UTC [7] CONTEXT:  line 9 of configuration file "/x/pg_hba.conf"
2026-01-01 00:00:00.000 UTC [7] LOG:  invalid authentication method "trsut"
2026-01-01 00:00:00.000 UTC [7] CONTEXT:  line 12 of configuration file "/x/pg_hba.conf"
2026-01-01 00:00:00.000 UTC [7] LOG:  end-of-line before authentication method
2026-01-01 00:00:00.000 UTC [7] CONTEXT:  line 13 of configuration file "/x/pg_hba.conf"
2026-01-01 00:00:00.000 UTC [7] FATAL:  could not load pg_hba.conf
2026-01-01 00:00:00.000 UTC [7] LOG:  database system is shut down
""": '/x/pg_hba.conf:12: invalid authentication method "trsut"',
    # PostgreSQL 18, with another file and no prefix
    """\
LOG:  invalid authentication method "trsut"
CONTEXT:  line 1 of configuration file "/etc/who may.conf"
FATAL:  could not load /etc/who may.conf
LOG:  database system is shut down
""": '/etc/who may.conf:1: invalid authentication method "trsut"',
    """\
LOG:  could not open file "/x/pg_hba.conf": No such file or directory
FATAL:  could not load /x/pg_hba.conf
""": 'could not open file "/x/pg_hba.conf": No such file or directory',
    """\
LOG:  configuration file "/x/pg_hba.conf" contains no entries
FATAL:  could not load pg_hba.conf
LOG:  database system is shut down
""": 'configuration file "/x/pg_hba.conf" contains no entries',
    # in words that are not understood
    """\
LOG:  ungültige Authentifizierungsmethode »trsut«
CONTEXT:  Zeile 1 in Konfigurationsdatei »/x/pg_hba.conf«
FATAL:  konnte /x/pg_hba.conf nicht laden
""": "FATAL:  konnte /x/pg_hba.conf nicht laden",
}
"""Logs of servers that did not take their pg_hba.conf."""


@pytest.mark.parametrize(("log", "words"), NOT_LOADED.items())
def test_a_mistake_in_pg_hba_conf(log: str, words: str) -> None:
    """The mistake is told with its file and line, and not just that the file could not be loaded."""
    assert last_words(log) == words


def test_a_certificate() -> None:
    """What else could not be loaded is told as it stands, whatever was said of pg_hba.conf before."""
    log = 'LOG:  could not open file "/x"\nFATAL:  could not load server certificate file "server.crt": No such file\n'
    assert last_words(log) == 'FATAL:  could not load server certificate file "server.crt": No such file'


def test_the_last_severe_message() -> None:
    """The last message that a server can end with counts, behind any prefix and before any remark."""
    log = "12:00 [7] FATAL:  first\n12:00 [7] app=PANIC:  second\n12:00 [7] HINT:  Do this.\n12:00 [7] LOG:  down\n"
    assert last_words(log) == "PANIC:  second"


def test_no_message() -> None:
    """A program that could not even log has its last words too; one that said nothing has none."""
    assert last_words("postgres: error while loading libssl.so.3\n\nLOG:  x\n") == (
        "postgres: error while loading libssl.so.3"
    )
    assert last_words("\n") == ""
