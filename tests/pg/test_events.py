"""`pgsupctl events` of a real daemon: orders and who gave them, what came of them, and all of it over an upgrade."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from unittest.mock import ANY

import pytest
from daemons import LIMIT, ROOT, Record, Site
from servers import append

ME = pwd.getpwuid(os.geteuid()).pw_name


class Following:
    """A `pgsupctl events -f --json` that runs; what it prints is kept."""

    def __init__(self, site: Site, *arguments: str) -> None:
        command = "import sys; from pgsupervisor.cli.main import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "-s", site.socket, "events", "-f", "--json", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[Record] = []
        self._limit = threading.Timer(LIMIT, self.process.kill)
        self._limit.start()

    def until(self, fits: Callable[[Record], bool]) -> None:
        """Read on until an event fits."""
        assert self.process.stdout is not None
        while not (self.seen and fits(self.seen[-1])):
            line = self.process.stdout.readline()
            assert line, f"it ended, and the last that it said was {self.seen[-1:]}"
            self.seen.append(json.loads(line))

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Wait for the end, and return the exit status and what was said of it."""
        if number is not None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=LIMIT)
        self._limit.cancel()
        self.seen += map(json.loads, output.splitlines())
        return self.process.returncode, errors

    @property
    def numbers(self) -> list[object]:
        """The numbers of all events that were seen."""
        return [each["sequence"] for each in self.seen]


@pytest.fixture
def follow(site: Site) -> Iterator[Callable[..., Following]]:
    """Follow events, and end that with the test."""
    begun: list[Following] = []

    def begin(*arguments: str) -> Following:
        begun.append(Following(site, *arguments))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.end()


def anything(_event: Record) -> bool:
    """Fit any event: then it is known that what happens from now on is followed."""
    return True


def events(site: Site, *arguments: str) -> list[Record]:
    """Return what `pgsupctl events` tells."""
    return [json.loads(line) for line in site.pgsupctl("events", "--json", *arguments).stdout.splitlines()]


def in_short(seen: list[Record]) -> list[tuple[object, ...]]:
    """Return events by what matters of them."""
    return [(each["event"], each["cluster"], each.get("order") or each.get("now")) for each in seen]


def test_orders_and_what_comes_of_them(site: Site, follow: Callable[..., Following]) -> None:
    """Each order is told with who gave it, before what comes of it; who follows one cluster hears of that one."""
    site.add("shop")
    site.add("blog")
    site.run()
    following = follow("shop", "-n", "1")
    following.until(anything)
    site.pgsupctl("stop", "all", "--mode", "fast", "--timeout", "20s")
    following.until(lambda each: each.get("now") == "STOPPED")
    site.pgsupctl("start", "shop")
    following.until(lambda each: each.get("now") == "RUNNING")
    assert following.end(signal.SIGINT) == (130, "")
    assert in_short(following.seen[1:]) == [
        ("ordered", "shop", "stop"),
        ("state changed", "shop", "STOPPING"),
        ("state changed", "shop", "STOPPED"),
        ("ordered", "shop", "start"),
        ("state changed", "shop", "STARTING"),
        ("state changed", "shop", "RUNNING"),
    ]
    stop = following.seen[1]
    assert (stop["uid"], stop["mode"], stop["timeout"], stop["level"]) == (os.geteuid(), "fast", 20.0, "info")
    assert f"stop ordered by {ME}  mode fast; timeout 20" in site.pgsupctl("events", "shop").stdout
    ordered = [each for each in events(site, "blog", "-n", "1000") if each["event"] == "ordered"]
    assert [each["order"] for each in ordered] == ["start", "stop"]


def test_files_and_settings(site: Site, follow: Callable[..., Following]) -> None:
    """A file that is saved, and a setting that is changed by order, are told; the order has no value of its setting."""
    data = site.add("shop", reload_delay="50ms")
    daemon = site.run()
    following = follow("-n", "1000")
    append(data / "postgresql.conf", "work_mem = 5MB\n")
    following.until(lambda each: each.get("changes") == ["work_mem 4MB → 5MB"])
    site.pgsupctl("config", "shop", "set", "work_mem=6MB")
    following.until(lambda each: each.get("changes") == ["work_mem 5MB → 6MB"])
    (ordered,) = (each for each in following.seen if each.get("order") == "set configuration")
    told = {key: fact for key, fact in ordered.items() if key not in {"sequence", "time"}}
    assert told == {
        "level": "info",
        "event": "ordered",
        "cluster": "shop",
        "order": "set configuration",
        "uid": os.geteuid(),
        "settings": ["work_mem"],
    }
    assert daemon.end() == 0
    assert following.end() == (4, ANY)


def test_the_log_and_the_events_are_the_same(site: Site) -> None:
    """Whatever the daemon has logged is an event with the same facts, and nothing else is one."""
    site.add("shop")
    daemon = site.run()
    site.order("Stop", "shop")
    told = events(site, "-n", "1000")
    logged = [{"cluster": None, **each} for each in daemon.logged()]
    assert [without(each, "sequence", "time") for each in told] == [without(each, "timestamp") for each in logged]


def test_an_update(site: Site, follow: Callable[..., Following]) -> None:
    """What an update does to a cluster is told of that one; who follows a removed one hears of its return."""
    site.add("shop")
    site.add("blog")
    site.run()
    following = follow("shop", "-n", "1")
    following.until(anything)
    shop = site.clusters.pop("shop")
    site.write()
    site.pgsupctl("update")
    following.until(lambda each: each["event"] == "cluster removed")
    assert events(site, "shop", "-n", "1") == following.seen[-1:]
    site.clusters["shop"] = shop
    site.write()
    site.pgsupctl("update")
    following.until(lambda each: each.get("now") == "RUNNING")
    assert in_short(following.seen[1:]) == [
        ("state changed", "shop", "STOPPING"),
        ("state changed", "shop", "STOPPED"),
        ("cluster removed", "shop", None),
        ("cluster added", "shop", None),
        ("state changed", "shop", "STARTING"),
        ("state changed", "shop", "RUNNING"),
    ]


def test_upgrades(site: Site, follow: Callable[..., Following]) -> None:
    """Who follows through upgrades sees each event once, and one who comes late sees the same ones."""
    site.add("shop")
    site.run()
    following, another = follow("-n", "1000"), follow("-n", "1")
    following.until(anything)
    another.until(anything)
    for _ in range(3):
        assert site.pgsupctl("daemon", "upgrade").returncode == 0
        site.order("Reload", "shop")
    site.order("Stop", "shop")
    for each in (following, another):
        each.until(lambda event: event.get("now") == "STOPPED")
        assert each.end(signal.SIGINT) == (130, "")
    assert events(site, "-n", "1000") == following.seen
    assert following.numbers == list(range(1, len(following.seen) + 1))
    assert another.seen == following.seen[-len(another.seen) :]
    upgrades = [each["event"] for each in following.seen if each["cluster"] is None]
    assert upgrades == ["daemon started", *["ordered", "daemon upgrading", "daemon upgraded"] * 3]


def without(record: Record, *keys: str) -> Record:
    """Return a record without some of its keys."""
    return {key: fact for key, fact in record.items() if key not in keys}
