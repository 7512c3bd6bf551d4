"""A cluster's configuration, for one who asks: where its settings stand, and a change of them.

What goes wrong here is the administrator's to mend, so all of it is answered in words: a file that cannot be read, a
server that cannot be asked, a value that PostgreSQL refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgsupervisor.control import protocol
from pgsupervisor.control.refusal import RefusalError
from pgsupervisor.errors import ConfigurationError, PgSupervisorError
from pgsupervisor.supervision.configuration import Setting
from pgsupervisor.supervision.kept import Assignments, Kept, Report
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.supervisor import Supervisor


async def settings(kept: Kept, keys: Sequence[str]) -> list[Setting]:
    """Return the settings that `keys` name, in their order; without keys, all that a file sets or that differ.

    Names have no case (guc_name_compare in guc.c). One that nobody knows is a setting without a value, unless the
    server has been asked and does not know it.

    Raises RefusalError.
    """
    try:
        known = await kept.postmaster.configuration.settings()
    except OSError as error:
        raise RefusalError(protocol.CONFIGURATION_NOT_READABLE, why=f"{error.filename}: {error.strerror}") from error
    except PgSupervisorError as error:
        raise RefusalError(protocol.CONFIGURATION_NOT_READABLE, why=str(error)) from error
    if not keys:
        return [each for each in known if each.written is not None or each.differs]
    named = {each.name.lower(): each for each in known}
    if any(each.running is not None for each in known):
        for key in keys:
            if key.lower() not in named:
                raise RefusalError(protocol.UNKNOWN_SETTING, name=key)
    return [named.get(key.lower(), _unset(key)) for key in keys]


async def configure(supervisor: Supervisor, kept: Kept, changes: Assignments, report: Report) -> Outcome:
    """Change settings, have the server take them, and return what came of it.

    Raises RefusalError if they could not be written, or PostgreSQL would not start with them.
    """
    try:
        return await supervisor.configure(kept, changes, report)
    except ConfigurationError as error:
        raise _refused(error.path, error.line, error.why) from error
    except OSError as error:
        raise _refused(str(error.filename or ""), 0, error.strerror or str(error)) from error
    except (PgSupervisorError, ValueError) as error:
        raise _refused("", 0, str(error)) from error


def _unset(name: str) -> Setting:
    return Setting(name, written=None, running=None, path=None, line=None, source=None, pending=False, differs=False)


def _refused(path: str, line: int, why: str) -> RefusalError:
    return RefusalError(protocol.CONFIGURATION_REFUSED, path=path, line=line, why=why)
