"""pgsupctl check: what it finds wrong is what would keep a server from starting, and it touches nothing."""

from __future__ import annotations

import json
import os
import pwd
import re
from pathlib import Path

from inventories import write
from people import as_root
from pgsupctl import Finished, pgsupctl
from servers import sql

from pgsupervisor.cli.surroundings import lock_removed
from pgsupervisor.postgres import Cluster, Installation
from pgsupervisor.system.delegation import hindrance

OF_THIS_MACHINE = re.compile(r"RemoveIPC|tmpfiles\.d")
"""What remarks have in them that are about the machine that the tests run on."""


def checked(*arguments: str) -> Finished:
    """Run pgsupctl check; what it remarks of this machine is not told."""
    finished = pgsupctl("check", *arguments)
    if "--json" in arguments:
        return finished
    lines = finished.output.splitlines(keepends=True)
    return finished._replace(output="".join(line for line in lines if not OF_THIS_MACHINE.search(line)))


def inventory(directory: Path, installation: Installation, clusters: str) -> str:
    """Write an inventory of clusters that all use `installation`, and return its path."""
    main = f'[installations.pg]\nbindir = "{installation.bindir}"\n[defaults]\ninstallation = "pg"\n{clusters}'
    return write(directory, main)


def test_what_is_well_is_ok(
    installation: Installation, data_directory: Path, short_directory: Path, tmp_path: Path
) -> None:
    """A cluster that can start is ok, and so is one that is still to be made; it is not made by that."""
    absent = short_directory / "absent"
    user = data_directory.owner()
    path = inventory(
        tmp_path,
        installation,
        f'[clusters.shop]\ndata_directory = "{data_directory}"\n'
        f'[clusters.new]\ndata_directory = "{absent}"\ninit = true\nport = 5433\nuser = "{user}"\n',
    )
    assert checked("-c", path) == Finished(0, "shop: ok\nnew: ok\n", "")
    assert not absent.exists()


def test_a_server_that_runs_is_not_in_its_own_way(cluster: Cluster, tmp_path: Path) -> None:
    """The port and the socket of a running server are taken, by itself."""
    cluster.start()
    cluster.wait_until_started(timeout=60)
    path = inventory(tmp_path, cluster.installation, f'[clusters.shop]\ndata_directory = "{cluster.data_directory}"\n')
    assert checked("-c", path) == Finished(0, "shop: ok\n", "")


def test_what_a_running_server_thinks_of_its_files(cluster: Cluster, tmp_path: Path) -> None:
    """A running server is asked about its pg_hba.conf and pg_ident.conf; where it cannot be, that is no problem."""
    cluster.start()
    cluster.wait_until_started(timeout=60)
    name = pwd.getpwuid(os.geteuid()).pw_name if cluster.run_as is None else cluster.run_as.name
    if name != "postgres":
        sql(cluster, f'create role "{name}" superuser login')
    path = inventory(tmp_path, cluster.installation, f'[clusters.shop]\ndata_directory = "{cluster.data_directory}"\n')
    hba, ident = Path(cluster.data_directory, "pg_hba.conf"), Path(cluster.data_directory, "pg_ident.conf")
    ident.write_text("map\n")
    finished = checked("-c", path)
    assert finished.status == 1
    assert finished.output.startswith(f"shop: {ident}:1: ")
    ident.write_text("")
    hba.write_text("local all all trsut\n")
    trsut = f'{hba}:1: invalid authentication method "trsut"'
    assert checked("-c", path) == Finished(1, f"shop: {trsut}\n", "")
    hba.write_text("local all all reject\n")
    cluster.reload()
    rejects = f'pg_hba.conf rejects connection for host "[local]", user "{name}", database "postgres", no encryption'
    unchecked = f"pg_hba.conf and pg_ident.conf were not checked, the running server could not be asked: {rejects}"
    assert checked("-c", path) == Finished(0, f"shop: ok\nshop: {unchecked}\n", "")
    finished = checked("-c", path, "--json")
    assert (finished.status, json.loads(finished.output)["clusters"]) == (
        0,
        [{"name": "shop", "problems": [], "unchecked": unchecked, "rotation": None, "limits": None}],
    )


def test_every_problem_of_every_cluster(
    installation: Installation, data_directory: Path, short_directory: Path, tmp_path: Path
) -> None:
    """One cluster's mistake hides no other's; PostgreSQL itself says what is wrong with a configuration."""
    with (data_directory / "postgresql.conf").open("a") as file:
        file.write("work_memory = 1\n")
    absent = short_directory / "absent"
    (short_directory / "file").touch()
    user = data_directory.owner()
    path = inventory(
        tmp_path,
        installation,
        f'[clusters.shop]\ndata_directory = "{data_directory}"\n'
        f'[clusters.gone]\ndata_directory = "{absent}"\nport = 5433\nuser = "{user}"\n'
        f'[clusters.file]\ndata_directory = "{short_directory}/file"\nport = 5434\nuser = "{user}"\n',
    )
    finished = checked("-c", path)
    assert (finished.status, finished.errors) == (1, "")
    shop, gone, file = finished.output.splitlines()
    assert shop.startswith("shop: ")
    assert 'unrecognized configuration parameter "work_memory"' in shop
    assert gone == f"gone: {absent} does not exist: make it with initdb, or mount it"
    assert file == f"file: {short_directory}/file is not a directory"
    finished = checked("-c", path, "--json")
    told = json.loads(finished.output)
    del told["remarks"]
    assert (finished.status, told) == (
        1,
        {
            "inventory": path,
            "socket": None,
            "clusters": [
                {
                    "name": name,
                    "problems": [line.removeprefix(f"{name}: ")],
                    "unchecked": None,
                    "rotation": None,
                    "limits": None,
                }
                for name, line in (("shop", shop), ("gone", gone), ("file", file))
            ],
        },
    )


