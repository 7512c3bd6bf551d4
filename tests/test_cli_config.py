"""pgsupctl config, and what else it says of configurations: reloads, restarts that are refused, the status."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, error, part, reply, says
from pgsupctl import Finished, asked, pgsupctl, pgsupctl_on_terminal

from pgsupervisor.control.protocol import Reply, Request

CONF = "/etc/shop/postgresql.conf"


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


def setting(name: str, written: str | None, running: str | None, **known: object) -> dict[str, object]:
    facts = {"name": name, "written": written, "running": running, "path": None, "line": None, "source": "default"}
    if written is not None:
        facts |= {"path": CONF, "line": 12, "source": "configuration file"}
    return {**facts, "pending": False, "differs": False, **known}


WORK_MEM = setting("work_mem", "8MB", "8MB")
BUFFERS = setting("shared_buffers", "1GB", "128MB", pending=True, differs=True)
PORT = setting("port", "5432", "5433", source="command line", differs=True)
TYPO = setting("wrk_mem", "8MB\t\x1b[2J", None, source=None, differs=True)
REFUSED = setting("log_destination", "somewhere", "stderr", differs=True)
PATH = setting("search_path", None, "")
ROLE = setting("jit", "off", "on", source="database user")
EVERYTHING = [WORK_MEM, BUFFERS, PORT, TYPO, REFUSED, PATH, ROLE]


def outcome(message: str, *, ok: bool = True) -> dict[str, object]:
    return {"name": "shop", "ok": ok, "state": "RUNNING", "message": message}


# get


def test_get_to_a_pipe_is_columns_with_tabs_between(path: str) -> None:
    """A script gets the same five columns for each setting, whatever stands in it."""
    scripts = {"GetConfiguration": says(reply(settings=EVERYTHING))}
    requests, finished = asked(path, scripts, "config", "shop", "get")
    assert finished == Finished(
        0,
        f"work_mem\t8MB\t8MB\t{CONF}:12\t\n"
        f"shared_buffers\t1GB\t128MB\t{CONF}:12\tpending restart\n"
        f"port\t5432\t5433\t{CONF}:12\toverruled: command line\n"
        f"wrk_mem\t8MB\\t\\x1b[2J\t-\t{CONF}:12\tnot in force\n"
        f"log_destination\tsomewhere\tstderr\t{CONF}:12\tnot in force\n"
        "search_path\t-\t''\tdefault\t\n"
        f"jit\toff\ton\t{CONF}:12\tonly for our role: database user\n",
        "",
    )
    assert requests == [Request("io.pgsupervisor.GetConfiguration", {"name": "shop", "keys": []})]


def test_get_of_some(path: str) -> None:
    """Keys go to the daemon as they are, also where an option stands among them."""
    for arguments in (("get", "a", "B"), ("get", "--json", "a", "B")):
        requests, _ = asked(path, {"GetConfiguration": says(reply(settings=[]))}, "config", "shop", *arguments)
        assert requests == [Request("io.pgsupervisor.GetConfiguration", {"name": "shop", "keys": ["a", "B"]})]


def test_get_on_a_terminal_is_a_table(path: str) -> None:
    """A person gets aligned columns; a value is never cut, and a very long one does not widen every line."""
    long = setting("long", "x" * 60, "x" * 60)
    with FakeDaemon(path, {"GetConfiguration": says(reply(settings=[BUFFERS, PATH, long]))}):
        finished = pgsupctl_on_terminal("-s", path, "config", "shop", "get", columns=40)
    assert finished == Finished(
        0,
        "NAME            FILE                                      RUNNING                                   "
        "WHERE                         NOTE\n"
        "shared_buffers  1GB                                       128MB                                     "
        f"{CONF}:12  pending restart\n"
        "search_path     -                                         ''                                        default\n"
        f"long            {'x' * 60}  {'x' * 60}  {CONF}:12\n",
        "",
    )


def test_get_as_json(path: str) -> None:
    """The whole answer is one document."""
    scripts = {"GetConfiguration": says(reply(settings=EVERYTHING))}
    _, finished = asked(path, scripts, "--json", "config", "shop", "get")
    assert (finished.status, json.loads(finished.output)) == (0, {"settings": EVERYTHING})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            error("io.pgsupervisor.UnknownSetting", name="wrk\x1b"),
            "the server knows no setting wrk\\x1b; `pgsupctl config NAME get` shows what is set",
        ),
        (
            error("io.pgsupervisor.ConfigurationNotReadable", why="/x: Permission denied"),
            "where the settings stand cannot be told: /x: Permission denied",
        ),
    ],
)
def test_get_of_what_cannot_be_told(path: str, answer: Reply, words: str) -> None:
    """What nobody can tell is exit status 1, and nothing on the standard output."""
    for action in ("get", "diff"):
        _, finished = asked(path, {"GetConfiguration": says(answer)}, "config", "shop", action)
        assert finished == Finished(1, "", f"pgsupctl: {words}\n")


# set and unset


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (("set", "work_mem=8MB"), [{"name": "work_mem", "value": "8MB"}]),
        (("set", "a.b=c=d", "e="), [{"name": "a.b", "value": "c=d"}, {"name": "e", "value": ""}]),
        (("set", "port=-1 "), [{"name": "port", "value": "-1 "}]),
        (("unset", "a", "b"), [{"name": "a", "value": None}, {"name": "b", "value": None}]),
    ],
)
def test_changes_are_sent_as_given(path: str, arguments: tuple[str, ...], changes: object) -> None:
    """All changes go to the daemon at once; what came of them is one line."""
    progress = part(progress={"name": "shop", "state": "RUNNING", "reason": ""})
    answers = says(progress, reply(outcomes=[outcome("applied: work_mem 4MB → 8MB")]))
    requests, finished = asked(path, {"SetConfiguration": answers}, "config", "shop", *arguments)
    assert finished == Finished(0, "shop: RUNNING  applied: work_mem 4MB → 8MB\n", "")
    assert requests == [Request("io.pgsupervisor.SetConfiguration", {"name": "shop", "changes": changes}, more=True)]


def test_a_change_that_the_server_refuses(path: str) -> None:
    """What was put back is exit status 1, and told with the server's message."""
    answer = reply(outcomes=[outcome("refused, and put back as it was: in\nvalid", ok=False)])
    _, finished = asked(path, {"SetConfiguration": says(answer)}, "config", "shop", "set", "a=b")
    assert finished == Finished(1, "shop: RUNNING  refused, and put back as it was: in\\nvalid\n", "")
    _, finished = asked(path, {"SetConfiguration": says(answer)}, "config", "shop", "set", "a=b", "--json")
    assert (finished.status, json.loads(finished.output)) == (1, answer.parameters)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"path": CONF, "line": 7, "why": "set here"}, f"{CONF}:7: set here"),
        ({"path": CONF, "line": 0, "why": "Permission denied"}, f"{CONF}: Permission denied"),
        ({"path": "", "line": 0, "why": "a new\nline"}, "a new\\nline"),
    ],
)
def test_a_change_that_cannot_be_written(path: str, facts: dict[str, object], words: str) -> None:
    """Where and why is one line, and exit status 1."""
    answer = error("io.pgsupervisor.ConfigurationRefused", **facts)
    _, finished = asked(path, {"SetConfiguration": says(answer)}, "config", "shop", "set", "a=b")
    assert finished == Finished(1, "", f"pgsupctl: {words}\n")


