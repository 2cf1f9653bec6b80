"""Files below one directory, written so that a web server beside us may serve them: each is there whole or not at all.

Nothing outside is touched: no name leads out (a `StreamPath` has no ``..``), and no symbolic link below the directory is
followed, whoever put it there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """An open directory. Methods block, and raise `OSError`."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def root(cls, path: str) -> Folder:
        """The directory itself, which is made where it is not there; it may be a link, since the operator named it."""
        os.makedirs(path, exist_ok=True)
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def below(self, path: str) -> Folder:
        """A folder below this one by its path, made where it is not there. Raises `OSError` for a link on the way."""
        at = os.dup(self._descriptor)
        try:
            for name in path.split("/"):
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=at)
                inner = os.open(name, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
        except BaseException:
            os.close(at)
            raise
        return Folder(at)

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, or in place of the one that is there."""
        part = f".{name}.part"
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=self._descriptor)
        descriptor = os.open(part, _FILE, 0o644, dir_fd=self._descriptor)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            with suppress(OSError):
                os.unlink(part, dir_fd=self._descriptor)
            raise
        finally:
            os.close(descriptor)
        os.rename(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def names(self) -> Iterator[tuple[str, float]]:
        """The files that are there, and when each was written, in seconds since 1970."""
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False).st_mtime

    def prune(self, path: str) -> None:
        """Take the folder of that path away, and those on the way to it, unless something is in them."""
        while path:
            try:
                os.rmdir(path, dir_fd=self._descriptor)
            except OSError:
                return
            path = path.rpartition("/")[0]

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
