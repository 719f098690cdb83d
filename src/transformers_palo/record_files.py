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

import codecs
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any


Record = dict[str, Any]

# Characters of a record in an array, bytes of one in a line: far beyond any conversation. Counting its tokens may take
# hundreds of times as much memory.
MAX_RECORD_SIZE = 2**20
_CHUNK_BYTES = 2**18
_SHOWN_CHARACTERS = 1000
_PARQUET_BATCH_BYTES = 2**23  # rows may hold images
_PARQUET_ROWS = 100
_DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
_GZIP, _PARQUET, _BYTE_ORDER_MARK = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"


@dataclass(frozen=True)
class UnreadableRecord:
    """A record that stands whole in its file, but that is none to work with: too large, too deep, or ambiguous.

    Attributes:
        fault: What is wrong with it.
        start: Its first characters.
    """

    fault: str
    start: str


class RecordReader:
    """The records of a file, in its order, in bounded memory. Iterating again begins again.

    What no float can hold (`1e400`, `NaN`, integers of thousands of digits) is read as a `decimal.Decimal`.

    Attributes:
        path: The file.
        format: `"array"` (one JSON array of objects), `"lines"` (one JSON object a line) or `"parquet"`.
        size: Bytes of the file.
        position: Bytes of the file read so far, `size` at the end. Reading is some records ahead of what it has yielded.
        record_size: About how large the record that came last is, in characters or bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.position = 0
        self.record_size = 0
        with path.open("rb") as file:
            self._gzipped = file.read(2) == _GZIP
        self.format = self._find_format()

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records.

        Raises:
            ValueError: The content is malformed; the message names the file, the record and the place.
        """
        for number, record in enumerate(self.records(), start=1):
            if isinstance(record, UnreadableRecord):
                raise self._error(number, record.fault)
            yield record

    def records(self) -> Iterator[Record | UnreadableRecord]:
        """The same, but a record that cannot be read does not end the reading, where it is clear where the next begins.

        Raises:
            ValueError: The content is malformed; the message names the file, the record and the place.
        """
        self.position = 0
        number = 0
        try:
            for record in {"array": self._array, "lines": self._lines, "parquet": self._parquet}[self.format]():
                if not isinstance(record, dict | UnreadableRecord):
                    raise ValueError(f"expected an object, found {str(record)[:40]!r}")
                number += 1
                yield record
        except (ValueError, *_DAMAGED_GZIP) as error:
            raise self._error(number + 1, str(error)) from error
        self.position = self.size

    def _error(self, number: int, fault: str) -> ValueError:
        return ValueError(
            f"{self.path}: record {number} cannot be read, near byte {self.position:,} of {self.size:,}: {fault}. "
            "Mend the file, or get it again if it is not whole."
        )

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
        with self._open() as (file, content):
            elements = _elements(_Window(content))
            while True:
                try:
                    record, self.record_size = next(elements, (None, 0))
                finally:
                    self.position = file.tell()
                if not self.record_size:
                    return
                yield record

    def _lines(self) -> Iterator[Any]:
        with self._open() as (file, content):
            # A file that is one endless line must not fill the memory.
            while line := content.readline(MAX_RECORD_SIZE + 1):
                self.record_size = len(line)
                if len(line) > MAX_RECORD_SIZE:
                    start = line[:_SHOWN_CHARACTERS].decode(errors="replace")
                    while line and not line.endswith(b"\n"):
                        line = content.readline(_CHUNK_BYTES)
                    yield UnreadableRecord(
                        f"expected one object a line, found a line of more than {MAX_RECORD_SIZE:,} bytes", start
                    )
                elif line.strip():
                    self.position = file.tell()
                    text = line.decode()
                    try:
                        yield _DECODER.decode(text)
                    except _FAULTS as fault:
                        yield UnreadableRecord(_words(fault), text.strip()[:_SHOWN_CHARACTERS])
                self.position = file.tell()

    def _parquet(self) -> Iterator[Any]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise ImportError(_NEEDS.format("parquet", "pyarrow")) from None

        try:
            # Buffered: a page at a time, where a group of rows may be as large as the file.
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_CHUNK_BYTES) as file:
                rows = 0
                for batch in file.iter_batches(_rows_at_once(file.metadata)):
                    rows += batch.num_rows
                    self.position = self.size * rows // file.metadata.num_rows
                    self.record_size = batch.nbytes // batch.num_rows
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(str(error).splitlines()[0]) from error


