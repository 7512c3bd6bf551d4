"""A life that another process has led until now. It goes on as it is, but for what was cut off there."""

from __future__ import annotations

from pgsupervisor.supervision.life import Action, Life, Spawn, State, TellToReload


def cut_off(life: Life) -> tuple[Action, ...]:
    """Return what was under way in a life when its process was replaced, and is to be done again.

    A start that waited for its turn; and a reload, since nobody knows any more what came of it.
    """
    if life.state is State.STARTING and life.pid is None:
        return (Spawn(),)
    return (TellToReload(),) if life.reloading else ()
