"""Where the configuration of a server comes from, and what its files say now.

A reload reads more than postgresql.conf: all that it includes, postgresql.auto.conf, pg_hba.conf and pg_ident.conf
with their own includes and lists, and with TLS the certificates and keys (PostgreSQL manual, "File Locations" and
"Secure TCP/IP Connections with SSL"). Whoever wants to know whether a reload would change anything compares what all
of them say with what they said before, and a change of one may bring others into it.

So `read` tells all at once, as a value that can be compared: of each file the digest of its content, or why it has
none. It is content that counts and not the time of the last change: to save the same bytes changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgsupervisor.postgres import authfile, configtree
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.quantity import same
from pgsupervisor.system.guarded import Allowance

_TLS_FILES = {
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "",
    "ssl_crl_file": "",
    "ssl_dh_params_file": "",
}
"""The settings that name a file of TLS's, and what they are by default. They are relative to the data directory."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a server's configuration comes from, and what it says.

    `digests` has every file that has a part in it, by its absolute path and in the order of reading: a digest of
    its content, or a word for why there is none ("missing", "not a file", "unreadable: Permission denied",
    "large: ..."). In `directories` any new file may come to have a part in it. `settings` is what the files set, by
    name: of each setting the value that counts.
    """

    digests: Mapping[str, str]
    directories: tuple[str, ...]
    settings: Mapping[str, str]


def read(
    data_directory: str, *, major: int, config_file: str | None, given: Settings, also: Iterable[str] = ()
) -> Sources:
    """Read all that a server of PostgreSQL `major` on a data directory is configured by.

    It has the `config_file` (None: in the data directory), and `given` are the settings on its command line, which
    win over the files. `also` are more files to read as pg_hba.conf or pg_ident.conf, such as the one that a server
    keeps until its restart.

    Never raises for what the file system says, nor waits for a file that is none.
    """
    data_directory = os.path.abspath(data_directory)
    files = _Files(configtree.LIMIT)
    main, automatic = _settings_files(data_directory, config_file)
    configuration = configtree.read(main, automatic, forgiving=True, allowance=files)
    settings = {name: assignment.value for name, assignment in configuration.effective().items()}
    effective = settings | {name.lower().replace("-", "_"): value for name, value in given.items()}
    directories = dict.fromkeys(configuration.directories)
    rules = [authfile.rules_file(part, data_directory, effective.get(f"{part}_file")) for part in authfile.RULES]
    for path in dict.fromkeys([*rules, *also]):
        directories |= dict.fromkeys(authfile.read(path, major, files).directories)
    if same(effective.get("ssl", "off"), "on", None, "bool"):
        directories |= dict.fromkeys(_read_tls(data_directory, effective, files))
    return Sources(files.digests, tuple(directories), settings)


def usual(data_directory: str, config_file: str | None) -> tuple[str, ...]:
    """Return the absolute paths of the files that have a part if none of them says otherwise; as initdb makes them."""
    data_directory = os.path.abspath(data_directory)
    rules = (authfile.rules_file(part, data_directory, None) for part in authfile.RULES)
    return (*_settings_files(data_directory, config_file), *rules)


def _settings_files(data_directory: str, config_file: str | None) -> tuple[str, str]:
    main = os.path.abspath(config_file or os.path.join(data_directory, "postgresql.conf"))
    return main, os.path.join(data_directory, "postgresql.auto.conf")


class _Files(Allowance):
    """Reads files, and keeps the digest of each; of one that is too large, only its size and time are known."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.digests: dict[str, str] = {}

    def content_of(self, path: str) -> bytes:
        """Return the content of a file; raises OSError where it has none for us."""
        try:
            content = super().content_of(path)
        except OSError as error:
            self.digests[path] = _word(path, error)
            raise
        self.digests[path] = hashlib.blake2b(content, digest_size=16).hexdigest()
        return content


def _word(path: str, error: OSError) -> str:
    """Return what to say of a file instead of a digest."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "missing"
        case errno.EISDIR | errno.EINVAL:
            return "not a file"
        case errno.EFBIG:
            try:
                facts = os.stat(path)
            except OSError as gone:
                return _word(path, gone)
            return f"large: {facts.st_size} bytes, {facts.st_ino}, {facts.st_mtime_ns}"
        case _:
            return f"unreadable: {error.strerror}"


def _read_tls(data_directory: str, effective: Settings, files: _Files) -> list[str]:
    """Read the certificates and keys, and return the directory of revocation lists, if there is one."""
    named = [effective.get(name, default) for name, default in _TLS_FILES.items()]
    paths = [os.path.join(data_directory, name) for name in named if name]
    directories = []
    if effective.get("ssl_crl_dir"):
        directory = os.path.join(data_directory, effective["ssl_crl_dir"])
        directories.append(directory)
        with contextlib.suppress(OSError):
            paths += sorted(os.path.join(directory, entry.name) for entry in files.entries_of(directory))
    for path in paths:
        with contextlib.suppress(OSError):
            files.content_of(path)
    return directories
