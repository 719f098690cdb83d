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
"""Files of records, read one record at a time: a JSON array of any size, JSON lines, or parquet."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


Record = dict[str, Any]

MAX_LINE_BYTES = 2**28
_PARQUET_ROWS = 100  # they may hold images
_DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
_GZIP, _PARQUET, _BYTE_ORDER_MARK = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"


class RecordReader:
    """The records of a file, in its order, in bounded memory. Iterating again begins again.

    Attributes:
        path: The file.
        format: `"array"` (one JSON array of objects), `"lines"` (one JSON object a line) or `"parquet"`.
        size: Bytes of the file.
        position: Bytes of the file read so far, `size` at the end. Reading is some records ahead of what it has yielded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.position = 0
        with path.open("rb") as file:
            self._gzipped = file.read(2) == _GZIP
        self.format = self._find_format()

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records.

        Raises:
            ValueError: The content is malformed; the message names the file, the record and the place.
        """
        self.position = 0
        number = 0
        try:
            for record in {"array": self._array, "lines": self._lines, "parquet": self._parquet}[self.format]():
                if not isinstance(record, dict):
                    raise ValueError(f"expected an object, found {str(record)[:40]!r}")
                number += 1
                yield record
        except (ValueError, *_DAMAGED_GZIP) as error:
            raise ValueError(
                f"{self.path}: record {number + 1} cannot be read, near byte {self.position:,} of {self.size:,}: "
                f"{error}. Mend the file, or get it again if it is not whole."
            ) from error
        self.position = self.size

    def _find_format(self) -> str:
        try:
            with self._open() as (_, content):
                start = content.read(4096)
        except _DAMAGED_GZIP as error:
            raise ValueError(f"{self.path}: the gzip archive is damaged ({error}): get the file again.") from error
        if start.startswith(_PARQUET):
            return "parquet"
        match start.lstrip()[:1]:
            case b"[":
                return "array"
            case b"{":
                return "lines"
        found = f"a file that begins with {start[:20]!r}" if start else "an empty file"
        raise ValueError(f"{self.path}: expected a JSON array of objects, JSON lines or parquet, found {found}.")

    @contextmanager
    def _open(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """The file, whose position is that of the reading, and its content: unpacked, behind the byte-order mark."""
        with self.path.open("rb") as file:
            content: Any = gzip.GzipFile(fileobj=file) if self._gzipped else file
            if content.read(3) != _BYTE_ORDER_MARK:
                content.seek(0)
            yield file, content

    def _array(self) -> Iterator[Any]:
        try:
            import ijson
        except ImportError:
            raise ImportError(_NEEDS.format("a JSON array", "ijson")) from None

        with self._open() as (file, content):
            try:
                for record in ijson.items(content, "item", use_float=True):
                    self.position = file.tell()
                    yield record
            except ijson.JSONError as error:
                self.position = file.tell()
                raise ValueError(str(error).splitlines()[0]) from error

    def _lines(self) -> Iterator[Any]:
        with self._open() as (file, content):
            # A file that is one endless line must not fill the memory.
            while line := content.readline(MAX_LINE_BYTES):
                self.position = file.tell()
                if len(line) == MAX_LINE_BYTES:
                    raise ValueError(f"expected one object a line, found a line of more than {MAX_LINE_BYTES:,} bytes")
                if line.strip():
                    yield json.loads(line)

    def _parquet(self) -> Iterator[Any]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise ImportError(_NEEDS.format("parquet", "pyarrow")) from None

        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                rows = 0
                for batch in file.iter_batches(_PARQUET_ROWS):
                    rows += batch.num_rows
                    self.position = self.size * rows // file.metadata.num_rows
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(str(error).splitlines()[0]) from error


_NEEDS = "Reading {} needs the {} package: install transformers-palo with its [train] or [translate] extra."


def open_records(path: str | Path) -> RecordReader:
    """Open a file of records; the format is found by its content, not by its name.

    Args:
        path: A JSON array of objects, JSON lines, either of them gzipped, or parquet.

    Returns:
        The reader: iterate over it for the records, ask its `position` and `size` for the progress.

    Raises:
        OSError: There is no such file.
        ValueError: The file is of none of these formats.
        ImportError: The format needs a package that is not installed (when iterated).
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise FileNotFoundError(
            f"{path}: expected a file of records (JSON array, JSON lines or parquet), found {found}."
        )
    return RecordReader(path)
