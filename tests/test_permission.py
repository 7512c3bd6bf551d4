"""What another user may do with a path; the judge is that user's own `test`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.system.permission import may
from pgsupervisor.system.process import user


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that everybody can enter, with a directory and a file in it; only root can make it others'."""
    if os.geteuid() != 0:
        pytest.skip("only root can ask for another user")
    path = Path("/tmp") / tmp_path_factory.mktemp("permission").name
    (path / "inner").mkdir(parents=True)
    path.chmod(0o755)
    (path / "inner/file").touch()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("owner", ["nobody", "root"])
@pytest.mark.parametrize("directory", [0o700, 0o711, 0o755])
@pytest.mark.parametrize("file", [0o600, 0o077, 0o755])
def test_another_user(place: Path, owner: str, directory: int, file: int) -> None:
    """The answer is the kernel's, for each class of user, and each directory on the way counts."""
    nobody = user("nobody")
    for path, mode in ((place / "inner", directory), (place / "inner/file", file)):
        os.chown(path, user(owner).uid, user(owner).gid)
        path.chmod(mode)
    for wanted, test in ((os.R_OK, "-r"), (os.W_OK, "-w"), (os.X_OK, "-x")):
        judge = subprocess.run(
            ["test", test, place / "inner/file"],
            user=nobody.uid,
            group=nobody.gid,
            extra_groups=nobody.groups,
            check=False,
        )
        assert may(nobody, str(place / "inner/file"), wanted) == (judge.returncode == 0)


def test_ourselves(tmp_path: Path) -> None:
    """For ourselves the kernel is asked at once."""
    assert may(None, str(tmp_path), os.W_OK)
    assert not may(None, str(tmp_path / "missing"), os.W_OK)
