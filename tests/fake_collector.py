"""A logging collector for the tests: files that are begun, written, and named in current_logfiles, in its order."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO


class FakeCollector:
    """Writes log files below a data directory, as syslogger.c does; `path` is the one that it writes to."""

    def __init__(self, data_directory: Path, kind: str = "stderr") -> None:
        self._data_directory = data_directory
        self._kind = kind
        self._file: BinaryIO | None = None
        self._finished = 0
        (data_directory / "log").mkdir(exist_ok=True)

    @property
    def path(self) -> str:
        """The absolute path of its file."""
        assert self._file is not None
        return str(self._file.name)

    def begin(self, name: str, text: bytes = b"", *, truncate: bool = False) -> str:
        """Begin another file, or one of the same name anew, and write to that; return its path."""
        path = self._data_directory / "log" / name
        self.close()
        self._file = path.open("wb" if truncate else "ab", buffering=0)
        new = self._data_directory / "current_logfiles.tmp"
        new.write_text(f"{self._kind} log/{name}\n")
        new.rename(self._data_directory / "current_logfiles")
        self.write(text)
        return str(path)

    def write(self, text: bytes) -> None:
        """Write into its file."""
        assert self._file is not None
        if text:
            self._file.write(text)

    def end(self) -> None:
        """Be no more, as before a server that is started without a collector."""
        self.close()
        (self._data_directory / "current_logfiles").unlink()

    def close(self) -> None:
        """Be done with its file."""
        if self._file is not None:
            self._file.close()
            with contextlib.suppress(FileNotFoundError):
                # What a test finishes in one moment, others do one after the other.
                self._finished += 1
                finished = os.stat(self.path).st_mtime_ns + self._finished
                os.utime(self.path, ns=(finished, finished))
            self._file = None