# diff and check


def test_what_differs(path: str) -> None:
    """As with diff(1), a difference is exit status 1; each is one line, with both values and what stands between."""
    removed = setting("max_connections", None, "200", source="configuration file", pending=True, differs=True)
    scripts = {"GetConfiguration": says(reply(settings=[*EVERYTHING, removed]))}
    requests, finished = asked(path, scripts, "config", "shop", "diff")
    assert finished == Finished(
        1,
        f"shared_buffers  running 128MB  file 1GB  {CONF}:12  (pending restart)\n"
        f"port  running 5433  file 5432  {CONF}:12  (overruled: command line)\n"
        f"wrk_mem  running -  file 8MB\\t\\x1b[2J  {CONF}:12  (not in force)\n"
        f"log_destination  running stderr  file somewhere  {CONF}:12  (not in force)\n"
        "max_connections  running 200  file -  (pending restart)\n",
        "",
    )
    assert requests == [Request("io.pgsupervisor.GetConfiguration", {"name": "shop", "keys": []})]
    _, finished = asked(path, scripts, "config", "shop", "diff", "--json")
    differing = [BUFFERS, PORT, TYPO, REFUSED, removed]
    assert (finished.status, json.loads(finished.output)) == (1, {"settings": differing})


@pytest.mark.parametrize("settings", [[], [WORK_MEM]])
def test_nothing_differs(path: str, settings: list[object]) -> None:
    """Where nothing differs, the exit status is 0, and a sentence says so."""
    scripts = {"GetConfiguration": says(reply(settings=settings))}
    _, finished = asked(path, scripts, "config", "shop", "diff")
    assert finished == Finished(0, "Nothing differs: the server goes by what the files of shop say.\n", "")
    _, finished = asked(path, scripts, "config", "shop", "diff", "--json")
    assert (finished.status, json.loads(finished.output)) == (0, {"settings": []})


