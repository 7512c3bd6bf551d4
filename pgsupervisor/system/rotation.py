"""A log that is rotated while a server writes into it, without a line being lost.

The server keeps its descriptor, so the file cannot be renamed away from under it: its beginning is copied into an
archive, and then taken off (`collapse`). Until the copy is on the disk, the beginning stays; and what is noted at the
copy tells, after we were killed, whether the beginning has been taken off since. If it has not, the copy is thrown
away; if it has, the copy becomes the archive. So nothing is lost, and nothing is there twice.

    NAME.part           is being copied, or compressed, and worth nothing
    NAME.0              is a copy that is whole, of a beginning that is being taken off; at it is noted where on the
                        disk the log began when it was copied, and the position of the copy's first byte
    NAME.1, NAME.2 …    are archives

Where a file cannot lose its beginning, all of it is copied, and it is emptied then. What is written between the last
look and that moment is lost; all that can be done is to make the moment short.

A log has *positions*: that of a byte is how many were written before it, and no rotation changes it. How many are gone
from the file is noted at it, so that positions outlive us as well.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from threading import Lock

from pgsupervisor.system import archives
from pgsupervisor.system.archives import GUARDED, open_guarded
from pgsupervisor.system.collapse import block_size, collapses, danger, first_block, take_off
from pgsupervisor.system.identity import User, acting_as, as_ourselves
from pgsupervisor.system.logparts import Part
from pgsupervisor.system.notes import note, noted
from pgsupervisor.system.safepath import weakness
from pgsupervisor.values import frozen

_BEGIN = "begin"
"""The note of the position of a file's first byte."""

_BLOCK = "block"
"""The note of where on the disk a log began, at a copy of that; 0 if nobody knew."""

_CHUNK = 1 << 20
"""Bytes that are copied or compared at a time."""


@frozen
class Rotated:
    """What a rotation did: `archive` is the path of the new one (None if none is kept), and `size` its bytes.

    `dropped` are the bytes before these that were thrown away at once: the log had grown by more than all the archives
    that are kept can hold.
    """

    archive: str | None
    size: int
    dropped: int


