"""A real systemd, as the first process of namespaces of its own, that can do no harm to this machine.

It does what a systemd does when a machine comes up and goes down, as root: empty /tmp, set the kernel's parameters,
unmount. So nothing of the machine can be written from there but what is lent to it: all file systems are read-only, and
/etc, /run, /var and /tmp are directories of the test's. Of systemd's own units it has but few, none that sets
up a machine. Sockets in its /run are seen from outside. It has a control group of its own, beyond which it cannot see,
a network, shared memory and process ids of its own. All of it ends with one process of ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from containers import first_of
from daemons import ROOT
from journald import Journald
from machine import STAGED

LIMIT = 120.0
"""Seconds until a wait is given up."""

_SYSTEMD = "/lib/systemd/systemd"

_UNITS = Path("/usr/lib/systemd")

_TARGETS = ("basic", "final", "local-fs", "network-online", "nss-user-lookup", "paths", "poweroff", "remote-fs")
_TARGETS += ("shutdown", "slices", "sockets", "sysinit", "time-sync", "timers", "umount")

_KNOWN = (
    *(f"system/{name}.target" for name in _TARGETS),
    *(f"system/systemd-journald{kind}" for kind in (".service", ".socket", "-dev-log.socket")),
    "system/systemd-poweroff.service",
    *(f"user/{name}.target" for name in ("basic", "default", "exit", "paths", "shutdown", "sockets", "timers")),
    "user/systemd-exit.service",
)
"""Systemd's own units that it may have, and that one of a user's may have there."""

_ETC = ("alternatives", "group", "ld.so.cache", "localtime", "login.defs", "machine-id", "nsswitch.conf", "passwd")
"""What it has of this machine's /etc: who is who, and where things are."""

_TARGET = """
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
"""

_JOURNAL = """
[Journal]
Storage=volatile
ReadKMsg=no
Audit=
RateLimitIntervalSec=0
"""

_NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")

_NOT_ITS_BUSINESS = "-sys_boot,-sys_module,-sys_rawio,-sys_time,-syslog,-audit_control,-wake_alarm,-block_suspend"

# Within the namespaces: $1 is where its directories are, $2 what is lent to it; the other arguments are directories
# below /tmp or /var that it may read.
_INSIDE = f"""
set -e
root=$1 lent=$2; shift 2
findmnt --raw --noheadings --output TARGET | while read -r place; do mount -o remount,bind,ro "$place"; done
writable() {{ mount --rbind "$1" "$2"; mount -o remount,bind,rw "$2"; }}
writable "$lent" "$root$lent"
for each; do mount --bind "$each" "$root$each"; done
for each in etc run var; do writable "$root/$each" "/$each"; done
for each in system user system-generators; do mount --bind "$root/units/$each" {_UNITS}/$each; done
mount -t proc proc /proc
for each in /proc/sys /proc/sysrq-trigger; do
    if test -e $each; then mount --bind $each $each; mount -o remount,bind,ro $each; fi
done
mount -t tmpfs tmpfs /dev/shm
mount --bind /dev/null /dev/kmsg
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
writable "$root/tmp" /tmp
exec env -i container=test NOTIFY_SOCKET=/run/ready PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set={_NOT_ITS_BUSINESS} \
    {_SYSTEMD} --system --unit=test.target --log-target=journal --show-status=no
"""

_OUTSIDE = f"""
set -e
echo $$ > "$1/cgroup.procs"; shift
exec unshare --fork --kill-child {" ".join(_NAMESPACES)} sh -c "$@"
"""


