"""Clusters as lines of text: what a person sees, and what a script can rely on."""

from __future__ import annotations

from pgsupervisor.cli.answers import Cluster
from pgsupervisor.cli.screen import Screen
from pgsupervisor.cli.table import duration, remark, sentence, size, table
from pgsupervisor.escaping import escape

NOW = 1_000_000.0


def cluster(name: str, state: str = "RUNNING", **known: object) -> Cluster:
    """Return a cluster that is well, but for what is said."""
    facts = {
        "name": name,
        "state": state,
        "wanted": True,
        "since": NOW - 200,
        "pid": 4711,
        "port": 5432,
        "version": "15.18",
        "restarts": 0,
        "reason": "",
        "standby": False,
        "yours": True,
    }
    return {**facts, **known}  # type: ignore[typeddict-item]  # a test names fields of the type alone


def ago(since: float) -> str:
    return duration(NOW - since)


CLUSTERS = [
    cluster("shop"),
    cluster("shop-replica", since=NOW - 7500, pid=12, port=5433, version="18.6", standby=True),
    cluster("old", "STOPPED", wanted=False, pid=None, port=None, version=None),
    cluster("web", "FATAL", since=NOW - 3, pid=None, restarts=12, reason='FATAL: could not open "/srv"\n\x1b[2Jboo'),
]

PLAIN = [
    "NAME          STATE    SINCE      PID   PORT  VERSION  RESTARTS  REASON",
    "shop          RUNNING  3 min      4711  5432  15.18    0",
    "shop-replica  RUNNING  2 h 5 min  12    5433  18.6     0         standby",
    "old           STOPPED  3 min      -     -     -        0",
    'web           FATAL    3 s        -     5432  15.18    12        FATAL: could not open "/srv"\\n\\x1b[2Jboo',
]


def test_to_a_pipe_the_table_is_plain_and_whole() -> None:
    """No colour, nothing cut; and what came from a database's log is escaped, one line for each cluster."""
    assert table(CLUSTERS, ago, Screen()) == PLAIN


def test_which_clusters_are_yours() -> None:
    """Who may not control all the clusters that he sees is told which are his; who may, need not be told."""
    why = "why is told to those who may control it"
    shown = [cluster("shop"), cluster("web", "FATAL", pid=None, yours=False, reason=why)]
    assert table(shown, ago, Screen()) == [
        "NAME  STATE    SINCE  PID   PORT  VERSION  RESTARTS  YOURS  REASON",
        "shop  RUNNING  3 min  4711  5432  15.18    0         yes",
        f"web   FATAL    3 min  -     5432  15.18    0         -      {why}",
    ]
    assert table(shown[1:], ago, Screen(width=60, height=24, colour=False)) == [
        "NAME  STATE  SINCE  PID  PORT  VERSION  RESTARTS  YOURS  RE…",
        "web   FATAL  3 min  -    5432  15.18    0         -",
        f"    {why}",
    ]
    assert table([], ago, Screen()) == ["NAME  STATE  SINCE  PID  PORT  VERSION  RESTARTS  REASON"]


def test_what_clusters_use() -> None:
    """Memory and CPU time are shown where somebody counts them and the terminal has room; to a pipe, always."""
    using = [cluster("shop", memory=300 << 20, cpu=200.5, reason="polled"), cluster("web", cpu=0.25)]
    whole = [
        "NAME  STATE    SINCE  PID   PORT  VERSION  RESTARTS  MEMORY  CPU    REASON",
        "shop  RUNNING  3 min  4711  5432  15.18    0         300 MB  3 min  polled",
        "web   RUNNING  3 min  4711  5432  15.18    0         -       0 s",
    ]
    assert table(using, ago, Screen()) == whole
    assert table(using, ago, Screen(width=80, height=24, colour=False)) == whole
    assert table(using, ago, Screen(width=64, height=24, colour=False)) == [
        "NAME  STATE    SINCE  PID   PORT  VERSION  RESTARTS  REASON",
        "shop  RUNNING  3 min  4711  5432  15.18    0         polled",
        "web   RUNNING  3 min  4711  5432  15.18    0",
    ]
    assert table(using[1:], ago, Screen())[0] == "NAME  STATE    SINCE  PID   PORT  VERSION  RESTARTS  CPU  REASON"


