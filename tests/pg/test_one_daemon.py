"""One daemon for one socket, and nothing of it is left over."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

from daemons import Site
from people import as_root

from pgsupervisor.system.identity import user


def test_a_second_daemon_is_refused(site: Site) -> None:
    """A second daemon ends with the first one's pid in its message, and touches no server."""
    site.add("shop")
    first = site.run()
    pid = site.pid("shop")
    status, said = site.launch().wait()
    advice = f"ask it with `pgsupctl -s {site.socket} status`"
    already = f"pgsupervisord already runs at {site.socket}, with pid {first.pid}"
    assert (status, said) == (1, f"pgsupervisord: {already}; {advice}\n")
    assert (site.states(), site.pid("shop")) == ({"shop": "RUNNING"}, pid)


def test_a_stale_socket_is_replaced(site: Site) -> None:
    """The socket of a daemon that was killed is in nobody's way."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(site.socket)
    site.start().end(signal.SIGKILL)
    assert stat.S_ISSOCK(os.stat(site.socket).st_mode)
    site.start()
    assert site.states() == {}


def test_a_file_at_the_place_of_the_socket_stays(site: Site) -> None:
    """What is no socket is not removed: the daemon says so and ends."""
    Path(site.socket).write_text("precious")
    status, said = site.launch().wait()
    there = f"a file of {user(os.geteuid()).name}'s"
    advice = "move that away, or name another `socket` in the inventory"
    assert (status, Path(site.socket).read_text(), said) == (
        1,
        "precious",
        f"pgsupervisord: {site.socket} is not the control socket, but {there}; {advice}\n",
    )


def test_a_directory_that_others_may_write(site: Site) -> None:
    """Where others could put a socket of theirs there is no daemon: it says what to do, and ends."""
    free = site.door / "free"
    free.mkdir()
    free.chmod(0o777)
    site.daemon_keys["socket"] = f"{free}/control"
    status, said = site.launch().wait()
    where = f"others could put a socket of theirs at {free}/control, since others may write in {free}"
    advice = f"do `chmod go-w {free}`, or name another `socket` in the inventory"
    assert (status, said) == (1, f"pgsupervisord: {where} (its mode is 0777); {advice}\n")
    assert os.listdir(free) == []


@as_root
def test_an_inventory_that_others_may_write(site: Site) -> None:
    """Whoever could change root's inventory could have root do what he likes: there is no daemon, and no update."""
    site.add("shop")
    daemon = site.run()
    site.inventory.chmod(0o666)
    weak = f"others may write in {site.inventory} (its mode is 0666); do `chmod go-w {site.inventory}`"
    why = f"others could have root do what they like, since {weak}, or have it where only root may write"
    asked = site.pgsupctl("update")
    assert (asked.returncode, f"{site.inventory}: {why}" in asked.stderr) == (1, True)
    assert site.states() == {"shop": "RUNNING"}
    daemon.end()
    status, said = site.launch().wait()
    assert (status, said.startswith(f"pgsupervisord: {site.inventory}: {why}")) == (1, True)


def test_the_socket_of_another_program_stays(site: Site) -> None:
    """Another program that listens at that place is left alone."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(site.socket)
        other.listen()
        status, said = site.launch().wait()
        assert (status, f"with pid {os.getpid()}" in said) == (1, True)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(site.socket)


def test_the_socket_goes_with_the_daemon(site: Site) -> None:
    """The socket has the mode that was asked for, and is removed in the end."""
    site.daemon_keys["socket_mode"] = "0600"
    daemon = site.start()
    mode = stat.S_IMODE(os.stat(site.socket).st_mode)
    assert (mode, daemon.end(), os.path.exists(site.socket)) == (0o600, 0, False)


def test_an_inventory_that_is_not_there(site: Site) -> None:
    """A daemon without an inventory ends with one line that names the file."""
    site.clusters = {"shop": {"installation": "none", "data_directory": "/x"}}
    status, said = site.launch().wait()
    assert (status, said.count("\n"), said.startswith(f"pgsupervisord: {site.inventory}: ")) == (1, 1, True), said


def test_a_log_directory_that_cannot_be_made(site: Site) -> None:
    """A log directory that cannot be made is told in one line too, and the socket is gone again."""
    (site.directory / "file").write_text("")
    site.daemon_keys["log_directory"] = str(site.directory / "file" / "log")
    status, said = site.launch().wait()
    assert (status, said.count("\n"), "log_directory" in said, os.path.exists(site.socket)) == (1, 1, True, False), said
