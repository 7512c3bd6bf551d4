"""A log that a logging collector writes, followed from one of its files to the next."""

from __future__ import annotations

from daemons import Site
from servers import sql

from pgsupervisor.postgres import Installation

COLLECTED = {"logging_collector": "on", "log_filename": "%H%M%S.log", "log_error_verbosity": "terse"}
"""Settings with which each second may have a file of its own."""


def test_the_next_file(site: Site, installation: Installation) -> None:
    """What is written later into the file that the collector has begun meanwhile is told as well, without delay."""
    site.add("shop", installation, settings=COLLECTED)
    site.run()
    cluster = site.cluster("shop")
    with site.client() as client:
        told = client.stream("GetLog", names=["shop"], lines=0, follow=True)
        next(told)
        for number in range(2):
            # The time in its name must be another one.
            sql(cluster, "select pg_sleep(1.1), pg_rotate_logfile()")
            for text in (f"first {number}", f"second {number}"):
                sql(cluster, f"do $$ begin raise log '{text}'; end $$")
                assert any(text in str(reply["text"]) for reply in told)
