"""The configuration files of one cluster: watched, and told of when they say something else than the server was told.

Not events are what counts but contents. An editor writes a backup, a temporary file and a rename; `touch` and a rewrite
of the same bytes change nothing. So whatever happens to a name that has a part in the configuration only starts a wait
for quiet, and what is read then is compared with what the server was told last.

Which names have a part is found in the files themselves, and changes with them. So what was read counts only if it was
watched by then, and what changes after that is heard; what turns up as new is watched, and all is read again. As a rule
nothing does: a server that is started again has the same files, and where initdb has put them is known.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from pgsupervisor.daemon.installations import Installations
from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import sources
from pgsupervisor.postgres.owner import as_owner
from pgsupervisor.postgres.sources import Sources
from pgsupervisor.system.trail import Place, Seen, trail, trail_into
from pgsupervisor.system.watch import Watch, Watcher
from pgsupervisor.values import frozen

_PATIENCE = 10
"""How many times the quiet time a change waits at most, while others follow it."""

_ROUNDS = 5
"""How often files are read over again because they lead to others. Events tell of what changes faster than that."""

_MOST_NAMES = 10_000
"""Names in the paths of all places that are watched for one cluster. For each of them the event loop is kept, and who
owns the files can have them lead through as many directories as he likes."""

_NEWEST = 1000
"""The major version of a PostgreSQL that cannot be found: one that knows every way to include a file."""


def quiet_at(first: float, last: float, delay: float) -> float:
    """Return when there has been quiet for `delay` after the `last` of several changes, all in seconds of one clock.

    Whoever never pauses is not waited for: some time after the `first`, it is enough.
    """
    return min(last + delay, first + _PATIENCE * delay)


def _affordable(places: Iterable[Place]) -> tuple[tuple[Place, ...], bool]:
    """Return the first of some places, as many as are watched, and whether these are all."""
    found: dict[Place, None] = {}
    names = 0
    for place in places:
        if place in found:
            continue
        names += place.directory.count("/") + 1
        if names > _MOST_NAMES:
            return tuple(found), False
        found[place] = None
    return tuple(found), True


def _others(paths: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return those of some paths that lead to none of the known files; in a thread."""
    files = {os.path.realpath(path) for path in known}
    return tuple(path for path in paths if os.path.realpath(path) not in files)


@frozen
class Picture:
    """What the files say, the places that have a part in that, and whether these are the `whole`.

    If it is `heard`, whatever has changed since it was taken is told.
    """

    sources: Sources
    places: tuple[Place, ...]
    whole: bool
    heard: bool


class Reading:
    """One reading of a cluster's files: `look` at them in a thread, and `watch` in the loop, until all is `heard`."""

    def __init__(self, files: ConfigurationFiles) -> None:
        self.picture: Picture | None = None
        self._files = files
        self._watched = files.watched
        self._tried: tuple[Place, ...] | None = None
        self._looks = 0

    def look(self) -> Picture:
        """Look at the files. If that is not `heard`, there is something to watch first."""
        self._looks += 1
        found, places, whole = self._files.look()
        heard = self._looks > _ROUNDS or places == self._tried or self._is_heard(places)
        self.picture = Picture(found, places, whole, heard)
        return self.picture

    def watch(self) -> None:
        """Watch what has a part, as far as it can be watched."""
        if self.picture is not None:
            self._files.watch(self.picture.places, whole=self.picture.whole)
            self._watched, self._tried = self._files.watched, self.picture.places

    def _is_heard(self, places: Sequence[Place]) -> bool:
        watches = [self._watched[place] for place in places if place in self._watched]
        # One for each directory: to ask is to look at it.
        holding = {watch.watched: watch for watch in watches}.values()
        return len(watches) == len(places) and all(watch.holds() for watch in holding)


