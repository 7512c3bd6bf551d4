"""No, in the words of the interface: an error reply, raised wherever it turns out that a call cannot be carried out."""

from __future__ import annotations

from pgsupervisor.control.protocol import Reply


class RefusalError(Exception):
    """Ends a call with an error reply; `error` is its full Varlink name, and `facts` are its parameters."""

    def __init__(self, error: str, **facts: object) -> None:
        super().__init__(error)
        self.reply = Reply(facts, error=error)
