"""pgsupctl daemon install: make this installation a service of systemd's, of the whole system or of one user.

The unit files come with the package, and say /usr/bin; what is written says where this installation is, as a virtual
environment has its programs elsewhere. A line at the beginning has the digest of all that follows. By that, a file that
is as we wrote it is told from one that an administrator has changed, or written: such a one is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from argparse import Namespace

import pgsupervisor
from pgsupervisor.errors import ServiceError
from pgsupervisor.escaping import escape
from pgsupervisor.paths import UNIT, default_inventory_path, user_unit_path
from pgsupervisor.shapes import NamedTuple
from pgsupervisor.system.rewrite import put
from pgsupervisor.system.safepath import weakness

_SYSTEM_UNIT = f"/etc/systemd/system/{UNIT}"

_PROGRAMS = ("pgsupervisord", "pgsupctl")

_MARK = "# Written by `pgsupctl daemon install`; sha256 of what follows: "

_PLAIN = re.compile(r"/[A-Za-z0-9/._+-]+")
"""A path that neither systemd nor a shell reads as anything else."""


class Service(NamedTuple):
    """What is to be installed: the unit's path and text, the inventory's path, and how systemctl is called."""

    path: str
    text: str
    inventory: str
    systemctl: str

    @property
    def commands(self) -> tuple[str, str]:
        """What an administrator does next."""
        return f"{self.systemctl} daemon-reload", f"{self.systemctl} enable --now {UNIT}"


def install(arguments: Namespace) -> int:
    """Write the unit and make the directory of the inventory, or, with --dry-run, show it; say what to do next."""
    if not arguments.user and not arguments.dry_run and os.geteuid() != 0:
        raise ServiceError(f"only root can write {_SYSTEM_UNIT}; be root, or have a service of your own with --user")
    service = _service(user=bool(arguments.user))
    if arguments.dry_run:
        print(json.dumps({**_told(service), "text": service.text}) if arguments.json else _shown(service))
        return 0
    try:
        written = _write(service)
    except OSError as error:
        raise ServiceError(f"cannot write {error.filename or service.path}: {error.strerror}") from error
    print(json.dumps({**_told(service), "written": written}) if arguments.json else _next(service, written=written))
    return 0


def _service(*, user: bool) -> Service:
    programs = _programs()
    if not user:
        _check_safety(programs)
        return Service(_SYSTEM_UNIT, _rendered(UNIT, programs), default_inventory_path(0, {}), "systemctl")
    if os.geteuid() == 0:
        raise ServiceError("root's daemon is a service of the system: leave out --user")
    text = _rendered(os.path.join("user", UNIT), programs)
    uid = os.geteuid()
    path, inventory = user_unit_path(uid, os.environ), default_inventory_path(uid, os.environ)
    return Service(path, text, inventory, "systemctl --user")


def _programs() -> str:
    """Return the directory of this installation's programs: beside its Python, or where we were called from."""
    beside = os.path.dirname(sys.executable)
    for directory in (beside, os.path.dirname(os.path.abspath(sys.argv[0]))):
        if all(os.access(os.path.join(directory, program), os.X_OK) for program in _PROGRAMS):
            if not _PLAIN.fullmatch(directory):
                raise ServiceError(
                    f"a unit cannot name programs in {directory}: systemd would misread it; install pgsupervisor in a "
                    "directory whose path has but letters, digits and . _ + -"
                )
            return directory
    raise ServiceError(f"there is no {' and no '.join(_PROGRAMS)} in {beside}; install pgsupervisor with pip")


def _check_safety(programs: str) -> None:
    """See that nobody but root can change what root will execute."""
    for path in (*(os.path.join(programs, program) for program in _PROGRAMS), sys.executable, _package()):
        if (weak := weakness(path, whose=0)) is not None:
            raise ServiceError(
                f"others could exchange {path}, which root would execute, since {weak.why}; {weak.remedy}, "
                "or install pgsupervisor in another place, such as /opt/pgsupervisor"
            )


def _package() -> str:
    return os.path.dirname(os.path.abspath(pgsupervisor.__file__))


def _rendered(name: str, programs: str) -> str:
    """Return the text of a unit for the programs in that directory, with the mark before it."""
    # A wheel has the units within the package (see pyproject.toml), a checkout beside it.
    inside, beside = os.path.join(_package(), "units", name), os.path.join(_package(), "..", "systemd", name)
    with open(inside if os.path.exists(inside) else beside, encoding="utf-8") as file:
        text = file.read()
    for program in _PROGRAMS:
        text = text.replace(f"/usr/bin/{program}", os.path.join(programs, program))
    return _marked(text)


def _marked(text: str) -> str:
    return f"{_MARK}{_digest(text)}\n{text}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _write(service: Service) -> bool:
    """Make what is not there yet; return whether the unit was not as it should be.

    Raises ServiceError if it is not as we wrote it, and OSError.
    """
    there = _read(service.path)
    if there is not None and not _is_ours(there):
        raise ServiceError(
            f"{service.path} is not as `pgsupctl daemon install` writes it, and is left alone; keep changes in a "
            f"drop-in (`{service.systemctl} edit {UNIT}`), move that file away, and try again"
        )
    for path in (service.path, service.inventory):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    if there == service.text:
        return False
    put(service.path, service.text.encode(), 0o644)
    return True


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        # A link that leads nowhere is somebody's decision as well.
        return "" if os.path.islink(path) else None


def _is_ours(text: str) -> bool:
    return text == _marked(text.partition("\n")[2])


def _told(service: Service) -> dict[str, object]:
    return {"unit": service.path, "inventory": service.inventory, "commands": service.commands}


def _shown(service: Service) -> str:
    return f"{escape(service.path)} would be:\n\n{service.text}\nThen would follow:\n{_commands(service)}"


def _next(service: Service, *, written: bool) -> str:
    lines = [f"{escape(service.path)} is {'written' if written else 'as it should be'}."]
    if not os.path.exists(service.inventory):
        path = escape(service.inventory)
        lines.append(f"There is no inventory yet: write {path} first, and try it with `pgsupctl check`.")
    return "\n".join([*lines, "Now do:", _commands(service)])


def _commands(service: Service) -> str:
    return "\n".join(f"  {command}" for command in service.commands)
