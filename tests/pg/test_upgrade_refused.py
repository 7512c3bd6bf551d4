"""A new version that cannot start leaves the old one running, and says why; one that can is another version indeed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemons import ROOT, Site
from machine import NewDataDirectory, make_directory

from pgsupervisor import __version__
from pgsupervisor.control import protocol
from pgsupervisor.errors import RemoteError


class Installed(Site):
    """A site whose daemon runs from a copy of the package, which a test may change."""

    @property
    def package(self) -> Path:
        """The copy."""
        return self.directory / "installed" / "pgsupervisor"

    def install(self) -> None:
        """Run the daemon from a copy."""
        shutil.copytree(ROOT / "pgsupervisor", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        self.launch(through=["env", f"--chdir={self.package.parent}"]).wait_for_log(event="daemon started")

    def refusal(self) -> str:
        """Order an upgrade that is refused, and return why."""
        with pytest.raises(RemoteError) as refused:
            self.call("UpgradeDaemon")
        assert refused.value.name == protocol.UPGRADE_REFUSED
        return str(refused.value.parameters["why"])


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """Have a file that says something else, with another size (Python's caches go by that and the time)."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_text(text)


@pytest.fixture(scope="module")
def installed(new_data_directory: NewDataDirectory) -> Iterator[Installed]:
    """A daemon with a cluster that runs."""
    site = Installed(make_directory(), new_data_directory)
    try:
        site.add("shop")
        site.install()
        site.order("Start", "all")
        yield site
    finally:
        site.close()


@pytest.fixture(autouse=True)
def _untouched(installed: Installed) -> Iterator[None]:
    """After each test the daemon serves, and the server is the same one."""
    pid = installed.pid("shop")
    yield
    assert (installed.call("GetDaemon")["pid"], installed.pid("shop")) == (installed.daemons[-1].pid, pid)


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        ("daemon/service.py", "class Service:", "class Service", "SyntaxError: expected ':'"),
        ("system/watch.py", "import asyncio", "import no_such_module", "No module named 'no_such_module'"),
        ("daemon/handover.py", "FORMAT = 1\n", "FORMAT = 1000\n", "format 1, and format 1000 is understood"),
        ("daemon/main.py", "    try:\n", "    sys.exit(7)\n    try:\n", "it ended with status 7"),
    ],
    ids=["syntax", "import", "format", "exit"],
)
def test_a_version_that_cannot_start(installed: Installed, file: str, old: str, new: str, why: str) -> None:
    """What is wrong with the new version is told, and logged."""
    with changed(installed.package / file, old, new):
        told = installed.refusal()
    assert told.startswith("the installed version would not start: ")
    assert why in told
    installed.daemons[-1].wait_for_log(event="upgrade refused", reason=told)


def test_an_inventory_that_does_not_load(installed: Installed) -> None:
    """An inventory with a mistake is told with file and key; pgsupctl ends with 1."""
    with changed(installed.inventory, "port = 6000", "port = 'many'"):
        finished = installed.pgsupctl("daemon", "upgrade")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert f"{installed.inventory}: clusters.shop.port: " in finished.stderr
    assert finished.stderr.endswith("; the running version goes on\n")


def test_an_inventory_that_is_not_applied(installed: Installed) -> None:
    """An upgrade is no update: what has changed is to be applied before."""
    with changed(installed.inventory, "port = 6000", "port = 6001"):
        assert (
            installed.refusal()
            == f"{installed.inventory} has changes that are not applied; run `pgsupctl update` first"
        )


def test_two_at_once(installed: Installed) -> None:
    """Of two upgrades at once, one is refused; and it is the installed version that runs afterwards."""

    def upgrade() -> object:
        try:
            return installed.call("UpgradeDaemon")
        except RemoteError as refused:
            return refused.parameters["why"]

    version = f'__version__ = "{__version__}"'
    with changed(installed.package / "__init__.py", version, '__version__ = "99.0.0"'), ThreadPoolExecutor() as both:
        calls = [both.submit(upgrade) for _ in range(2)]
        told = [call.result() for call in calls]
        pid = installed.daemons[-1].pid
        assert {"was": __version__, "version": "99.0.0", "pid": pid} in told
        assert "another upgrade is under way; see what comes of that" in told
        assert installed.call("GetDaemon")["version"] == "99.0.0"
        installed.daemons[-1].wait_for_log(event="daemon upgraded", was=__version__, now="99.0.0")