class RotatedLog:
    """The log at `path`, and its archives. The methods block; they may be called in different threads.

    In a directory that nobody but us can change, we do so ourselves; in any other, root acts as the user that `whose`
    names: a symlink there would lead it elsewhere. That is found out once.

    Who reads by positions has it held still meanwhile. Who rotates it, and who recovers it, has a lock on the file
    (flock(2)), for there may be others, in this process or in another one, and two could lose what one would not.
    """

    def __init__(self, path: str, whose: Callable[[], User | None] = lambda: None) -> None:
        self.path = path
        self._whose = whose
        self._who: User | None = None
        self._who_is_known = False
        self._still = Lock()
        self._recovered = False

    def recover(self) -> None:
        """Bring to its end what a process has begun that was killed; to be called before it is rotated.

        Raises OSError; BlockingIOError while somebody else has the lock.
        """
        with self.accessed(), self._still:
            self._recover()

    def make_ready(self) -> str:
        """Recover it, and say why it cannot be rotated without the danger of losing lines; empty if it can.

        Raises OSError as `recover` does, and if we may not write there.
        """
        with self.accessed():
            with self._still:
                self._recover()
            return danger(self.path)

    def is_cut_off(self) -> bool:
        """Tell whether there is something to be recovered from, or somebody is rotating it at this moment."""
        return os.path.lexists(self._copy) or os.path.lexists(self._part)

    @contextlib.contextmanager
    def accessed(self) -> Iterator[None]:
        """Do what follows in this thread to the log and its archives as who may."""
        if self._who is not None:
            with acting_as(self._who):
                yield
        else:
            with as_ourselves(), acting_as(None if self._who_is_known else self._find_out()):
                yield

    def _find_out(self) -> User | None:
        try:
            # Nobody but root could act as somebody else.
            safe = os.geteuid() != 0 or weakness(os.path.dirname(self.path)) is None
        except OSError:
            return self._whose()  # it is not there, or was not a moment ago
        self._who = None if safe else self._whose()
        self._who_is_known = True
        return self._who

    @contextlib.contextmanager
    def held_still(self) -> Iterator[None]:
        """Have nothing moved, for one who reads by positions.

        He may come before it is known that a process was killed which had taken off the beginning, and had not noted
        that. Where nothing can be written, the positions stay wrong.
        """
        with self.accessed(), self._still:
            if not self._recovered:
                with contextlib.suppress(OSError):
                    self._recover()
            yield

    def _recover(self) -> None:
        with contextlib.ExitStack() as held:
            with contextlib.suppress(FileNotFoundError):
                _lock(held.enter_context(self._opened(os.O_RDWR)))
            if os.path.lexists(self._copy) and self._still_has_copied():
                os.unlink(self._copy)
            elif os.path.lexists(self._copy):
                self._keep()
            archives.remove_doubles(self.path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part)
            self._recovered = True

    def rotate(self, most: int, keep: int) -> Rotated | None:
        """Make an archive of the first `most` bytes, and keep the `keep` youngest; None if the log is not that large.

        Only whole blocks can be taken off; where not even these can, all of the log goes. To be called by one thread at
        a time, until it returns None. Raises OSError; then nothing is lost, and `recover` is to be called again, unless
        it is BlockingIOError, since somebody else has the lock: then nothing has begun.
        """
        with self.accessed(), self._opened(os.O_RDWR) as log:
            _lock(log)
            collapsing = collapses(log)
            block = block_size(log) if collapsing else 1
            piece = max(most // block, 1) * block
            # A file can lose a beginning only, not all that it has.
            pieces = (os.fstat(log).st_size - 1) // piece
            if pieces < 1:
                return None
            dropped = max(0, pieces - keep) * piece
            if dropped:
                # The older ones go first, so that there is never a gap.
                self._keep_only(0)
            if not keep:
                rotated = self._drop(log, dropped, collapsing=collapsing)
            elif collapsing:
                rotated = self._archive(log, dropped, piece)
            else:
                rotated = self._archive_all(log, dropped)
            self._keep_only(keep)
        return rotated

    def compress(self) -> bool:
        """Compress the oldest archive that is not, and tell whether there was one.

        To be called by the thread that rotates. Raises OSError; then nothing is lost.
        """
        with self.accessed(), self._opened(os.O_RDONLY) as log:
            _lock(log)
            plain = archives.compressible(self.path)
            if not plain:
                return False
            with self._new_part(log) as part:
                archives.compress(plain[0], part)
                with self._still:
                    archives.replace_by_compressed(plain[0], self._part)
        return True

    def end(self) -> int:
        """Return the position of its end; 0 if it is not there, or cannot be opened."""
        with contextlib.suppress(OSError), self.accessed(), self._opened(os.O_RDONLY) as log:
            return end_of(log)
        return 0

    def _keep_only(self, most: int) -> None:
        with self._still:
            archives.remove_beyond(self.path, most)

    @property
    def _part(self) -> str:
        return f"{self.path}.part"

    @property
    def _copy(self) -> str:
        return f"{self.path}.0"

    def _archive(self, log: int, dropped: int, piece: int) -> Rotated:
        """Make an archive of what comes after the first `dropped` bytes, and take both off."""
        with self._new_part(log) as part:
            # At once, which costs less than block by block; and a disk that is too full for it says so at once.
            os.posix_fallocate(part, 0, piece)
            _transfer(log, part, dropped, piece)
            self._make_whole(part, first_block(log), begin_of(log) + dropped)
        with self._still:
            with self._discarded_on_failure():
                take_off(log, dropped + piece)
            return Rotated(self._keep(), piece, dropped)

    def _archive_all(self, log: int, dropped: int) -> Rotated:
        """Make an archive of all that comes after the first `dropped` bytes, and empty the log."""
        with self._new_part(log) as part:
            end = _transfer(log, part, dropped, os.fstat(log).st_size - dropped)
            self._make_whole(part, 0, begin_of(log) + dropped)
            with self._still:
                with self._discarded_on_failure():
                    while data := os.pread(log, _CHUNK, end):
                        end += os.write(part, data)
                    os.ftruncate(log, 0)
                os.fsync(part)
                return Rotated(self._keep(), end - dropped, dropped)

    def _drop(self, log: int, size: int, *, collapsing: bool) -> Rotated:
        """Throw away the first `size` bytes, or all, where that alone is possible."""
        with self._still:
            begin = begin_of(log)
            if collapsing:
                take_off(log, size)
            else:
                size = os.fstat(log).st_size
                os.ftruncate(log, 0)
            note(log, _BEGIN, begin + size)
        return Rotated(None, 0, size)

    @contextlib.contextmanager
    def _new_part(self, log: int) -> Iterator[int]:
        """Make a file like the log, for the same owner; if it has not got another name in the end, it is removed."""
        facts = os.fstat(log)
        part = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | GUARDED, 0o600)
        try:
            if os.geteuid() == 0:
                os.fchown(part, facts.st_uid, facts.st_gid)
            os.fchmod(part, stat.S_IMODE(facts.st_mode))
            yield part
        finally:
            os.close(part)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part)

    def _make_whole(self, part: int, block: int, begin: int) -> None:
        """Bring a copy to the disk under its name, with what has to be known of it."""
        note(part, _BLOCK, block)
        note(part, _BEGIN, begin)
        os.fsync(part)
        with self._discarded_on_failure():
            os.rename(self._part, self._copy)
            _bring_to_disk(os.path.dirname(self.path))

    @contextlib.contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        """Have the copy thrown away if what was copied is to stay in the log."""
        try:
            yield
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._copy)
            raise

    def _keep(self) -> str:
        """Make an archive of the copy, now that the log has lost what was copied."""
        with contextlib.suppress(FileNotFoundError), self._opened(os.O_RDWR) as log:
            note(log, _BEGIN, noted(self._copy, _BEGIN) + os.stat(self._copy).st_size)
        archives.make_room(self.path)
        archive = f"{self.path}.1"
        os.rename(self._copy, archive)
        return archive

    def _still_has_copied(self) -> bool:
        """Tell whether the log still has what is in the copy."""
        block = noted(self._copy, _BLOCK)
        with contextlib.suppress(FileNotFoundError), self._opened(os.O_RDWR) as log:
            if block:
                return first_block(log) == block
            with archives.open_archive(self._copy) as copied:
                beginning = copied.read(_CHUNK)
            # What comes before it in the log was to be thrown away with it.
            place = noted(self._copy, _BEGIN) - begin_of(log)
            return place >= 0 and os.pread(log, len(beginning), place) == beginning
        return False

    @contextlib.contextmanager
    def _opened(self, how: int) -> Iterator[int]:
        descriptor = os.open(self.path, how | GUARDED)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def parts(log: str) -> list[Part]:
    """Return the archives and the log, in the order of their positions; while it is held still.

    Raises OSError.
    """
    with open_guarded(log) as file:
        found = [Part(log, begin_of(file.fileno()), os.fstat(file.fileno()).st_size, partial(open_guarded, log))]
    for archive in archives.archives(log):
        size = archives.size_of(archive)
        found.append(Part(archive, found[-1].begin - size, size, partial(archives.open_archive, archive)))
    return found[::-1]


def begin_of(descriptor: int) -> int:
    """Return the position of the first byte of a log that is open."""
    return noted(descriptor, _BEGIN)


def end_of(descriptor: int) -> int:
    """Return the position of the end of a log that is open."""
    return begin_of(descriptor) + os.fstat(descriptor).st_size


def _lock(log: int) -> None:
    """Take the lock on a log. Whoever has it is not waited for: the log's owner could have it for ever.

    Raises BlockingIOError.
    """
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "somebody else has a lock on it (flock)") from error


def _transfer(source: int, target: int, start: int, size: int) -> int:
    """Copy `size` bytes from `start` on, in the kernel, and return where they end.

    Raises OSError, also if there are fewer: somebody else has cut the file meanwhile.
    """
    end = start + size
    while start < end:
        copied = os.sendfile(target, source, start, end - start)
        if not copied:
            raise OSError(errno.ESTALE, "somebody else has cut it meanwhile")
        start += copied
    return end


def _bring_to_disk(directory: str) -> None:
    """Bring the names in a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