class ConfigurationFiles:
    """The files of one cluster's configuration; made and used in the event loop.

    `changed` is called when they have come to say something else than the server was `told`. `polled` is what keeps
    them from being watched as they should, in words; empty if nothing does.
    """

    def __init__(
        self, spec: ClusterSpec, watcher: Watcher, installations: Installations, changed: Callable[[], None]
    ) -> None:
        self.told = Sources({}, (), {})
        self._spec = spec
        self._watcher = watcher
        self._installations = installations
        self._changed = changed
        self._also: tuple[str, ...] = ()
        self._watched: dict[Place, Watch] = {}
        self._whole = True
        self.polled = ""
        self._first: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._closed = False

    def renew(self, spec: ClusterSpec) -> None:
        """Go by this spec from now on."""
        self._spec = spec
        self._touched()

    @property
    def also(self) -> tuple[str, ...]:
        """The files that are watched since the server says it uses them."""
        return self._also

    async def resume(self, told: Sources, also: tuple[str, ...]) -> None:
        """Go on from what the server was told by another process, and see whether it has changed since."""
        self.told, self._also = told, also
        if told.digests:
            await self._look()

    async def use(self, paths: Iterable[str]) -> None:
        """Watch these files too, which the server says it uses: those of its start, whatever is set now."""
        async with self._one_at_a_time:
            also = await asyncio.to_thread(_others, paths, self.told.digests.keys() - set(self._also))
            if also == self._also:
                return
            self._also = also
            found = await self._read()
            # What they say now is what the server was told: it has just been.
            new = {path: digest for path, digest in found.digests.items() if path not in self.told.digests}
            kept = {path: digest for path, digest in self.told.digests.items() if path in found.digests}
            self.told = replace(self.told, digests={**kept, **new})

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Reading]:
        """Have the files read by whoever has a server told: what they said when he looked last is what it was told."""
        async with self._one_at_a_time:
            reading = Reading(self)
            try:
                yield reading
            finally:
                if reading.picture is not None:
                    self._take(reading.picture)
                    self.told = reading.picture.sources

    async def tell(self) -> tuple[str, ...]:
        """Read what the server is told now, and return the paths of the files that say something else than before."""
        async with self._one_at_a_time:
            before, self.told = self.told, await self._read()
        names = before.digests.keys() | self.told.digests.keys()
        return tuple(sorted(name for name in names if before.digests.get(name) != self.told.digests.get(name)))

    def close(self) -> None:
        """Watch no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for look in self._looks:
            look.cancel()
        self.watch(())

    async def _read(self) -> Sources:
        reading = Reading(self)
        while not (picture := await asyncio.to_thread(reading.look)).heard:
            reading.watch()
        self._take(picture)
        return picture.sources

    def _take(self, picture: Picture) -> None:
        """Watch no more than what has a part."""
        if picture.heard and (self._watched.keys() - set(picture.places) or picture.whole != self._whole):
            self.watch(picture.places, whole=picture.whole)

    @property
    def watched(self) -> Mapping[Place, Watch]:
        """What is watched at this moment."""
        return dict(self._watched)

    def look(self) -> tuple[Sources, tuple[Place, ...], bool]:
        """Read the files, and find the places that have a part in them, and whether these are all; in a thread."""
        spec = self._spec
        with as_owner(spec.data_directory, spec.user):
            return self._look_as_owner(spec)

    def expect(self) -> tuple[Place, ...]:
        """Find the places that will have a part if nothing is set to the contrary; none if it is known. In a thread."""
        spec = self._spec
        if self._watched or not (spec.watch and spec.autostart):
            return ()
        seen: Seen = {}
        with as_owner(spec.data_directory, spec.user):
            paths = sources.usual(spec.data_directory, spec.config_file)
            return _affordable(itertools.chain.from_iterable(trail(path, seen) for path in paths))[0]

    def _look_as_owner(self, spec: ClusterSpec) -> tuple[Sources, tuple[Place, ...], bool]:
        try:
            major = self._installations.of(spec.installation).major
        except InstallationError:
            major = _NEWEST
        found = sources.read(
            spec.data_directory,
            major=major,
            config_file=spec.config_file,
            given=spec.server_settings,
            also=self._also,
        )
        if not spec.watch:
            return found, (), True
        seen: Seen = {}
        files = (trail(path, seen) for path in found.digests)
        directories = (trail_into(path, seen) for path in found.directories)
        return found, *_affordable(itertools.chain.from_iterable(itertools.chain(files, directories)))

    def watch(self, places: Iterable[Place], *, whole: bool = True) -> None:
        """Watch these places and no others. Each is watched anew: another directory may have its name by now.

        They are not the `whole` where there are too many.
        """
        before, self._watched, self._whole = self._watched, {}, whole
        too_many = "changes of configuration files go unnoticed: they lead through too many directories"
        hindrances = [] if whole else [too_many]
        for place in () if self._closed else places:
            try:
                self._watched[place] = self._watcher.watch_place(place, self._touched)
            except PermissionError:
                if place.name is not None and place.contents:
                    hindrances.append(f"changes in {place.directory} go unnoticed: it may not be read")
            except OSError:
                continue  # gone at this moment: what is above it tells when that changes
            else:
                why = self._watcher.polling(place.directory)
                hindrances += [] if why is None else [f"configuration files are polled: {why}"]
        self.polled = next(iter(hindrances), "")
        for watch in before.values():
            watch.cancel()

    def _touched(self) -> None:
        """Wait for quiet, since something happened."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._first = now if self._first is None else self._first
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(quiet_at(self._first, now, self._spec.reload_delay), self._quiet)

    def _quiet(self) -> None:
        self._first = self._timer = None
        if len(self._looks) > 1:
            return  # one is at it, and one waits that will see what is there by then
        look = asyncio.create_task(self._look(), name=f"look at the files of {self._spec.name}")
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def _look(self) -> None:
        async with self._one_at_a_time:
            found = await self._read()
            changed = found.digests != self.told.digests
        if changed and self._spec.watch:
            self._changed()
