"""What is told of a cluster and of what happened, and what of that to somebody whose it is not."""

from __future__ import annotations

import json
import pwd
from dataclasses import replace

from control import Door, play, visit_as
from fakes import inventory, spec
from people import as_root

from pgsupervisor.control import records
from pgsupervisor.control.rights import Seen
from pgsupervisor.daemon.reporting import Reporter, logger
from pgsupervisor.supervision.configuration import Change, Mistake, Report
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.life import Exited, Life, Reinitialized, Reloaded, SpawnFailed, State
from pgsupervisor.supervision.plan import Change as Planned
from pgsupervisor.system.rotation import Rotated

QUOTED = "s3cret"

CHANGES = (Change("archive_command", QUOTED, f"cp {QUOTED}"),)

REPORT = Report(
    (f"/etc/{QUOTED}.conf",), CHANGES, CHANGES, (Mistake(f"/{QUOTED}", 1, QUOTED),), ("port",), f"psql: {QUOTED}"
)

NOTHING = Seen(everything=False, yours=frozenset())


def happen() -> Events:
    """Let all happen that is told by the daemon, with a secret wherever there may be one."""
    events = Events()
    log = logger("json", events)
    reporter = Reporter(log)
    exited = Exited(QUOTED, clean=False, hopeless=True, jitter=1.0)
    reporter.changed("a", Life(State.RUNNING, pid=7), exited, Life(State.FATAL, reason=QUOTED))
    reporter.changed("a", Life(), SpawnFailed(QUOTED, hopeless=False, jitter=1.0), Life(State.BACKOFF, reason=QUOTED))
    reporter.changed("a", Life(pid=7), Reinitialized(), Life(pid=7, crashes=1))
    reporter.changed("a", Life(State.RUNNING, pid=7, standby=True), Reinitialized(), Life(State.RUNNING, pid=7))
    reporter.changed("a", Life(), Reloaded(7, REPORT), Life())
    reporter.rotated("a", Rotated("/log/a.log.1", 10, 0))
    reporter.rotated("a", OSError(5, QUOTED))
    reporter.polled(f"/etc/{QUOTED}", QUOTED)
    for planned in (Planned("a", "add"), Planned("a", "change", "restart", ("settings",)), Planned("a", "remove")):
        reporter.counts(planned)
    reporter.ordered("stop", "a", 1000, {"mode": "fast", "timeout": 2.5})
    reporter.ordered("set configuration", "a", 1000, {"settings": ["archive_command"]})
    reporter.refused("Stop", ["a"], 1000)
    reporter.refused("Stop", ["a", "b"], 1000)
    reporter.mistake("a", ValueError(QUOTED))
    reporter.loop_mistake(None, {"message": "never retrieved", "exception": ValueError(QUOTED)})
    log.error("inventory refused", path="/i.toml", key=f"clusters.a.settings.{QUOTED}", reason=QUOTED)
    return events


def test_what_a_stranger_hears_of_what_happened() -> None:
    """Of each event the name and the facts that are numbers or words of ours; nothing that quotes a log or a value."""
    told = [records.event(each, NOTHING) for each in happen().kept]
    assert QUOTED not in json.dumps(told)
    assert [(each["event"], each["cluster"], each["facts"]) for each in told] == [
        ("state changed", "a", {"was": "RUNNING", "now": "FATAL", "on": "Exited"}),
        ("state changed", "a", {"was": "STOPPED", "now": "BACKOFF", "on": "SpawnFailed"}),
        ("crash within", "a", {"crashes": 1, "pid": 7}),
        ("promoted", "a", {"pid": 7}),
        ("reloaded", "a", {"outcome": "unverified", "overruled": ["port"]}),
        ("log rotated", "a", {"archive": "/log/a.log.1", "bytes": 10}),
        ("log not rotated", "a", {}),
        ("directory is polled", None, {}),
        ("cluster added", "a", {}),
        ("cluster changed", "a", {"keys": ["settings"], "effect": "restart"}),
        ("cluster removed", "a", {}),
        ("ordered", "a", {"order": "stop", "uid": 1000, "mode": "fast", "timeout": 2.5}),
        ("ordered", "a", {"order": "set configuration", "uid": 1000, "settings": ["archive_command"]}),
        ("order refused", "a", {"method": "Stop", "uid": 1000}),
        ("order refused", None, {"method": "Stop", "uid": 1000, "clusters": ["a", "b"]}),
        ("mistake in pgsupervisor", None, {"where": "a"}),
        ("mistake in pgsupervisor", None, {"where": "never retrieved"}),
        ("inventory refused", None, {}),
    ]