def test_there_is_nothing_to_compare_with(path: str) -> None:
    """That no server runs is not taken for that nothing differs."""
    scripts = {"GetConfiguration": says(reply(settings=[setting("work_mem", "8MB", None, source=None)]))}
    for arguments in (("diff",), ("diff", "--json")):
        _, finished = asked(path, scripts, "config", "shop", *arguments)
        assert finished == Finished(1, "", "pgsupctl: shop: no server runs that its files could be compared with\n")


def test_what_would_keep_the_next_start_from_succeeding(path: str) -> None:
    """Problems are one line each, and exit status 1; none are `ok`. What was not looked at is no problem."""
    for problems, unchecked, output in (
        (["pg_hba.conf:1: a\x07", "b"], None, "pg_hba.conf:1: a\\x07\nb\n"),
        ([], None, "ok\n"),
        ([], "not c\x07", "ok\nnot c\\x07\n"),
        (["a"], "not b", "a\nnot b\n"),
    ):
        scripts = {"CheckConfiguration": says(reply(problems=problems, unchecked=unchecked))}
        requests, finished = asked(path, scripts, "config", "shop", "check")
        assert finished == Finished(int(bool(problems)), output, "")
        assert requests == [Request("io.pgsupervisor.CheckConfiguration", {"name": "shop"})]
        _, finished = asked(path, scripts, "config", "shop", "check", "--json")
        answer = {"problems": problems, "unchecked": unchecked}
        assert (finished.status, json.loads(finished.output)) == (int(bool(problems)), answer)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: NAME, ACTION"),
        (("shop",), "the following arguments are required: ACTION"),
        (("shop", "put"), "argument ACTION: invalid choice: 'put'"),
        (("shop", "set"), "name the settings to set"),
        (("shop", "unset"), "name the settings to unset"),
        (("shop", "set", "a=1", "b"), "write KEY=VALUE, not 'b'; `unset` takes a setting out"),
        (("shop", "set", "=1"), "write KEY=VALUE, not '='; `unset` takes a setting out"),
        (("shop", "diff", "a"), "`config shop diff` is about the whole configuration; it takes no 'a'"),
        (("shop", "check", "a"), "`config shop check` is about the whole configuration; it takes no 'a'"),
        (("shop", "set", "a=\udcff"), "argument SETTING: not UTF-8"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    """A mistake on the command line is exit status 2, before anybody is asked."""
    finished = pgsupctl("config", *arguments)
    assert (finished.status, finished.output) == (2, "")
    assert f"\npgsupctl config: error: {words}" in finished.errors


# orders and the status


def test_a_reload_that_is_rejected(path: str) -> None:
    """What the server refuses makes a reload fail, and with --json it comes as a value."""
    message = "rejected: pg_hba.conf:12 no; what was in force before stays in force"
    report = {"verdict": "rejected", "mistakes": [{"path": "/x/pg_hba.conf", "line": 12, "why": "no"}]}
    answer = reply(outcomes=[{**outcome(message, ok=False), "report": report}])
    _, finished = asked(path, {"Reload": says(answer)}, "reload", "shop")
    assert finished == Finished(1, f"shop: RUNNING  {message}\n", "")
    _, finished = asked(path, {"Reload": says(answer)}, "--json", "reload", "shop")
    assert (finished.status, json.loads(finished.output)) == (1, answer.parameters)


def test_a_restart_by_force(path: str) -> None:
    """--force goes to the daemon, and nothing does where it was not asked for."""
    answer = {"Restart": says(reply(outcomes=[outcome("")]))}
    for arguments, facts in (("restart", "shop", "--force"), {"force": True}), (("restart", "shop"), {}):
        requests, finished = asked(path, answer, *arguments)
        assert requests == [Request("io.pgsupervisor.Restart", {"names": ["shop"], **facts}, more=True)]
        assert finished.status == 0
    assert pgsupctl("stop", "shop", "--force").status == 2


def test_the_status_of_one_whose_restart_is_due(path: str) -> None:
    """What stands of a reload is the reason; a pipe in another encoding gets escapes."""
    cluster = {
        "name": "shop",
        "state": "RUNNING",
        "wanted": True,
        "since": time.time() - 200,
        "pid": 7,
        "port": 5432,
        "version": "15.18",
        "restarts": 0,
        "standby": False,
        "yours": True,
        "reason": "pending restart: shared_buffers 128MB → 1GB",
    }
    with FakeDaemon(path, {"GetStatus": says(reply(clusters=[cluster]))}):
        finished = pgsupctl("-s", path, "status")
        ascii_only = pgsupctl("-s", path, "status", env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    row = "shop  RUNNING  3 min  7    5432  15.18    0         pending restart: shared_buffers 128MB {} 1GB\n"
    assert (finished.status, finished.output.splitlines(keepends=True)[1]) == (0, row.format("→"))
    assert (ascii_only.status, ascii_only.output.splitlines(keepends=True)[1]) == (0, row.format("\\u2192"))
