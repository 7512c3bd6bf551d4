"""Hosts many PostgreSQL clusters on one machine.

The package has rooms, and imports go one way (`tests/test_layers.py` holds them to it):

- `pgsupervisor.postgres` is what PostgreSQL is: a public library, usable without the daemon.
- `pgsupervisor.system` is what Linux is; it knows no word of PostgreSQL.
- `pgsupervisor.inventory` is what the administrator wants, read from TOML into frozen values.
- `pgsupervisor.supervision` is the heart: a pure state machine, and one keeper per cluster.
- `pgsupervisor.control` is the door: the wire, who may use it, the server and the client.
- `pgsupervisor.cli` is `pgsupctl`; `pgsupervisor.daemon` is `pgsupervisord`, which wires all of it together.
"""

__version__ = "0.1.0"
