"""The server is the judge of what the inventory makes of settings, ports and socket directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from inventories import PG, load_fixed, write

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import ClusterSpec, load
from pgsupervisor.postgres import command
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run


def _server_says(installation: Installation, user: User | None, cluster: ClusterSpec, name: str) -> str:
    """Ask `postgres -C` what a server that is started so takes a setting to be."""
    finished = run(
        command.setting_command(
            installation.require("postgres"), cluster.data_directory, name, settings=cluster.settings
        ),
        environment=command.environment(os.environ, run_as=user, extra=cluster.environment),
        run_as=user,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.rstrip("\n")


def test_settings_are_spelled_as_the_server_reads_them(
    installation: Installation, data_directory: Path, server_user: User | None, tmp_path: Path
) -> None:
    """A boolean, a number or a string of TOML reaches the server as the value that was meant."""
    path = write(
        tmp_path,
        f'{PG}[clusters.shop]\ninstallation = "pg"\ndata_directory = "{data_directory}"\n[clusters.shop.settings]\n'
        "fsync = true\nenable_seqscan = false\nmax_connections = 7\nseq_page_cost = 0.5\nrandom_page_cost = 1e-5\n"
        "Work_Mem = '2MB'\nmy.Text = \"it's = \\\\ # 1\"\n",
    )
    cluster = load_fixed(path).clusters["shop"]
    assert {name: _server_says(installation, server_user, cluster, name) for name in cluster.settings} == {
        "fsync": "on",
        "enable_seqscan": "off",
        "max_connections": "7",
        "seq_page_cost": "0.5",
        "random_page_cost": "1e-05",
        "work_mem": "2048",
        "my.text": "it's = \\ # 1",
    }


@pytest.mark.parametrize(
    ("keys", "conf", "auto_conf"),
    [
        ("", "", ""),
        ("environment = { PGPORT = '5001' }", "", ""),
        ("environment = { PGPORT = '5001' }", "port = 5002\n", ""),
        ("environment = { PGPORT = '5001' }", "port = 5002\n", "port = '5003'\n"),
    ],
)
def test_a_port_is_looked_for_as_the_server_does(
    installation: Installation,
    data_directory: Path,
    server_user: User | None,
    tmp_path: Path,
    *,
    keys: str,
    conf: str,
    auto_conf: str,
) -> None:
    """The port that is compared is the one that the server would take: a cluster with that very port is refused."""
    with (data_directory / "postgresql.conf").open("a") as file:
        file.write(conf)
    with (data_directory / "postgresql.auto.conf").open("a") as file:
        file.write(auto_conf)
    shop = f'{PG}[clusters.shop]\ninstallation = "pg"\ndata_directory = "{data_directory}"\n{keys}\n'
    cluster = load(write(tmp_path, shop)).clusters["shop"]
    port = _server_says(installation, server_user, cluster, "port")
    sockets = _server_says(installation, server_user, cluster, "unix_socket_directories")
    whose = "" if server_user is None else f'user = "{server_user.name}"\n'
    other = (
        f'[clusters.other]\n{whose}installation = "pg"\ndata_directory = "x"\nport = {port}\n'
        f"settings.unix_socket_directories = '{sockets}'\n"
    )
    with pytest.raises(InventoryError, match=rf"the port {port} in {sockets} is taken by the cluster \"shop\""):
        load(write(tmp_path, shop + other))