def test_what_others_hear_of_what_happened() -> None:
    """Who has a cluster hears all that happened to it, but not all of the daemon; who may do everything hears all."""
    events = happen().kept
    assert [records.event(each, Seen(everything=True, yours=frozenset()))["facts"] for each in events] == [
        each.facts for each in events
    ]
    has_it = Seen(everything=False, yours=frozenset({"a"}))
    assert [records.event(each, has_it) for each in events] == [
        records.event(each, NOTHING if each.cluster is None else Seen(everything=True, yours=frozenset()))
        for each in events
    ]


@as_root
def test_what_is_seen_of_a_cluster() -> None:
    """Each sees how all clusters are, why only of his own, and at once of one that an update gives to him."""
    nobody = pwd.getpwnam("nobody")
    shown = {"reason", "report", "polled", "rotation"}
    # Nothing else happens to it while we wait.
    own = spec("a", user="postgres", allow=("nobody",), stable_after=3600.0)
    others = replace(own, name="b", allow=())

    async def scene(door: Door) -> None:
        for name in ("a", "b"):
            await door.until(name, "RUNNING")
            postmaster = door.postmaster(name)
            postmaster.reports = [REPORT]
            postmaster.polled = f"/etc/{QUOTED} is on NFS"
            postmaster.log.trouble = f"not rotated: {QUOTED}"
        root = await door.visit()
        await root.call("Reload", {"names": ["all"]})
        door.events.record(1000.0, "info", "reloaded", "b", {"reason": QUOTED, "outcome": "rejected"})
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        whole = {each["name"]: each for each in (await root.call("GetStatus", {"names": []}))["parameters"]["clusters"]}
        assert [whole[name]["yours"] for name in ("a", "b")] == [True, True]
        assert all(QUOTED in json.dumps(whole["b"][key]) for key in shown)
        hidden = {"yours": False, "reason": records.HIDDEN, "report": None, "polled": None, "rotation": None}
        told = (await one.call("GetStatus", {"names": []}))["parameters"]["clusters"]
        assert told == [whole["a"] | at(told[0]), whole["b"] | hidden | at(told[1])]
        one.ask("Monitor", {"names": ["b"], "past": 1}, more=True)
        first = (await one.hear())["parameters"]
        assert first["clusters"] == [whole["b"] | hidden | at(first["clusters"][0])]
        assert [each["facts"] for each in first["events"]] == [{"outcome": "rejected"}]
        given = inventory(own, replace(others, allow=("@nobody", "nobody")))
        await door.supervisor.update(given, lambda *_: None, lambda *_: None)
        (now,) = (await one.hear())["parameters"]["clusters"]
        assert now == whole["b"] | at(now)

    play(scene, own, others)


@as_root
def test_a_cluster_that_is_well() -> None:
    """Where there is no reason, nobody is told that there is one; how often a server crashed is no secret."""
    nobody = pwd.getpwnam("nobody")

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        (told,) = (await one.call("GetStatus", {"names": ["a"]}))["parameters"]["clusters"]
        assert (told["yours"], told["reason"], told["report"]) == (False, "", None)

    play(scene, spec("a", user="postgres"))


def at(told: dict[str, object]) -> dict[str, object]:
    """Return since when a cluster is as it is told, which depends on the moment that it is told in."""
    return {"since": told["since"]}