def test_sizes_are_as_in_postgresql() -> None:
    assert [size(each) for each in (0, 10_239, 10_240, 10 << 20, 1_500_000_000, 20 << 30, 1 << 60)] == [
        *("0 B", "10239 B", "10 kB", "10 MB", "1431 MB", "20 GB", "1048576 TB")
    ]


def test_to_a_terminal_the_table_is_coloured_and_fits() -> None:
    """A line is never longer than the terminal is wide; colours take no room, and a reason has its own."""
    assert table(CLUSTERS, ago, Screen(width=80, height=24, colour=True)) == [
        "NAME          STATE    SINCE      PID   PORT  VERSION  RESTARTS  REASON",
        "shop          \033[32mRUNNING\033[0m  3 min      4711  5432  15.18    0",
        "shop-replica  \033[32mRUNNING\033[0m  2 h 5 min  12    5433  18.6     0         standby",
        "old           STOPPED  3 min      -     -     -        0",
        "web           \033[31mFATAL\033[0m    3 s        -     5432  15.18    12",
        '    FATAL: could not open "/srv"\\n\\x1b[2Jboo',
    ]


def test_a_narrow_terminal_is_enough() -> None:
    """Where not even the state has room, there is no colour to be cut in half."""
    narrow = Screen(width=18, height=24, colour=True)
    assert table(CLUSTERS[:1], ago, narrow) == ["NAME  STATE    SI…", "shop  \033[32mRUNNING\033[0m  3 …"]
    assert table(CLUSTERS[:1], ago, Screen(width=9, height=24, colour=True)) == ["NAME  ST…", "shop  RU…"]
    long = cluster("web", "BACKOFF", reason="the server ended again")
    assert table([long], ago, narrow)[1:] == ["web   \033[33mBACKOFF\033[0m  3 …", "    the server", "    ended again"]


def test_a_standby_with_more_to_say() -> None:
    """That it is a standby is said beside whatever else there is."""
    assert remark(cluster("shop", standby=True, reason="polled")) == "standby; polled"


def test_no_cluster_is_a_table_too() -> None:
    assert table([], ago, Screen()) == ["NAME  STATE  SINCE  PID  PORT  VERSION  RESTARTS  REASON"]


def test_what_may_be_absent_on_the_wire() -> None:
    """To Varlink, an optional field that is absent and one that is null are the same."""
    absent = cluster("old", "STOPPED", wanted=False)
    del absent["pid"], absent["port"], absent["version"]  # type: ignore[misc]  # as another server may answer
    assert table([absent], ago, Screen())[1] == "old   STOPPED  3 min  -    -     -        0"


def test_durations_have_two_units_at_most() -> None:
    seconds = [-5.0, 0.0, 59.9, 60.0, 3599.0, 3600.0, 7500.0, 86_399.0, 86_400.0, 31_536_000.0]
    assert [duration(each) for each in seconds] == [
        *("0 s", "0 s", "59 s", "1 min", "59 min", "1 h 0 min", "2 h 5 min", "23 h 59 min", "1 d 0 h", "365 d 0 h")
    ]


def test_one_cluster_in_one_line() -> None:
    assert sentence("shop", "RUNNING", "", Screen()) == "shop: RUNNING"
    assert sentence("shop", "FATAL", "a\x07b", Screen(80, 24, colour=True)) == "shop: \033[31mFATAL\033[0m  a\\x07b"


def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    """Escape sequences, 8-bit controls, line ends, reversed text and stray bytes are written out."""
    assert escape("plain é “x”") == "plain é “x”"
    assert escape("\x1b[31m\x9b\x7f\r\n\t\u202e\udcff\ud800") == r"\x1b[31m\x9b\x7f\r\n\t\u202e\xff\ud800"
