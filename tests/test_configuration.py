"""What is said of a reload: one verdict, and the words for those who read it."""

from __future__ import annotations

import pytest

from pgsupervisor.supervision.configuration import Change, Mistake, Report

CONF, HBA = "/etc/postgresql/shop/postgresql.conf", "/srv/shop/pg_hba.conf"
WORK_MEM = Change("work_mem", "4MB", "8MB")
PATH = Change("search_path", "", "shop")
BUFFERS = Change("shared_buffers", "128MB", "1GB")
CONNECTIONS = Change("max_connections", "100", "50")
TRSUT = Mistake(HBA, 12, 'invalid authentication method "trsut"')
BAD = Mistake(CONF, 7, 'invalid value for parameter "work_mem": "4XB"', "work_mem")
MISSING = Mistake(HBA, 0, "could not open file: No such file or directory")

APPLIED = "applied: work_mem 4MB → 8MB, search_path '' → shop"
WAITS = "pending restart: shared_buffers 128MB → 1GB, max_connections 100 → 50"
ARE_WRONG = (
    'pg_hba.conf:12 invalid authentication method "trsut"; '
    'postgresql.conf:7 invalid value for parameter "work_mem": "4XB"'
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (WORK_MEM, "work_mem 4MB → 8MB"),
        (PATH, "search_path '' → shop"),
        (Change("log_line_prefix", "%m [%p] ", ""), "log_line_prefix %m [%p]  → ''"),
    ],
)
def test_a_change_in_words(change: Change, text: str) -> None:
    """Both values can be read, also one that is empty."""
    assert change.text == text


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (TRSUT, 'pg_hba.conf:12 invalid authentication method "trsut"'),
        (MISSING, "pg_hba.conf could not open file: No such file or directory"),
        (Mistake("users.list", 1, "empty"), "users.list:1 empty"),
        (Mistake("", 0, "the key cannot be loaded for TLS"), "the key cannot be loaded for TLS"),
    ],
)
def test_a_mistake_in_words(mistake: Mistake, text: str) -> None:
    """File and line are where an editor can be sent to; a file as a whole has no line."""
    assert mistake.text == text


@pytest.mark.parametrize(
    ("report", "verdict", "standing", "text"),
    [
        (Report(), "applied", "", "nothing has changed"),
        (Report((CONF, HBA)), "applied", "", "applied: postgresql.conf, pg_hba.conf"),
        (Report((CONF,), changes=(WORK_MEM, PATH)), "applied", "", APPLIED),
        (Report((CONF,), pending=(BUFFERS, CONNECTIONS)), "pending restart", WAITS, WAITS),
        (
            Report((CONF,), changes=(WORK_MEM, PATH), pending=(BUFFERS, CONNECTIONS)),
            "pending restart",
            WAITS,
            f"{APPLIED}; {WAITS}",
        ),
        (
            Report((CONF, HBA), mistakes=(TRSUT, BAD)),
            "rejected",
            ARE_WRONG,
            f"rejected: {ARE_WRONG}; what was in force before stays in force",
        ),
        (
            Report((CONF,), changes=(WORK_MEM, PATH), pending=(BUFFERS, CONNECTIONS), mistakes=(TRSUT, BAD)),
            "rejected",
            f"{ARE_WRONG}; {WAITS}",
            f"rejected: {ARE_WRONG}; what was in force before stays in force; {APPLIED}; {WAITS}",
        ),
        (
            Report((CONF,), changes=(WORK_MEM, PATH), overruled=("port", "ssl")),
            "applied",
            "",
            f"{APPLIED}; no effect, as the inventory sets it: port, ssl",
        ),
        (
            Report((CONF,), unverified="psql is not installed"),
            "unverified",
            "reload unverified: psql is not installed",
            "unverified: the server was told to reload, but psql is not installed",
        ),
    ],
)
def test_a_report_in_words(report: Report, verdict: str, standing: str, text: str) -> None:
    """The verdict is the worst that came of it; what stands is still to be seen to; the text is all of it."""
    assert (report.verdict, report.standing, report.text) == (verdict, standing, text)


def test_a_report_that_follows_another() -> None:
    """Who waited for two reloads hears of the changes of both, and of the mistakes that the last of them left."""
    first = Report(
        ("/srv/a.conf",), (Change("a", "1", "2"), Change("b", "1", "2"), Change("c", "1", "2")), overruled=("port",)
    )
    then = Report(("/srv/b.conf",), (Change("b", "2", "1"), Change("c", "2", "3")), pending=(Change("d", "1", "2"),))
    assert then.following(None) == then
    assert then.following(first) == Report(
        ("/srv/a.conf", "/srv/b.conf"),
        (Change("a", "1", "2"), Change("c", "1", "3")),
        (Change("d", "1", "2"),),
        overruled=("port",),
    )
