"""All that a process of Python gives to the programs that it runs, as Python itself tells of it (sys.addaudithook).

A directory is put into PYTHONPATH, whose `sitecustomize` writes down the arguments and the environment of each.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_LISTENER = """
import json, os, sys

def listen(event, about):
    if event == "subprocess.Popen":
        _, arguments, _, environment = about
        with open({path!r}, "a") as file:
            print(json.dumps([list(map(os.fsdecode, arguments)), environment]), file=file)

sys.addaudithook(listen)
"""


class Overheard:
    """What was given to programs; `environment` is what a process of Python needs to be overheard."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o755)
        self._path = directory / "programs"
        self.environment = {"PYTHONPATH": str(directory)}
        (directory / "sitecustomize.py").write_text(_LISTENER.format(path=str(self._path)), encoding="utf-8")

    @property
    def programs(self) -> list[tuple[list[str], dict[str, str]]]:
        """The arguments and the environment of each program."""
        return [tuple(json.loads(line)) for line in self._path.read_text(encoding="utf-8").splitlines()]

    @property
    def names(self) -> set[str]:
        """The names of the programs."""
        return {os.path.basename(arguments[0]) for arguments, _ in self.programs}
