"""What must hold when it is over."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil
from chaos.witness import Seen, look
from daemons import Daemon, Site, ends
from servers import sql

from pgsupervisor.system.process import hold

_ONE_SHOT = " mask:80000002 "
"""What a watch has that tells of a write, once (IN_ONESHOT, proc_pid_fdinfo(5))."""


def lost(site: Site, acknowledged: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """Return, by cluster, the rows whose commit was acknowledged and which are not there."""
    missing = {
        name: numbers - set(map(int, sql(site.cluster(name), "select number from committed").split()))
        for name, numbers in acknowledged.items()
    }
    return {name: numbers for name, numbers in missing.items() if numbers}


def strays(site: Site) -> list[Seen]:
    """Return the processes that belong to no server, and do not end; what was killed may need a moment to be gone."""
    directories = {os.path.realpath(str(keys["data_directory"])): name for name, keys in site.clusters.items()}
    servers = {name: site.status(name)["pid"] for name in site.clusters}
    found = [each for each in look(directories) if servers[directories[each.directory]] not in {each.pid, each.parent}]
    return [each for each in found if not _is_gone(each.pid)]


def _is_gone(pid: int) -> bool:
    process = hold(pid)
    if process is None:
        return True
    with process:
        return ends(process)


def holdings(pid: int) -> Counter[str]:
    """Count what a process holds: descriptors by what they are of, inotify watches, threads, zombies.

    That a log is written to is asked for once, when it has been quiet for a while: such a watch may be there or not.
    """
    held: Counter[str] = Counter()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            what = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            about = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="utf-8")
        except FileNotFoundError:
            continue  # closed meanwhile
        held[re.sub(r"\d+", "N", what)] += 1
        watches = [line for line in about.splitlines() if line.startswith("inotify wd:")]
        held["inotify watches"] += len([line for line in watches if _ONE_SHOT not in line])
    held["threads"] = len(os.listdir(f"/proc/{pid}/task"))
    children = psutil.Process(pid).children()
    held["zombies"] = [child.status() for child in children].count(psutil.STATUS_ZOMBIE)
    return held


def complaints(daemons: Iterable[Daemon]) -> list[str]:
    """Return what the logs say that they never should: a traceback, a mistake of ours, a line that is no record."""
    # One that was killed may have been writing its last line.
    lines = [line for daemon in daemons for line in daemon.lines if line.endswith("\n")]
    return [line for line in lines if not line.startswith("{") or _tells_of_a_mistake(json.loads(line))]


def _tells_of_a_mistake(record: Mapping[str, object]) -> bool:
    return "exception" in record or record["event"] == "mistake in pgsupervisor"
