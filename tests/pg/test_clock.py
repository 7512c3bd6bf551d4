"""The wall clock jumps: servers are known again all the same."""

from __future__ import annotations

import signal

from daemons import Site

from pgsupervisor.postgres import Installation


def test_a_server_is_adopted_across_a_jump(site: Site, installation: Installation) -> None:
    """A server that seems to have been started at another time than it says is the same server still."""
    data = site.add("shop", installation)
    site.run().end(signal.SIGKILL)
    lines = (data / "postmaster.pid").read_text().splitlines(keepends=True)
    lines[2] = f"{int(lines[2]) - 100_000}\n"
    # In place, as the server writes it.
    with (data / "postmaster.pid").open("r+") as file:
        file.write("".join(lines))
    daemon = site.run()
    assert (site.pid("shop"), site.status("shop")["restarts"]) == (int(lines[0]), 0)
    assert daemon.logged(cluster="shop", now="STOPPED") == []
