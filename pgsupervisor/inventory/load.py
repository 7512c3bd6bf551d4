"""Reading an inventory: the main file, the files that it includes, and specs made of them.

The order of things: every file is read and must fit the schema, names that two files define are refused,
`[defaults]` is laid under each cluster, names of installations become installations, and at last the clusters are
checked against each other. Whatever is wrong is an InventoryError at the very key that is wrong.
"""

from __future__ import annotations

import glob
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory.check import Configured, check, configured_by_files
from pgsupervisor.inventory.convert import Place, convert
from pgsupervisor.inventory.resolve import Layer, cluster_spec, daemon_spec, installation_spec, layer
from pgsupervisor.inventory.schema import ClusterTable, DefaultsTable, IncludedFile, MainFile
from pgsupervisor.inventory.spec import FrozenMapping, Inventory
from pgsupervisor.paths import DefaultPaths, default_paths
from pgsupervisor.system.safepath import weakness


def load(
    path: str,
    *,
    paths: DefaultPaths | None = None,
    cpus: int | None = None,
    uid: int | None = None,
    configured: Configured = configured_by_files,
) -> Inventory:
    """Read the inventory whose main file is `path`.

    `paths` and `cpus` are what some defaults depend on, and `uid` whom servers can run as: by default those of the user
    and the machine that we are.
    `configured` tells what a cluster's own configuration says, when clusters are checked against each other.

    Raises InventoryError for whatever is wrong, also for a file that cannot be read.
    """
    main = Place(str(Path(path).absolute()))
    us = os.geteuid() if uid is None else uid
    raw = _read(main)
    top = convert(raw, MainFile, main)
    files: list[tuple[Place, IncludedFile]] = [(main, top), *_included(top.include, main)]

    daemon = daemon_spec(
        top.daemon,
        main / "daemon",
        paths or default_paths(us, os.environ),
        cpus or len(os.sched_getaffinity(0)),
    )
    installations = {
        name: installation_spec(name, table, place)
        for name, (place, table) in _named(
            "installations", ((place, file.installations) for place, file in files)
        ).items()
    }
    defaults = _defaults(top.defaults, main / "defaults")
    clusters = []
    for name, (place, table) in _named("clusters", ((place, file.clusters) for place, file in files)).items():
        own = layer(table, ClusterTable, place)
        clusters.append((cluster_spec(name, own, defaults, installations, daemon.log_directory, uid=us), place))
    check(clusters, configured)
    return Inventory(
        path=main.file,
        files=tuple(place.file for place, _ in files),
        daemon=daemon,
        installations=FrozenMapping(installations),
        clusters=FrozenMapping({cluster.name: cluster for cluster, _ in clusters}),
    )


def _read(place: Place) -> dict[str, object]:
    """Read a file as TOML."""
    try:
        if os.geteuid() == 0:
            _refuse_what_others_write(place)
        text = Path(place.file).read_bytes().decode()
    except FileNotFoundError as error:
        raise place.error("does not exist; write it, or name another") from error
    except OSError as error:
        raise place.error(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise place.error(f"line {line}: not UTF-8, which TOML asks for") from error
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise place.error("nested too deeply") from None
    except ValueError as error:  # also for a number of thousands of digits, which is no TOMLDecodeError
        raise _syntax_error(str(error), text, place) from None


def _refuse_what_others_write(place: Place) -> None:
    """Refuse a file through which somebody else could have root do whatever he likes, as sshd(8) does (StrictModes).

    An inventory names programs that we execute, and files that we write. Raises InventoryError, and OSError.
    """
    if (weak := weakness(place.file)) is not None:
        raise place.error(
            f"others could have root do what they like, since {weak.why}; {weak.remedy}, or have it where only root "
            "may write, as in /etc/pgsupervisor"
        )


def _syntax_error(message: str, text: str, place: Place) -> InventoryError:
    """Return tomllib's complaint, which ends in "(at line 3, column 5)" or "(at end of document)", line first."""
    what, _, where = message.partition(" (at ")
    line = re.match(r"line \d+, column \d+", where)
    last = f"line {text.count(chr(10)) + 1}"
    return place.error(f"{line[0] if line else last}: {what}")


def _included(patterns: list[str], main: Place) -> Iterator[tuple[Place, IncludedFile]]:
    """Read the files that the main file includes: pattern after pattern, the files of each sorted by name."""
    directory = Path(main.file).parent
    read = {main.file}
    for index, pattern in enumerate(patterns):
        # Path.glob would take hidden files too, such as the ones that an editor leaves behind.
        found = sorted(glob.glob(pattern, root_dir=directory))
        if not found and not glob.has_magic(pattern):
            raise (main / "include").item(index).error(f"there is no file {directory / pattern}")
        for name in found:
            file = str(directory / name)
            if file not in read:
                read.add(file)
                place = Place(file)
                yield place, _included_file(_read(place), place, main)


def _included_file(raw: Mapping[str, object], place: Place, main: Place) -> IncludedFile:
    only_main = set(MainFile.__struct_fields__) - set(IncludedFile.__struct_fields__)
    for key in raw:
        if key in only_main:
            raise (place / key).error(f"belongs in the main file, {main.file}")
    return convert(raw, IncludedFile, place)


def _defaults(raw: Mapping[str, object], place: Place) -> Layer:
    only_clusters = set(ClusterTable.__struct_fields__) - set(DefaultsTable.__struct_fields__)
    for key in raw:
        if key in only_clusters:
            raise (place / key).error("belongs to one cluster and cannot be a default")
    return layer(raw, DefaultsTable, place)


def _named(key: str, tables: Iterable[tuple[Place, Mapping[str, object]]]) -> dict[str, tuple[Place, object]]:
    """Return the tables `[KEY.NAME]` of all files by name, each with its place.

    Raises InventoryError if two files define the same name.
    """
    named: dict[str, tuple[Place, object]] = {}
    for file, table in tables:
        for name, raw in table.items():
            place = file / key / name
            if name in named:
                raise place.error(f"is defined in {named[name][0].file} already")
            named[name] = (place, raw)
    return named
