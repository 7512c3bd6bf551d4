"""A real daemon for the tests: a directory, an inventory, clusters in it, and pgsupervisord on it as a child.

Everything is waited for by events: what the daemon writes into its log, what its control socket streams, what the
kernel says of a process. Every wait has a limit that no test should come near.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import psutil
from machine import INSTALLATIONS, SERVER_USER, NewDataDirectory, make_directory, remove_directory

from pgsupervisor.control.client import Client
from pgsupervisor.errors import ControlError
from pgsupervisor.postgres import Cluster, Installation
from pgsupervisor.system.process import Process, hold

LIMIT = 30.0
"""Seconds until a wait is given up."""

Record: TypeAlias = dict[str, object]
"""A cluster as GetStatus tells of it, or a line of the daemon's log."""

ROOT = Path(__file__).parent.parent

AS_USER = str(Path(__file__).with_name("as_user.py"))
"""A program that is one of ours, run by an ordinary user."""


class Daemon:
    """A pgsupervisord that runs as our child; what it logs is read all the time, and kept.

    `through` is the command line of a program that becomes it. Root may run it as the user with the name `run_as`.
    """

    def __init__(
        self,
        inventory: Path | None,
        environment: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
        *,
        run_as: str | None = None,
    ) -> None:
        program = ["-m", "pgsupervisor"] if run_as is None else [AS_USER, run_as, "pgsupervisord"]
        asked = [] if inventory is None else ["-c", str(inventory)]
        self.process = subprocess.Popen(
            [*through, sys.executable, *program, *asked],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self._stream = self.process.stderr
        os.set_blocking(self._stream.fileno(), False)
        self._said = b""
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        """All lines that it has said so far; the last one may have no end if it was killed."""
        with self._news:
            self._take()
            said = self._said if self._ended else self._said[: self._said.rfind(b"\n") + 1]
        return [line.decode() for line in said.splitlines(keepends=True)]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def _read(self) -> None:
        with self._stream:
            while not self._ended:
                select.select([self._stream], [], [])
                with self._news:
                    self._take()
                    self._news.notify_all()

    def _take(self) -> None:
        """Read what there is: whoever asks may do so before our thread has its turn, and must not miss a line."""
        with contextlib.suppress(BlockingIOError):
            while not self._ended:
                piece = os.read(self._stream.fileno(), 2**16)
                self._said += piece
                self._ended = not piece

    def logged(self, **facts: object) -> list[Record]:
        """Return what it has logged with these facts so far."""
        records = (cast("Record", json.loads(line)) for line in self.lines if line.startswith("{"))
        return [record for record in records if facts.items() <= record.items()]

    def wait_for_log(self, count: int = 1, **facts: object) -> Record:
        """Wait until it has logged these facts `count` times, and return the last of these records."""
        with self._news:
            self._news.wait_for(lambda: len(self.logged(**facts)) >= count or self._ended, LIMIT)
        found = self.logged(**facts)
        assert len(found) >= count, f"never logged: {facts}\n{''.join(self.lines)}"
        return found[count - 1]

    def wait(self) -> tuple[int, str]:
        """Wait until it has ended; return its exit status and all that it has said."""
        status = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        return status, "".join(self.lines)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.process.send_signal(number)
        return self.wait()[0]


class Site:
    """A short directory with an inventory, its clusters, and the daemon that keeps them.

    The socket, the inventory and the logs have a directory of their own, as only the daemon's user may write there.
    """

    def __init__(self, directory: Path, new_data_directory: NewDataDirectory) -> None:
        self.directory = directory
        self.door = Path(tempfile.mkdtemp(prefix="pgs-", dir="/tmp"))
        self.door.chmod(0o755)
        self.socket = str(self.door / "control")
        self.inventory = self.door / "inventory.toml"
        self.daemon_keys: Record = {"socket": self.socket, "log_directory": str(self.door / "log")}
        self.clusters: dict[str, Record] = {}
        self.daemons: list[Daemon] = []
        self.new_data_directory = new_data_directory

    def add(self, name: str, installation: Installation | None = None, **keys: object) -> Path:
        """Add a cluster to the inventory, with a data directory of its own, which is returned."""
        used = installation or INSTALLATIONS[0]
        data_directory = self.new_data_directory(used, self.directory / name)
        self.declare(name, data_directory, used, **keys)
        return data_directory

    def declare(
        self, name: str, data_directory: Path, installation: Installation | None = None, **keys: object
    ) -> None:
        """Add a cluster to the inventory, whether or not there is such a data directory."""
        port = 6000 + len(self.clusters)
        found = {"installation": _label(installation or INSTALLATIONS[0]), "data_directory": str(data_directory)}
        self.clusters[name] = {**found, "port": port, **keys}

    def write(self) -> None:
        """Write the inventory."""
        run_as = {} if SERVER_USER is None else {"user": SERVER_USER.name}
        tables = {"daemon": self.daemon_keys, "defaults": run_as}
        tables |= {f"installations.{_label(each)}": {"bindir": each.bindir} for each in INSTALLATIONS}
        tables |= {f"clusters.{name}": keys for name, keys in self.clusters.items()}
        self.inventory.write_text("\n".join(_table(name, keys) for name, keys in tables.items()))

    def launch(self, environment: Mapping[str, str] | None = None, through: Sequence[str] = ()) -> Daemon:
        """Write the inventory and start a daemon on it; do not wait for anything."""
        self.write()
        daemon = Daemon(self.inventory, environment, through)
        self.daemons.append(daemon)
        return daemon

    def start(self, environment: Mapping[str, str] | None = None) -> Daemon:
        """Start a daemon, and wait until its socket answers."""
        daemon = self.launch(environment)
        daemon.wait_for_log(event="daemon started")
        return daemon

    def run(self, environment: Mapping[str, str] | None = None) -> Daemon:
        """Start a daemon, and wait until every cluster runs."""
        daemon = self.start(environment)
        self.order("Start", "all")
        return daemon

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Connect a client whose waits have a limit: after it, the connection is shut down."""
        with Client(self.socket, timeout=LIMIT) as client:
            limit = threading.Timer(LIMIT, client._socket.shutdown, [2])
            limit.start()
            try:
                yield client
            finally:
                limit.cancel()
                limit.join()

    def call(self, method: str, **parameters: object) -> Record:
        """Call a method over a connection of its own."""
        with self.client() as client:
            return dict(client.call(method, **parameters))

    def order(self, method: str, *names: str, **parameters: object) -> None:
        """Give an order and see that it was carried out for every cluster."""
        outcomes = cast("list[Record]", self.call(method, names=names, **parameters)["outcomes"])
        assert [each for each in outcomes if not each["ok"]] == []

    def status(self, name: str) -> Record:
        """Return what is known of a cluster."""
        (found,) = cast("list[Record]", self.call("GetStatus", names=[name])["clusters"])
        return found

    def states(self) -> dict[str, str]:
        """Return the state of every cluster, by name."""
        found = cast("list[dict[str, str]]", self.call("GetStatus", names=[])["clusters"])
        return {each["name"]: each["state"] for each in found}

    def wait_for(self, name: str, fits: Callable[[Record], bool]) -> Record:
        """Wait until what is known of a cluster fits, and return it."""
        seen: list[Record] = []
        with contextlib.suppress(ControlError), self.client() as client:
            for reply in client.stream("Monitor", names=[name]):
                seen += cast("list[Record]", reply["clusters"])
                if fits(seen[-1]):
                    return seen[-1]
        said = [line for daemon in self.daemons[-1:] for line in daemon.lines]
        raise AssertionError("\n".join(map(str, [*seen, *said])))

    def wait_for_state(self, name: str, state: str) -> Record:
        """Wait until a cluster is in a state, and return what is known of it."""
        return self.wait_for(name, lambda record: record["state"] == state)

    def wait_for_line(self, name: str, text: str) -> None:
        """Wait until a server has written a text into its log since the daemon began."""
        seen = ""
        with contextlib.suppress(ControlError), self.client() as client:
            for reply in client.stream("GetLog", names=[name], lines=10_000, follow=True):
                seen += str(reply["text"])
                if text in seen:
                    return
        raise AssertionError(seen)

    def pid(self, name: str) -> int:
        """Return the postmaster's pid, by the word of the daemon."""
        pid = self.status(name)["pid"]
        assert isinstance(pid, int)
        return pid

    def cluster(self, name: str) -> Cluster:
        """Return the library's view of a cluster."""
        keys = self.clusters[name]
        (installation,) = (each for each in INSTALLATIONS if _label(each) == keys["installation"])
        return Cluster(installation, str(keys["data_directory"]))

    def logfile(self, name: str) -> Path:
        """Return where the server of a cluster logs."""
        return self.door / "log" / f"{name}.log"

    def pgsupctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pgsupctl on the daemon's socket."""
        return subprocess.run(
            [sys.executable, "-c", _PGSUPCTL, "-s", self.socket, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )

    def close(self) -> None:
        """End whatever daemon still runs, then every process that works in the directory, and remove it."""
        end_all(self.daemons)
        end_all_in(self.directory)
        remove_directory(self.directory)
        shutil.rmtree(self.door)


_PGSUPCTL = "import sys; from pgsupervisor.cli.main import main; sys.exit(main())"


@contextlib.contextmanager
def new_site(new_data_directory: NewDataDirectory, parent: str = "/tmp") -> Iterator[Site]:
    """Have a site, and nothing of it afterwards."""
    made = Site(make_directory(parent), new_data_directory)
    try:
        yield made
    finally:
        made.close()


def installation_number(number: int) -> Installation:
    """Return one of the installations of this machine; with enough numbers, all of them."""
    return INSTALLATIONS[number % len(INSTALLATIONS)]


@contextlib.contextmanager
def held(pid: int) -> Iterator[Process]:
    """Hold a process."""
    with Process(pid) as process:
        yield process


def ends(process: Process) -> bool:
    """Wait until a process that we hold has ended."""
    return process.wait(LIMIT)


def end_all(daemons: Iterable[Daemon]) -> None:
    """End whatever daemon still runs; one that takes too long is killed."""
    for daemon in daemons:
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.process.terminate()
            daemon.wait()
        daemon.process.kill()
        daemon.wait()


def end_all_in(directory: Path) -> None:
    """End every process that works in a directory; a server that is shut down, not killed, gives its memory back."""
    for number in (signal.SIGINT, signal.SIGKILL):
        for process in _at_work_in(directory):
            with process:
                process.signal(number)
                process.wait(LIMIT / 4)


def _at_work_in(directory: Path) -> list[Process]:
    """Hold the postmasters of a directory first, then whatever else works in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            names_it = any(argument.startswith(str(directory)) for argument in process.cmdline())
            works_in_it = Path(process.cwd()).is_relative_to(directory)
            if process.pid != os.getpid() and (names_it or works_in_it) and (one := hold(process.pid)) is not None:
                found.append((not names_it, one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _label(installation: Installation) -> str:
    return f"pg{INSTALLATIONS.index(installation)}"


def _table(name: str, keys: Mapping[str, object]) -> str:
    """Return a table in TOML, whose strings are JSON's."""
    return f"[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in keys.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)
