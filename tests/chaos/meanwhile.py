"""What goes on in a thread while something else happens."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Meanwhile(ABC):
    """Goes on, in a thread, as long as it is entered; `_end` is set when it is to be over."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    @abstractmethod
    def _go_on(self) -> None:
        """Do something until the end."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
