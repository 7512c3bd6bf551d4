"""The contestants that keep servers running: this daemon, supervisord and circus, each as its own manual has it.

They come from PyPI, in an environment of their own beside ours. A postmaster is stopped by SIGINT (fast shutdown) in
each of them, and given a minute for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answering import LIMIT
from benchmarks.ground import Ground
from machine import SERVER_USER

PEERS = Path(sys.prefix) / "peers" / "bin"
"""Where the others' programs are."""

OURS = "pgsupervisor"


@dataclass(frozen=True, slots=True)
class Host:
    """A program that keeps servers: how it is started on some ground, and how it is asked for their status."""

    name: str
    arguments: Sequence[str]
    status: Sequence[str]

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        return subprocess.Popen(
            self.arguments,
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def environment() -> dict[str, str]:
    """Return our environment, but for what would keep byte code from being kept: nobody is installed so."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a contestant in good order."""
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT)


def whole(command: Sequence[str]) -> float:
    """Return how long a program takes from its start to its end, in seconds."""
    began = time.monotonic()
    subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.monotonic() - began


def ours(ground: Ground, *, width: int | None = None, **keys: object) -> Host:
    """Return this daemon; `width` is its start gate's, `keys` are those of each cluster."""
    programs = Path(sys.executable).parent
    socket = ground.door / "control"
    path = ground.door / "inventory.toml"
    tables: dict[str, dict[str, object]] = {
        "daemon": {"socket": socket, "log_directory": ground.door / "log", "start_concurrency": width},
        "installations.pg": {"bindir": ground.installation.bindir},
        "defaults": {"user": None if SERVER_USER is None else SERVER_USER.name, **keys},
    }
    for server in ground.servers:
        tables[f"clusters.{server.name}"] = {"installation": "pg", "data_directory": server.data_directory}
    path.write_text("".join(_table(name, keys) for name, keys in tables.items()))
    ask = [str(programs / "pgsupctl"), "-s", str(socket), "status"]
    return Host(OURS, [str(programs / "pgsupervisord"), "-c", str(path)], ask)


def _table(name: str, keys: dict[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items() if value is not None)


def _toml(value: object) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
        case int() | float():
            return str(value)
        case _:
            return f'"{value}"'


def supervisord(ground: Ground) -> Host:
    """Return supervisord."""
    path, socket, log = ground.door / "supervisord.conf", ground.door / "supervisor.sock", ground.door / "supervisor"
    log.mkdir(exist_ok=True)
    lines = [
        "[supervisord]\nnodaemon=true",
        *([] if SERVER_USER is None else ["user=root"]),
        f"logfile={log}/supervisord.log\npidfile={log}/supervisord.pid\nchildlogdir={log}",
        f"[unix_http_server]\nfile={socket}",
        f"[supervisorctl]\nserverurl=unix://{socket}",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for server in ground.servers:
        lines.append(f"[program:{server.name}]\ncommand={ground.postgres} -D {server.data_directory}")
        lines.append("autorestart=true\nstopsignal=INT\nstopwaitsecs=60\nredirect_stderr=true")
        lines.extend([] if SERVER_USER is None else [f"user={SERVER_USER.name}"])
    path.write_text("\n".join(lines) + "\n")
    ask = [str(PEERS / "supervisorctl"), "-c", str(path), "status"]
    return Host("supervisord", [str(PEERS / "supervisord"), "-c", str(path)], ask)


def circus(ground: Ground) -> Host:
    """Return circus."""
    path, endpoint, log = ground.door / "circus.ini", f"ipc://{ground.door}/circus", ground.door / "circus.log"
    log.mkdir(exist_ok=True)
    lines = [f"[circus]\nendpoint={endpoint}\npubsub_endpoint=ipc://{ground.door}/circus-news\nstatsd=false"]
    for server in ground.servers:
        lines.append(f"[watcher:{server.name}]\ncmd={ground.postgres} -D {server.data_directory}")
        lines.append("stop_signal=SIGINT\ngraceful_timeout=60\ncopy_env=true")
        lines.extend(
            f"{stream}_stream.class=FileStream\n{stream}_stream.filename={log}/{server.name}.log"
            for stream in ("stdout", "stderr")
        )
        lines.extend([] if SERVER_USER is None else [f"uid={SERVER_USER.name}"])
    path.write_text("\n".join(lines) + "\n")
    ask = [str(PEERS / "circusctl"), "--endpoint", endpoint, "status"]
    return Host("circus", [str(PEERS / "circusd"), str(path)], ask)


Contestant = Callable[[Ground], Host]

CONTESTANTS: tuple[Contestant, ...] = (ours, supervisord, circus)
