"""Who may import whom: the direction of the house, enforced.

A rule names a module or a package, and holds for everything below it that has no rule of its own.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pgsupervisor"

RULES: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "escaping": set(),
    "paths": {"shapes"},
    "quantities": set(),
    "shapes": set(),
    "values": set(),
    "system": {"system", "errors", "values"},
    "postgres": {"postgres", "system", "errors", "values"},
    # Checking an inventory for two clusters in one place takes what the clusters' own files say.
    "inventory": {"inventory", "postgres", "system", "errors", "paths", "quantities", "values"},
    "supervision": {"supervision", "inventory.spec", "errors", "values"},
    "supervision.configuration": {"values"},
    "supervision.life": {"supervision.configuration", "values"},
    "supervision.machine": {"supervision.life", "supervision.transitions"},
    "supervision.transitions": {"supervision.life"},
    "supervision.outcome": {"supervision.configuration", "supervision.life", "values"},
    "supervision.resumption": {"supervision.life"},
    "supervision.plan": {"inventory.spec", "values"},
    "supervision.gate": set(),
    "supervision.events": {"values"},
    "control": {"control", "supervision", "inventory.spec", "system", "errors", "values", ""},
    "control.client": {"control.protocol", "errors", "shapes"},
    "control.protocol": {"errors", "shapes"},
    "cli": {"cli", "control.client", "control.protocol", "errors", "escaping", "paths", "quantities", "shapes", ""},
    # The one command that asks no daemon. It is imported only when it is the command (`cli.main`).
    "cli.check": {"cli", "inventory", "postgres", "system", "errors", "escaping", "paths"},
    "cli.surroundings": {"inventory", "postgres", "system", "errors"},
    # Another one, imported only when it is what `pgsupctl daemon` shall do.
    "cli.install": {"system", "errors", "escaping", "paths", "shapes", ""},
    "daemon": {
        "daemon",
        "control",
        "supervision",
        "inventory",
        "postgres",
        "system",
        "errors",
        "escaping",
        "paths",
        "values",
        "",
    },
    "__main__": {"daemon.main"},
}
"""What each part may import of the rest of the package; "" is the package itself, which has the version."""

LAZILY: dict[str, set[str]] = {"cli": {"postgres", "inventory"}}
"""What each part may import inside functions besides."""

OTHERS: dict[str, set[str]] = {
    "": set(),
    "system": {"psutil", "watchdog"},
    "postgres": {"psutil"},
    "inventory": {"msgspec"},
    "control.parameters": {"msgspec"},
    "daemon": {"structlog"},
    "daemon.handover": {"msgspec"},
}
"""What each part may import besides the standard library."""

PURE = [
    f"supervision.{name}"
    for name in ("configuration", "life", "machine", "outcome", "plan", "resumption", "transitions")
]
"""Modules that know no clock, file, process, task or logger."""

PURE_MAY = {"__future__", "collections", "dataclasses", "enum", "signal", "typing"}
"""What pure modules may import of the standard library; of `signal` it is the names."""

CLIENT = ("cli", "control.client", "control.protocol", "errors", "escaping", "paths", "quantities", "shapes")
"""What a start of the client may import of ours."""

POSTGRESQL = ["postgres", "postmaster", "pg_", "psql"]


@dataclass(frozen=True)
class Import:
    """An import in `importer`; `name` is dotted, without the package's name where it is one of ours."""

    importer: str
    name: str
    ours: bool
    lazy: bool


