"""What answers at a server's socket need be no server: then that is said, and nothing is made of it."""

from __future__ import annotations

import json

import pytest

from pgsupervisor.errors import ProbeError
from pgsupervisor.postgres.probe import Inspection, Mistake, inspection

SETTINGS: list[list[object]] = [
    [name, f"/data/{name}", None, None, "string", "default", False]
    for name in ("config_file", "data_directory", "hba_file", "ident_file")
]
HBA = {"count": 1, "mistakes": None}


def printed(**answers: object) -> str:
    """Return what psql prints of answers."""
    return "".join(json.dumps({name: answer}) + "\n" for name, answer in answers.items())


def test_a_server() -> None:
    """A server's settings are told, and what is wrong with its files; of a file as a whole, no line is told."""
    rows = [[None, None, None, None, False, 'could not open configuration file "/data/x"', None]]
    found = inspection(printed(settings=SETTINGS, written=rows, hba=HBA), "")
    assert isinstance(found, Inspection)
    assert found.settings["hba_file"].value == "/data/hba_file"
    why = 'could not open configuration file "/data/x"'
    assert found.mistakes == (Mistake("settings", "/data/config_file", 0, why),)


def test_half_an_answer() -> None:
    """Where something is missing, psql has said why."""
    assert inspection(printed(settings=SETTINGS), "") is None


@pytest.mark.parametrize("why", ["", "out of memory"])
def test_rules_that_cannot_be_asked_for(why: str) -> None:
    """Why the server could not say what it makes of its rules is told, if it says why."""
    with pytest.raises(ProbeError, match=f"^{why}$"):
        inspection(printed(settings=SETTINGS, written=None, hba={"failed": why}), "")


@pytest.mark.parametrize(
    "answered",
    [
        "hello\n",
        "[]\n",
        "[" * 5000,
        printed(settings=SETTINGS[1:], written=None, hba=HBA),
        printed(settings=None, written=None, hba=HBA),
        printed(settings=[*SETTINGS, ["a", "x", "1", "kB", "integer", "default", False]], written=None, hba=HBA),
        printed(settings=[*SETTINGS, ["a", "5e-324", "1", "B", "real", "default", False]], written=None, hba=HBA),
        printed(settings=[*SETTINGS, ["a", "1", "1", "mice", "integer", "default", False]], written=None, hba=HBA),
        printed(
            settings=[*SETTINGS, ["log_file_mode", "x", "1", None, "integer", "default", False]], written=[], hba=HBA
        ),
        printed(settings=[["a"]], written=None, hba=HBA),
        printed(settings=SETTINGS, written=[[]], hba=HBA),
        printed(settings=SETTINGS, written=None, hba={}),
        printed(settings=SETTINGS, written=None, hba={"failed": 1}),
        printed(settings=SETTINGS, written=None, hba=HBA, ident=[]),
    ],
)
def test_no_server(answered: str) -> None:
    """Whatever else answers, it is told for what it is."""
    with pytest.raises(ProbeError, match="is no server of PostgreSQL's"):
        inspection(answered, "")
