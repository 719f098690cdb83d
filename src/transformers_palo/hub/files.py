# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The files of a repository, and what packed files hold."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast


# What version control, operating systems and Python leave in folders.
LEFT_OUT = (".git", ".cache", "__pycache__", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "*.pyc")


@dataclass(frozen=True)
class RepoFile:
    """A file to publish.

    Attributes:
        path: Where it goes in the repository, with forward slashes.
        source: Where it lies, or its content if it lies nowhere.
        state: Size in bytes and time of the last change, in nanoseconds, when it was listed; `None` for content.
    """

    path: str
    source: Path | bytes
    state: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def open(self) -> IO[bytes]:
        """To read it."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    @property
    def has_changed(self) -> bool:
        """Whether it is another than when it was listed, or is gone."""
        if not isinstance(self.source, Path) or self.state is None:
            return False
        return not self.source.is_file() or _state(self.source) != self.state


@dataclass(frozen=True)
class Content:
    """Something to look at: a file, or what is packed in one.

    Attributes:
        path: What to call it: the path of the file, and of the member behind it.
        open: To read it, from its start.
    """

    path: str
    open: Callable[[], IO[bytes]]

    def head(self, length: int) -> bytes:
        """The first bytes."""
        with self.open() as stream:
            return stream.read(length)


def list_folder(folder: Path) -> tuple[list[RepoFile], list[str]]:
    """All files below a folder but [`LEFT_OUT`], in the order of their paths, and what is no file, a line each."""
    files: list[RepoFile] = []
    problems: list[str] = []

    def unreadable(error: OSError) -> None:
        where = Path(error.filename).relative_to(folder).as_posix()
        problems.append(f"{where}: cannot be read ({error.strerror}); give yourself the right to, or move it")

    for root, folders, names in os.walk(folder, onerror=unreadable):
        for name in [*folders, *names]:
            if any(fnmatch(name, pattern) for pattern in LEFT_OUT):
                continue
            path = Path(root, name)
            shown = path.relative_to(folder).as_posix()
            if (problem := _no_file(path, name in folders)) is not None:
                problems.append(f"{shown!r}: {problem}" if not shown.isprintable() else f"{shown}: {problem}")
            elif name not in folders:
                files.append(RepoFile(shown, path, _state(path)))
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)]
    return sorted(files, key=lambda file: file.path), sorted(problems)


def _no_file(path: Path, is_folder: bool) -> str | None:
    """Why something in a folder cannot be published."""
    if not path.name.isprintable():
        return "expected a name in UTF-8 without control characters; rename it"
    if is_folder:
        return "a link to a folder; copy the folder here, or take the link away" if path.is_symlink() else None
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"a link to nothing, or not readable ({error.strerror}); take it away"
    return None if stat.S_ISREG(mode) else "no file (a pipe, a socket or a device); take it away"


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


# What reading the members of a damaged archive raises, or of one with a password.
DAMAGED = (
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)

# How a packed file begins -> how to open it.
_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_TAR_MARK = slice(257, 262)


def members(content: Content) -> Iterator[Content] | None:
    """What is packed in a ZIP, tar, gzip, bzip2 or xz file, each to be read before the next; `None` if it is none.

    Raises:
        One of [`DAMAGED`]: While members are read.
    """
    head = content.head(512)
    if head.startswith(b"PK\x03\x04"):
        return _zip_members(content)
    if head[_TAR_MARK] == b"ustar":
        return _tar_members(content)
    for mark, unpack in _COMPRESSED.items():
        if head.startswith(mark):
            return _unpacked(content, unpack)
    return None


def _zip_members(content: Content) -> Iterator[Content]:
    with content.open() as stream, zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield Content(f"{content.path}/{info.filename}", partial(archive.open, info.filename))


def _tar_members(content: Content) -> Iterator[Content]:
    with content.open() as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            if member.isfile():
                yield Content(f"{content.path}/{member.name}", partial(cast(Any, archive.extractfile), member))


def _unpacked(content: Content, unpack: Callable[[IO[bytes]], Any]) -> Iterator[Content]:
    inner = PurePosixPath(content.path).stem
    with content.open() as stream:

        def reread() -> IO[bytes]:
            stream.seek(0)
            return unpack(stream)

        yield Content(f"{content.path}/{inner}", reread)
