"""Three clusters over every PostgreSQL found, kept by one daemon, driven by pgsupctl and by another Varlink client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest
from daemons import LIMIT, Site, installation_number, new_site
from machine import NewDataDirectory
from servers import sql


@pytest.fixture(scope="module")
def shops(new_data_directory: NewDataDirectory) -> Iterator[Site]:
    """Three clusters, of one installation after the other."""
    with new_site(new_data_directory) as site:
        site.daemon_keys["admin_group"] = ""
        for number, name in enumerate(("blog", "shop-1", "shop-2")):
            site.add(name, installation_number(number))
        site.run()
        yield site


@pytest.fixture(autouse=True)
def _all_run(shops: Site) -> None:
    """Begin each test with three servers that run."""
    shops.order("Start", "all")


def pids(site: Site) -> dict[str, int]:
    """Return the pid of every cluster, by the word of its postmaster.pid."""
    found = {name: site.cluster(name).pid() for name in site.clusters}
    return {name: pid for name, pid in found.items() if pid is not None}


def varlink(*arguments: str) -> str:
    """Run the Varlink client that is not ours, and return what it prints."""
    finished = subprocess.run(
        [sys.executable, "-m", "varlink.cli", *arguments], capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_status_tells_what_the_servers_say(shops: Site) -> None:
    """Status shows the pid that is in postmaster.pid, the port that it listens on, and the version that it answers."""
    finished = shops.pgsupctl("--json", "status")
    shown = {each["name"]: each for each in json.loads(finished.stdout)["clusters"]}
    told = {
        name: (each["state"], each["pid"], each["port"], each["version"], each["restarts"], each["reason"])
        for name, each in shown.items()
    }
    asked = {}
    for name in shops.clusters:
        cluster = shops.cluster(name)
        version = sql(cluster, "show server_version").split()[0]
        asked[name] = ("RUNNING", cluster.pid(), int(sql(cluster, "show port")), version, 0, "")
    assert (finished.returncode, told) == (0, asked)


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["blog"], {"blog"}),
        (["shop-*"], {"shop-1", "shop-2"}),
        (["all"], {"blog", "shop-1", "shop-2"}),
        (["blog", "b*", "*-2"], {"blog", "shop-2"}),
    ],
    ids=lambda names: " ".join(sorted(names)),
)
@pytest.mark.parametrize("command", ["stop", "kill"])
def test_down_and_up_again(shops: Site, command: str, names: list[str], meant: set[str]) -> None:
    """Stop and kill take down what the names mean and nothing else, status says so, and start brings it back."""
    before = pids(shops)
    down = shops.pgsupctl(command, *names)
    after = pids(shops)
    status = shops.pgsupctl("status")
    up = shops.pgsupctl("start", *names)
    assert (down.returncode, down.stderr) == (0, "")
    assert after == {name: pid for name, pid in before.items() if name not in meant}
    assert status.returncode == 3, "something is not running"
    assert (up.returncode, up.stderr) == (0, "")
    again = pids(shops)
    assert {name for name in before if again[name] != before[name]} == meant
    assert [shops.status(name)["restarts"] for name in meant] == [0] * len(meant), "an order is no restart"


def test_stop_is_clean_and_kill_is_not(shops: Site) -> None:
    """A stopped server has shut down; a killed one begins with crash recovery, and pgsupctl says so."""
    (shops.logfile("blog")).write_text("")
    shops.pgsupctl("restart", "blog")
    assert "not properly shut down" not in shops.logfile("blog").read_text()
    killed = shops.pgsupctl("kill", "blog")
    shops.pgsupctl("start", "blog")
    assert "Crash recovery follows" in killed.stdout
    assert "not properly shut down" in shops.logfile("blog").read_text()


def test_restart_by_glob(shops: Site) -> None:
    """A restart gives new servers to those that are named, and waits until they are ready."""
    before = pids(shops)
    finished = shops.pgsupctl("restart", "shop-*")
    answers = [sql(shops.cluster(name), "select 1") for name in shops.clusters]
    after = pids(shops)
    assert (finished.returncode, answers) == (0, ["1", "1", "1"])
    assert {name for name in before if before[name] != after[name]} == {"shop-1", "shop-2"}


def test_reload(shops: Site) -> None:
    """A reload makes the server read its configuration, and leaves its process alone."""
    before = pids(shops)
    sql(shops.cluster("blog"), "alter system set work_mem = '7MB'")
    finished = shops.pgsupctl("reload", "all")
    shops.wait_for_line("blog", '"work_mem" changed to "7MB"')
    assert (finished.returncode, pids(shops)) == (0, before)


def test_reload_of_what_does_not_run_fails(shops: Site) -> None:
    """A reload of a stopped cluster says that there was nothing to reload, and ends with 1."""
    shops.order("Stop", "blog")
    finished = shops.pgsupctl("reload", "blog")
    assert finished.returncode == 1
    assert "nothing to reload" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["status", "nobody"], 1, "there is no cluster nobody"),
        (["stop", "nobody-*"], 1, "there is no cluster nobody-*"),
        (["frobnicate"], 2, "there is no command"),
        (["start"], 2, "name the clusters"),
        (["stop", "blog", "--mode", "hard"], 2, "invalid choice"),
        (["-s", "/tmp/no-such-socket", "status"], 4, "cannot reach pgsupervisord"),
    ],
)
def test_exit_status_of_what_cannot_be_done(shops: Site, arguments: list[str], status: int, says: str) -> None:
    """Refused is 1, wrong usage is 2, and no daemon is 4; each says why."""
    finished = shops.pgsupctl(*arguments)
    assert (finished.returncode, says in finished.stderr) == (status, True), finished.stderr


def test_logs_and_daemon_info(shops: Site) -> None:
    """Logs are what the server wrote, and the daemon tells of itself."""
    logs = shops.pgsupctl("logs", "blog", "-n", "2")
    info = json.loads(shops.pgsupctl("--json", "daemon", "info").stdout)
    assert logs.stdout == "".join(shops.logfile("blog").read_text().splitlines(keepends=True)[-2:])
    expected = {"pid": shops.daemons[0].pid, "inventory": str(shops.inventory), "clusters": 3}
    assert expected.items() <= info.items()


def test_another_varlink_client_restarts(shops: Site) -> None:
    """The client of the Varlink project, which knows nothing of us, restarts a cluster."""
    before = pids(shops)
    answer = json.loads(varlink("call", f"unix:{shops.socket}/io.pgsupervisor.Restart", '{"names": ["shop-1"]}'))
    after = pids(shops)
    assert answer["outcomes"] == [{"name": "shop-1", "ok": True, "state": "RUNNING", "message": ""}]
    assert {name for name in before if before[name] != after[name]} == {"shop-1"}


def test_another_varlink_client_streams(shops: Site) -> None:
    """Asked for more, the daemon streams the states on the way and ends with the outcomes."""
    printed = varlink("call", "-m", f"unix:{shops.socket}/io.pgsupervisor.Restart", '{"names": ["blog"]}')
    replies = _documents(printed)
    states = [cast("dict[str, str]", each["progress"])["state"] for each in replies[:-1]]
    assert (states[0], states[-1]) == ("STOPPING", "RUNNING")
    assert replies[-1]["outcomes"] == [{"name": "blog", "ok": True, "state": "RUNNING", "message": ""}]


def test_another_varlink_client_reads_the_interface(shops: Site) -> None:
    """A stranger can ask what there is, and reads our interface file as we ship it."""
    info = varlink("info", f"unix:{shops.socket}")
    shown = varlink("help", f"unix:{shops.socket}/io.pgsupervisor")
    assert ["io.pgsupervisor" in info, "org.varlink.service" in info] == [True, True]
    assert "method Restart(" in shown


def _documents(text: str) -> list[dict[str, object]]:
    """Read one JSON document after another."""
    found = []
    while text := text.lstrip():
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:]
    return found
