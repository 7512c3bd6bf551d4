"""Our programs, run by an ordinary user: `python as_user.py USER PROGRAM ARGUMENT...`, as root.

Python itself, and all that the programs import, is often where root alone may go. So both are in memory before the
process becomes the user's, for good.
"""

from __future__ import annotations

import codecs
import ctypes
import importlib
import os
import pwd
import sys

import pgsupervisor.cli.main
import pgsupervisor.daemon.main
from pgsupervisor.cli.arguments import COMMANDS

PROGRAMS = {"pgsupervisord": pgsupervisor.daemon.main.main, "pgsupctl": pgsupervisor.cli.main.main}

_PR_SET_DUMPABLE = 4


def become(name: str) -> None:
    """Become a user, with all groups that he is in, and nothing of what we may do."""
    entry = pwd.getpwnam(name)
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    # What was another's is root's in /proc (proc(5)), until a program is executed.
    assert ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0) == 0


if __name__ == "__main__":
    for encoding in ("ascii", "idna", "latin-1"):
        codecs.lookup(encoding)
    for command in COMMANDS.values():
        importlib.import_module(f"pgsupervisor.cli.{command.module}")
    user, program, *arguments = sys.argv[1:]
    become(user)
    sys.exit(PROGRAMS[program](arguments))
