"""A new inventory is a plan: what changed is changed, what did not is not touched."""

from __future__ import annotations

import signal
import threading

import pytest
from daemons import Site
from servers import client, sql


def test_sighup_applies_what_changed(site: Site) -> None:
    """On SIGHUP one cluster is added, one removed, one restarted with its new setting; the fourth keeps its pid."""
    for name in ("same", "gone", "changed"):
        site.add(name)
    daemon = site.run()
    before = {name: site.pid(name) for name in site.clusters}
    gone = site.cluster("gone")
    del site.clusters["gone"]
    site.add("new", port=6100)
    site.clusters["changed"]["settings"] = {"work_mem": "9MB"}
    site.write()
    daemon.process.send_signal(signal.SIGHUP)
    applied = daemon.wait_for_log(event="inventory applied")
    assert applied["changes"] == ["remove gone", "change changed", "add new"]
    assert site.states() == {"same": "RUNNING", "changed": "RUNNING", "new": "RUNNING"}
    assert (site.pid("same"), site.pid("changed") == before["changed"]) == (before["same"], False)
    assert sql(site.cluster("changed"), "show work_mem") == "9MB"
    assert gone.running() is False


def test_a_change_that_no_server_notices(site: Site) -> None:
    """What only the supervisor reads is applied without a restart: a crash meets the new policy."""
    site.add("shop")
    daemon = site.run()
    pid = site.pid("shop")
    site.clusters["shop"]["restart"] = "never"
    site.write()
    finished = site.pgsupctl("update")
    assert (finished.returncode, finished.stdout, site.pid("shop")) == (0, "change  shop  restart\n", pid)
    site.cluster("shop").kill()
    assert site.wait_for_state("shop", "FATAL")["reason"] == "killed by SIGKILL (restart = never)"
    assert len(daemon.logged(event="inventory applied")) == 1


def test_dry_run(site: Site) -> None:
    """`update --dry-run` says what would happen, and nothing happens."""
    for name in ("shop", "blog"):
        site.add(name)
    site.run()
    before = [site.pid(name) for name in ("shop", "blog")]
    site.clusters["shop"]["port"] = 6200
    site.clusters["shop"]["priority"] = 5
    site.clusters["third"] = {**site.clusters["blog"], "data_directory": str(site.directory / "third"), "port": 6300}
    site.write()
    finished = site.pgsupctl("update", "--dry-run")
    assert finished.stdout.splitlines() == [
        "change  shop  port, priority  (restart)",
        "add     third",
        "Nothing was done yet.",
    ]
    assert ([site.pid(name) for name in ("shop", "blog")], len(site.states())) == (before, 2)


@pytest.mark.parametrize(
    ("text", "why"), [("[clusters.shop", "line 1"), ('[clusters.shop]\ndata_directory = "/x"\nprot = 1\n', "prot")]
)
def test_a_broken_inventory_changes_nothing(site: Site, text: str, why: str) -> None:
    """A mistake in the inventory is refused, told with its place, and everything stays as it was."""
    site.add("shop")
    daemon = site.run()
    pid = site.pid("shop")
    site.inventory.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    refused = daemon.wait_for_log(event="inventory refused")
    asked = site.pgsupctl("update")
    assert (refused["path"], refused["level"], why in f"{refused}") == (str(site.inventory), "error", True), refused
    assert (asked.returncode, "nothing was changed" in asked.stderr) == (1, True)
    assert (site.states(), site.pid("shop")) == ({"shop": "RUNNING"}, pid)


def test_a_cluster_comes_back_under_another_name(site: Site) -> None:
    """A cluster that is renamed is stopped under its old name and started under its new one."""
    site.add("old")
    site.run()
    site.clusters["new"] = site.clusters.pop("old")
    site.write()
    finished = site.pgsupctl("update")
    assert finished.stdout.splitlines() == ["remove  old", "add     new", "old: STOPPED", "new: RUNNING"]
    assert site.states() == {"new": "RUNNING"}


def test_data_directories_change_places(site: Site) -> None:
    """Where clusters take each other's place, all that must go down is down before anything comes up."""
    shop, blog = site.add("shop", stop_mode="smart", stop_timeout=1.5), site.add("blog")
    site.run()
    with client(site.cluster("shop")):
        site.clusters["shop"]["data_directory"], site.clusters["blog"]["data_directory"] = str(blog), str(shop)
        site.write()
        assert site.pgsupctl("update").returncode == 0
    assert site.states() == {"shop": "RUNNING", "blog": "RUNNING"}
    assert (site.status("shop")["port"], site.cluster("shop").data_directory) == (6000, str(blog))
    assert sql(site.cluster("shop"), "show data_directory") == str(blog)


def test_a_server_in_the_directory_that_counts_next(site: Site) -> None:
    """Where another data directory counts by now, a server that somebody runs there is adopted, once ours is down."""
    site.add("shop")
    site.add("other", autostart=False)
    site.run()
    ours, others = site.cluster("shop"), site.cluster("other")
    moved = site.clusters.pop("other")
    site.write()
    assert site.pgsupctl("update").returncode == 0
    held = ours.postmaster()
    assert held is not None
    others.start(detach=True)
    others.wait_until_started()
    try:
        with held:
            held.signal(signal.SIGSTOP)
            stopping = threading.Thread(target=site.pgsupctl, args=("stop", "shop"))
            stopping.start()
            site.wait_for_state("shop", "STOPPING")
            site.clusters["shop"] |= {key: moved[key] for key in ("data_directory", "port")}
            site.write()
            assert site.pgsupctl("update").returncode == 0
            held.signal(signal.SIGCONT)
            stopping.join()
            site.wait_for_state("shop", "RUNNING")
            assert site.pid("shop") == others.pid()
    finally:
        others.kill()


def test_another_log_directory(site: Site) -> None:
    """A new log_directory is made, and the servers' logs go there."""
    site.add("shop")
    site.run()
    site.daemon_keys["log_directory"] = str(site.door / "elsewhere")
    site.write()
    assert site.pgsupctl("update").returncode == 0
    assert "ready to accept connections" in (site.door / "elsewhere" / "shop.log").read_text()


def test_keys_of_the_daemon(site: Site) -> None:
    """An update says which keys of [daemon] it takes up, and which count only when the daemon is started again."""
    site.add("shop")
    site.run()
    pid = site.pid("shop")
    site.daemon_keys |= {"start_concurrency": 1, "log_format": "json"}
    site.write()
    for arguments in (["update", "--dry-run"], ["update"]):
        assert site.pgsupctl(*arguments).stdout.splitlines()[:2] == [
            "[daemon] start_concurrency",
            "[daemon] log_format  (when pgsupervisord is started again)",
        ]
    assert (site.pgsupctl("update").stdout, site.pid("shop")) == ("Nothing changes.\n", pid)