class Systemd:
    """A systemd that runs. `root` is where its directories are, `cgroup` its control group, both seen from outside."""

    def __init__(self, keeper: subprocess.Popen[bytes], root: Path, cgroup: Path) -> None:
        self.keeper = keeper
        self.root = root
        self.cgroup = cgroup
        self.pid = first_of(keeper.pid)
        self.through = ("nsenter", "--target", str(self.pid), "--all")
        """What makes a program run beside it."""
        self.journal = Journald(self.pid)

    def try_to(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program beside it."""
        return subprocess.run([*self.through, *command], capture_output=True, text=True, check=False, timeout=LIMIT)

    def run(self, *command: str) -> str:
        """Run a program beside it, see that it succeeds, and return what it said."""
        finished = self.try_to(*command)
        assert finished.returncode == 0, f"{finished.stdout}{finished.stderr}{self.said()}"
        return finished.stdout

    def show(self, unit: str, *properties: str) -> tuple[str, ...]:
        """Return properties of a unit, in this order."""
        lines = self.run("systemctl", "show", f"--property={','.join(properties)}", unit).splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return tuple(found[each] for each in properties)

    def said(self) -> str:
        """Return the end of its journal."""
        return self.try_to("journalctl", "--no-pager", "--lines=100", "--output=short-precise").stdout

    def power_off(self) -> None:
        """Have it shut down as a machine does, and wait until it is gone."""
        # It goes down in the midst of the answer.
        self.try_to("systemctl", "poweroff")
        self.keeper.wait(LIMIT)


@contextlib.contextmanager
def booted(lent: Path) -> Iterator[Systemd]:
    """Have a systemd, with a journal, that can write in the directory `lent`; nothing of it is there afterwards."""
    hierarchy = _hierarchy()
    with contextlib.ExitStack() as undo:
        root = Path(tempfile.mkdtemp(prefix="pgs-", dir="/tmp"))
        undo.callback(shutil.rmtree, root)
        root.chmod(0o755)
        readable = [str(each) for each in (ROOT, Path(sys.prefix), Path(STAGED)) if _is_hidden(each)]
        _furnish(root, [str(lent), *readable])
        cgroup = hierarchy / root.name
        cgroup.mkdir()
        undo.callback(_remove, cgroup)
        start = ("sh", "-c", _OUTSIDE, "sh", str(cgroup), _INSIDE, "sh", str(root), str(lent), *readable)
        with _ear(root) as ear:
            keeper = undo.enter_context(subprocess.Popen(start))
            undo.callback(keeper.kill)
            while b"READY=1" not in ear.recv(4096):
                pass
        yield Systemd(keeper, root, cgroup)


def _hierarchy() -> Path:
    """Return where control groups are (cgroup2); the test is skipped where there can be no systemd."""
    if os.geteuid() != 0:
        pytest.skip("only root can have a systemd in namespaces of its own")
    for program in (_SYSTEMD, "systemctl", "journalctl", "unshare", "nsenter", "setpriv", "findmnt"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    attempt = ("unshare", "--fork", *_NAMESPACES, "true")
    tried = subprocess.run(attempt, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces can be made: {tried.stderr.strip()}")
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    pytest.skip("there is no cgroup2 hierarchy that can be written")


def _is_hidden(path: Path) -> bool:
    """Tell whether a directory is in one of those that it has of its own."""
    return path.is_relative_to("/tmp") or path.is_relative_to("/var")


def _furnish(root: Path, visible: Sequence[str]) -> None:
    """Make its directories, and the places for those that are to be seen below /tmp and /var."""
    for name in ("run", "tmp", "var/lib", "var/log", "var/tmp", "etc/systemd/system"):
        (root / name).mkdir(parents=True)
    for name in ("system", "user", "system-generators"):
        (root / "units" / name).mkdir(parents=True)
    there = [f"/etc/{name}" for name in _ETC if os.path.lexists(f"/etc/{name}")]
    copy = ("cp", "-a", *there, str(root / "etc"))
    subprocess.run(copy, check=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/run").symlink_to("/run")
    for path in visible:
        Path(f"{root}{path}").mkdir(parents=True, exist_ok=True)
    for name in _KNOWN:
        shutil.copy(_UNITS / name, root / "units" / name)
    (root / "units/system/test.target").write_text(_TARGET)
    (root / "etc/systemd/journald.conf").write_text(_JOURNAL)


@contextlib.contextmanager
def _ear(root: Path) -> Iterator[socket.socket]:
    """Have the socket to which it says that it has come up, as it does in a container.

    It goes on to tell more, and would wait for ever for one who listens no more, and has not hung up.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(LIMIT)
        told.bind(str(root / "run/ready"))
        yield told


def _remove(cgroup: Path) -> None:
    """Remove a control group, and all below it, when the last process in it has ended."""
    with (cgroup / "cgroup.events").open(encoding="ascii") as events:
        changes = select.poll()
        changes.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            assert changes.poll(LIMIT * 1000), f"there still are processes in {cgroup}"
            events.seek(0)
    for directory, _, _ in os.walk(cgroup, topdown=False):
        Path(directory).rmdir()
