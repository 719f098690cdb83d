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
"""Tables as spreadsheet programs save them: whatever the country's separator, the encoding, the order of the columns."""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path


# As Excel writes them: CSV by the country's separator (a semicolon in much of Europe), "Unicode Text" with tabs.
_DELIMITERS = ",;\t"
_SAVE_AS = "save it as 'CSV UTF-8' (in LibreOffice: Text CSV, Unicode UTF-8)"


def read_table(path: Path) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Read a table with a header.

    Returns:
        The names of the columns, and the rows: where each stands, to be named in errors, and its cells by column. Empty
        rows are left out, line ends within cells are line feeds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such table; the message says what to do.
    """
    lines = _decode(path).split("\n", 1)
    first = 1
    if lines[0].lower().startswith("sep=") and len(lines) == 2:  # Excel's own hint
        lines, first = lines[1:], 2
    text = "\n".join(lines)
    header = text.split("\n", 1)[0]
    rows = _rows(path, text, max(_DELIMITERS, key=header.count))
    columns = [name.strip().lower() for name in next(rows, [])]
    if twice := {name for name in columns if name and columns.count(name) > 1}:
        raise ValueError(f"{path}: expected each column once, found {min(twice)!r} twice.")
    table = []
    for number, cells in enumerate(rows, start=first + 1):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}, row {number}"
        if any(cell.strip() for cell in cells[len(columns) :]):
            raise ValueError(f"{where}: expected {len(columns)} cells, found {len(cells)}: a quotation mark is lost.")
        cells += [""] * (len(columns) - len(cells))
        table.append((where, dict(zip(columns, cells, strict=False))))
    return columns, table


def _decode(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a filled-in CSV file, found {'a folder' if path.is_dir() else 'nothing'}."
        )
    content = path.read_bytes()
    if content.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path}: expected a CSV file, found a workbook: {_SAVE_AS}.")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path}: expected UTF-8 or UTF-16, found another encoding, which loses letters: {_SAVE_AS}.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(path: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)  # answers may be long
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table, found what is none ({error}): {_SAVE_AS}.") from error