@as_root
def test_a_user_whom_nobody_knows(installation: Installation, short_directory: Path, tmp_path: Path) -> None:
    """That there is no such user keeps a cluster from being made; a number is no name."""
    absent = short_directory / "absent"
    for name in ("no-such-user", "0"):
        tables = f'[clusters.new]\ndata_directory = "{absent}"\ninit = true\nuser = "{name}"\n'
        finished = checked("-c", inventory(tmp_path, installation, tables))
        assert (finished.status, finished.errors) == (1, "")
        assert finished.output.startswith(f"new: there is no user {name} on this machine")


def test_a_mistake_in_the_inventory(tmp_path: Path) -> None:
    """The inventory's own mistakes come first: file, key and what is wrong."""
    path = write(tmp_path, '[installations.pg]\nbindir = "/pg"\n[clusters.shop]\nprot = 5433\n')
    finished = checked("-c", path)
    assert (finished.status, finished.output) == (1, "")
    assert finished.errors.startswith(f"pgsupctl: {path}: clusters.shop.prot: ")


def test_there_is_no_inventory(tmp_path: Path) -> None:
    """A file that cannot be read is told as such."""
    finished = checked("-c", str(tmp_path / "inventory.toml"))
    assert (finished.status, finished.output) == (1, "")
    assert finished.errors == f"pgsupctl: {tmp_path}/inventory.toml: does not exist; write it, or name another\n"


def test_limits_that_nobody_could_bring_into_force(
    installation: Installation, data_directory: Path, tmp_path: Path
) -> None:
    """Where this machine cannot limit what a cluster uses, that is said, and is no problem."""
    tables = f'[clusters.shop]\ndata_directory = "{data_directory}"\ncpu_weight = 200\n'
    why = hindrance(frozenset({"cpu"}))
    expected = f"shop: ok\nshop: limits are off: {why}\n" if why else "shop: ok\n"
    assert checked("-c", inventory(tmp_path, installation, tables)) == Finished(0, expected, "")


def test_a_log_that_may_lose_lines(installation: Installation, data_directory: Path, tmp_path: Path) -> None:
    """Where rotating a log is not without danger, that is said, and is no problem; unless it is never rotated."""
    tables = f'[clusters.shop]\ndata_directory = "{data_directory}"\nlogfile = "/dev/shm/shop.log"\n'
    path = inventory(tmp_path, installation, tables)
    danger = "rotating the log may lose lines, as tmpfs cannot take off the beginning of a file (ext4 and xfs can)"
    assert checked("-c", path) == Finished(0, f"shop: ok\nshop: {danger}\n", "")
    (told,) = json.loads(checked("-c", path, "--json").output)["clusters"]
    assert told == {"name": "shop", "problems": [], "unchecked": None, "rotation": danger, "limits": None}
    path = inventory(tmp_path, installation, f"{tables}logfile_maxbytes = 0\n")
    assert checked("-c", path) == Finished(0, "shop: ok\n", "")


def test_whom_allow_names_in_vain(installation: Installation, data_directory: Path, tmp_path: Path) -> None:
    """That nobody can connect whom an `allow` names is said, and is no problem; once all can, nothing is said."""
    cluster = f'[clusters.shop]\ndata_directory = "{data_directory}"\nallow = ["alice"]\n'

    def check(daemon: str, tables: str = cluster) -> tuple[Finished, object]:
        path = inventory(tmp_path, installation, f"{tables}[daemon]\n{daemon}\n")
        finished = checked("-c", path)
        told = json.loads(checked("-c", path, "--json").output)["socket"]
        return finished._replace(output=finished.output.replace(path, "I")), told

    mode = (
        "daemon.socket_mode: 0660 lets in only the daemon's user and the socket's group, and nobody else whom an "
        '`allow` names; "0666" lets in everybody, to do what he may'
    )
    ok = (Finished(0, "shop: ok\n", ""), None)
    assert check("") == (Finished(0, f"shop: ok\nI: {mode}\n", ""), mode)
    assert check("", cluster.replace('"alice"', "")) == ok
    assert check('socket_mode = "0666"\nsocket = "/run/pgsupervisor/control"') == ok
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    outmost = [each for each in (shut, *shut.parents) if not each.stat().st_mode & 0o001][-1]
    closed = f"daemon.socket: {outmost} is closed to others, and so to whomever an `allow` names"
    assert check(f'socket_mode = "0666"\nsocket = "{shut}/sub/control"') == (
        Finished(0, f"shop: ok\nI: {closed}\n", ""),
        closed,
    )


def test_what_is_remarked(
    installation: Installation, data_directory: Path, short_directory: Path, tmp_path: Path
) -> None:
    """A remark says whom it is about; it is no problem."""
    daemon = f'[daemon]\nsocket = "{short_directory}/control"\n'
    path = inventory(tmp_path, installation, f'{daemon}[clusters.shop]\ndata_directory = "{data_directory}"\n')
    remark = lock_removed(f"{short_directory}/control")
    finished = pgsupctl("check", "-c", path)
    assert (finished.status, finished.errors) == (0, "")
    assert f"{path}: {remark}\n" in finished.output
    told = json.loads(pgsupctl("check", "-c", path, "--json").output)["remarks"]
    assert {"cluster": None, "remark": remark} in told