def _rows_at_once(footer: Any) -> int:
    sizes = [footer.row_group(number).total_byte_size for number in range(footer.num_row_groups)]
    return max(1, min(_PARQUET_ROWS, _PARQUET_BATCH_BYTES * footer.num_rows // (sum(sizes) or 1)))


class _Window:
    """The stretch of a text that is in memory: what is read and not yet taken."""

    def __init__(self, content: IO[bytes]) -> None:
        self.content = content
        self.decode = codecs.getincrementaldecoder("utf-8")().decode
        self.text = ""
        self.start = 0

    def read_on(self) -> bool:
        """Let go of what was taken and read as much again as is left; whether there was anything."""
        data = self.content.read(max(_CHUNK_BYTES, len(self.text) - self.start))
        self.text = self.text[self.start :] + self.decode(data, not data)
        self.start = 0
        return bool(data)

    def skip_space(self) -> str:
        """The next character that is no white space, where the window then begins; empty at the end."""
        while True:
            self.start = _SPACE.match(self.text, self.start).end()  # type: ignore[union-attr]
            if self.start < len(self.text):
                return self.text[self.start]
            if not self.read_on():
                return ""


_SPACE = re.compile(r"[ \t\n\r]*")
_OUTSIDE, _INSIDE = re.compile(r'["\[\]{}]'), re.compile(r'["\\]')


class _RepeatedKeyError(ValueError):
    """An object has a key twice: which of the values is meant?"""


def _object(pairs: list[tuple[str, Any]]) -> Record:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKeyError(next(name for name in names if names.count(name) > 1))
    return made


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # Python takes 4,300 digits at most
        return _decimal(digits)


def _float(text: str) -> float | Decimal:
    value = float(text)
    return value if math.isfinite(value) else _decimal(text)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return Decimal("Infinity")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_decimal)
_FAULTS = (_RepeatedKeyError, RecursionError)


def _words(fault: Exception) -> str:
    if isinstance(fault, RecursionError):
        return "expected an object with a few levels inside, found hundreds of them"
    return f"expected each key once in an object, found {str(fault)[:40]!r} again"


def _elements(window: _Window) -> Iterator[tuple[Any, int]]:
    """The elements of an array, each with its characters."""
    window.skip_space()
    window.start += 1  # [
    separator = window.skip_space()
    while separator != "]":
        yield _next_element(window)
        separator = window.skip_space()
        if separator == ",":
            window.start += 1
            window.skip_space()
        elif separator != "]":
            raise ValueError(f"expected a comma or the end of the array, found {separator or 'the end of the file'!r}")
    window.start += 1
    if garbage := window.skip_space():
        raise ValueError(f"expected nothing behind the array, found {garbage!r}")


def _next_element(window: _Window) -> tuple[Any, int]:
    """The element that the window begins with, and its characters."""
    while True:
        try:
            element, end = _DECODER.raw_decode(window.text, window.start)
        except json.JSONDecodeError as error:
            if len(window.text) - window.start > MAX_RECORD_SIZE:
                break
            # What is not read yet mends an error at the end, and a text without one.
            at_end = error.msg.startswith("Unterminated") or error.pos > len(window.text) - 16
            place = error.pos - window.start
            if not at_end or not window.read_on():
                raise ValueError(f"{error.msg} (character {place:,} of the record)") from error
        except _FAULTS as fault:
            start, size = _pass_over(window)
            return UnreadableRecord(_words(fault), start), size
        else:
            size = end - window.start
            if size > MAX_RECORD_SIZE:
                break
            window.start = end
            return element, size
    start, size = _pass_over(window)
    too_large = f"expected a record of {MAX_RECORD_SIZE:,} characters at most, found one of {size:,}"
    return UnreadableRecord(too_large, start), size


def _pass_over(window: _Window) -> tuple[str, int]:
    """Move the window behind its first element, which it need not hold: the element's first characters, and how many it has."""
    shown = window.text[window.start : window.start + _SHOWN_CHARACTERS]
    size, depth, in_text, position = 0, 0, False, window.start
    while True:
        found = (_INSIDE if in_text else _OUTSIDE).search(window.text, position)
        if found is None:
            size += len(window.text) - window.start
            position = max(position - len(window.text), 0)  # behind a backslash that was the last character
            window.start = len(window.text)
            if not window.read_on():
                raise ValueError("the file ends in the middle of a record")
            continue
        position = found.end()
        match found[0]:
            case "\\":
                position += 1
            case '"':
                in_text = not in_text
            case "[" | "{":
                depth += 1
            case _:
                depth -= 1
        if depth == 0 and not in_text and found[0] != "\\":
            size += position - window.start
            window.start = position
            return shown[:size], size


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