@cache
def _modules() -> dict[str, ast.Module]:
    """Return all modules by their dotted names within the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


@cache
def _imports() -> tuple[Import, ...]:
    return tuple(each for name, tree in _modules().items() for each in _imports_in(name, tree, lazy=False))


def _imports_in(importer: str, node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield _import(importer, alias.name, lazy=lazy)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0
            for alias in child.names:
                yield _import(importer, f"{child.module}.{alias.name}", lazy=lazy)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports_in(importer, child, lazy=lazy or function)


def _import(importer: str, name: str, *, lazy: bool) -> Import:
    """Return an import of the module that `name` is, or is in."""
    package, _, rest = name.partition(".")
    if package != PACKAGE.name:
        return Import(importer, package, ours=False, lazy=lazy)
    while rest not in _modules():
        rest = rest.rpartition(".")[0]
    return Import(importer, rest, ours=True, lazy=lazy)


def _rule(rules: dict[str, set[str]], module: str) -> set[str]:
    """Return the rule of a module or of the nearest package above it."""
    while module not in rules and module:
        module = module.rpartition(".")[0]
    return rules.get(module, set())


def _allows(allowed: set[str], name: str) -> bool:
    return any(name == each or (each and name.startswith(f"{each}.")) for each in allowed)


def test_the_walk_sees_imports() -> None:
    """The walk finds modules, imports at the top and in functions, and which module a name is in."""
    assert {Import("supervision.machine", "supervision.life", ours=True, lazy=False)} <= set(_imports())
    assert {Import("control.server", "", ours=True, lazy=False)} <= set(_imports())
    assert {Import("control.server", "control.protocol", ours=True, lazy=False)} <= set(_imports())
    assert {Import("daemon.main", "daemon.demo", ours=True, lazy=True)} <= set(_imports())
    assert {Import("system.process", "psutil", ours=False, lazy=False)} <= set(_imports())


@pytest.mark.parametrize("module", _modules())
def test_direction(module: str) -> None:
    """Each module imports only what is below it."""
    allowed = _rule(RULES, module)
    lazily = allowed | _rule(LAZILY, module)
    wrong = [
        each
        for each in _imports()
        if each.importer == module and each.ours and not _allows(lazily if each.lazy else allowed, each.name)
    ]
    assert wrong == []


def test_every_module_has_a_rule() -> None:
    """A new package cannot be forgotten, and a rule does not outlive what it is about."""
    tops = {module.partition(".")[0] for module in _modules()}
    assert tops <= RULES.keys()
    assert (RULES.keys() | OTHERS.keys() | set(PURE)) <= _modules().keys()


@pytest.mark.parametrize("module", _modules())
def test_other_packages(module: str) -> None:
    """What is not of the standard library is used in few places; the library is free of the daemon's."""
    others = {each.name for each in _imports() if each.importer == module and not each.ours}
    assert others - sys.stdlib_module_names <= _rule(OTHERS, module)


@pytest.mark.parametrize("module", PURE)
def test_pure_modules(module: str) -> None:
    """The machine and its words know no clock, file, process, task or logger."""
    assert {each.name for each in _imports() if each.importer == module and not each.ours} <= PURE_MAY


@pytest.mark.parametrize("module", sorted(name for name in _modules() if _allows(set(CLIENT), name)))
def test_the_client_has_no_use_for_typing(module: str) -> None:
    """What `typing` is needed for is in `shapes`, and the rest of it is for type checkers alone."""
    body = [node for node in _modules()[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in body if "typing" in ast.unparse(node)] == []


def test_supervision_does_nothing_itself() -> None:
    """What a keeper does to a postmaster goes through its Protocol: no files, processes or threads."""
    used = {each.name for each in _imports() if each.importer.startswith("supervision") and not each.ours}
    assert used.isdisjoint({"os", "pathlib", "subprocess", "threading", "time", "random", "logging", "socket"})


def test_only_the_daemon_imports_the_daemon() -> None:
    """Nobody needs the composition root: what is needed of it elsewhere does not belong there."""
    importers = {
        each.importer
        for each in _imports()
        if each.ours and each.name.startswith("daemon") and not each.importer.startswith("daemon")
    }
    assert importers <= {"__main__", "cli.check"}


def test_no_cycles() -> None:
    """No module needs, even in a roundabout way, one that needs it."""
    graph = {name: {each.name for each in _imports() if each.ours and each.importer == name} for name in _modules()}
    assert set(TopologicalSorter(graph).static_order()) == set(graph)


@pytest.mark.parametrize("path", sorted((PACKAGE / "system").glob("*.py")), ids=lambda path: path.name)
def test_system_does_not_know_postgresql(path: Path) -> None:
    """What Linux is, is said without a word of PostgreSQL's."""
    text = path.read_text(encoding="utf-8").lower()
    assert [word for word in POSTGRESQL if word in text] == []
