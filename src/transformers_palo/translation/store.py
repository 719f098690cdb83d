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
"""A run's folder: what it was made from, what came of each record, and its files."""

import errno
import hashlib
import json
import os
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from ..llm import Journal
from ..llm.batch import SCHEMA as BATCHES
from ..llm.chat import whole_characters
from ..llm.journal import told_as_journal_error
from .conversation import Outcome


JOURNAL = "journal.sqlite"
# Under this name the journal keeps, by language, what the files hold; nothing for a language that is being worked on.
_WRITTEN = "written"
_IDS_TO_NAME = 10
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    language TEXT NOT NULL,
    position INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    source INTEGER NOT NULL,
    PRIMARY KEY (language, position)
);
"""


@dataclass(frozen=True)
class Settings:
    """What a run's results depend on; a run is continued with the same or not at all.

    Attributes:
        input_name: Name of the input file.
        input_sha256: Hash of its content.
        model: Name of the translator.
        shard: `"i/n"`, `"1/1"` for the whole input.
        max_attempts: How often a turn is asked for.
        whole_conversations: Whether conversations were asked for in one request.
        prompts: Fingerprints of the prompts, glossary and examples by language.
        glossaries: English term -> the term to use, by language.
    """

    input_name: str
    input_sha256: str
    model: str
    shard: str
    max_attempts: int
    whole_conversations: bool
    prompts: dict[str, str]
    glossaries: dict[str, dict[str, str]]


@dataclass
class Written:
    """What the files of a language came to.

    Attributes:
        records: Of the input, this shard's and up to the limit.
        unanswered: How many of them are in no file, for the endpoint did not answer.
        unanswered_ids: The ids of the first of these.
    """

    records: int = 0
    unanswered: int = 0
    unanswered_ids: list[str | int] = field(default_factory=list)

    def add(self, source_id: str | int, answered: bool) -> None:
        """Count a record."""
        self.records += 1
        if not answered:
            self.unanswered += 1
            self.unanswered_ids = [*self.unanswered_ids, source_id][:_IDS_TO_NAME]

    @property
    def named(self) -> str:
        """The unanswered records by name, as far as is known."""
        more = ["..."] if self.unanswered > len(self.unanswered_ids) else []
        return ", ".join([*map(str, self.unanswered_ids), *more])


@dataclass(frozen=True)
class Shard:
    """Every n-th record, beginning with the i-th.

    Attributes:
        index: Which part, from 1.
        count: How many there are.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `"2/8"`.

        Raises:
            ValueError: It is something else.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ValueError(f"Expected a shard such as 1/8 (the first of eight, the last is 8/8), found {text!r}.")
        return cls(int(index), int(count))

    def __contains__(self, position: int) -> bool:
        return position % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class RunStore:
    """A run that is being worked on.

    Args:
        folder: Where it is; created if it is not there.
        settings: What it is made from.
        limit: Only so many records from the start of the input.

    Raises:
        OSError: The folder or its journal cannot be written.
        ValueError: The folder holds a run made from something else, or over more records.
    """

    def __init__(self, folder: Path, settings: Settings, limit: int | None = None) -> None:
        path = folder / JOURNAL
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(f"{folder}: expected a folder for the run, found a file.") from None
        except OSError as error:
            raise type(error)(f"{folder} cannot be made: {error.strerror}. Choose another --output-dir.") from None
        if not path.exists() and (found := sorted(folder.glob("*.jsonl"))):
            raise FileExistsError(
                f"{folder} holds {found[0].name} but no {JOURNAL}: choose another --output-dir, nothing is overwritten."
            )
        self.folder = folder
        self.journal = Journal(path, _SCHEMA + BATCHES)
        try:
            self._refuse_fewer(limit, list(settings.prompts))
            self._agree_on(settings)
        except BaseException:
            self.journal.close()
            raise

    def _refuse_fewer(self, limit: int | None, languages: Sequence[str]) -> None:
        """Files of fewer records than the journal has results of would fit neither the journal nor the reviews."""
        if limit is None:
            return
        query = "SELECT coalesce(max(position) + 1, 0) FROM results WHERE language = ?"
        known, language = max((next(self.journal.rows(query, (code,)))[0], code) for code in languages)
        if known > limit:
            raise ValueError(
                f"{self.folder}: {language} has results up to record {known:,}, beyond --limit {limit:,}: give at least "
                f"{known} or none, or for fewer records another --output-dir. Nothing was changed."
            )

    def _agree_on(self, settings: Settings) -> None:
        wanted = asdict(settings)
        found = self.journal.get("settings")
        if found is not None:
            _compare(self.folder, found, wanted)
            for by_language in ("prompts", "glossaries"):
                wanted[by_language] = {**found[by_language], **wanted[by_language]}
        self.journal.set("settings", wanted)
        # Until this run comes to its end, its files are not what the journal says.
        written = self.journal.get(_WRITTEN) or {}
        self.journal.set(_WRITTEN, {code: one for code, one in written.items() if code not in settings.prompts})

    def sources(self, language: str) -> "array[int]":
        """For each position in the input the hash of the line whose result is known, 0 where none is."""
        hashes = array("Q")
        query = "SELECT position, source FROM results WHERE language = ?"
        for position, source in self.journal.rows(query, (language,)):
            if position >= len(hashes):
                hashes.frombytes(bytes(8 * (position + 1 - len(hashes))))
            hashes[position] = source
        return hashes

    async def keep(self, language: str, position: int, source: int, outcome: Outcome) -> None:
        """Write what became of a record; returns once it is on the disk."""
        content = whole_characters(json.dumps(vars(outcome), ensure_ascii=False))
        row = (language, position, outcome.accepted, content, source)
        await self.journal.write([("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", row)])

    def outcomes(self, language: str) -> Iterator[tuple[int, int, Outcome]]:
        """Position, hash of the line and outcome of every finished record, in the order of the input."""
        query = "SELECT position, source, outcome FROM results WHERE language = ? ORDER BY position"
        for position, source, outcome in self.journal.rows(query, (language,)):
            yield position, source, read_outcome(outcome)

    def set_written(self, written: "dict[str, Written]") -> None:
        """Note what the files of languages hold, now that they are there."""
        known = self.journal.get(_WRITTEN) or {}
        self.journal.set(_WRITTEN, known | {code: asdict(one) for code, one in written.items()})

    def close(self) -> None:
        """Write what waits."""
        self.journal.close()


def _compare(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    advice = "Choose another --output-dir; nothing was overwritten."
    if found["input_sha256"] != wanted["input_sha256"]:
        if found["input_name"] == wanted["input_name"]:
            raise ValueError(f"{wanted['input_name']} has changed since the run in {folder} began. {advice}")
        raise ValueError(
            f"{folder} is a run over {found['input_name']} (sha256 {found['input_sha256'][:12]}...), not over "
            f"{wanted['input_name']} (sha256 {wanted['input_sha256'][:12]}...). {advice}"
        )
    for name in ("model", "shard", "max_attempts", "whole_conversations"):
        if found[name] != wanted[name]:
            option = name.replace("_", "-")
            raise ValueError(f"{folder} was begun with --{option} {found[name]}, now it is {wanted[name]}. {advice}")
    for language, fingerprint in wanted["prompts"].items():
        if found["prompts"].get(language, fingerprint) != fingerprint:
            raise ValueError(
                f"{folder} was begun with another glossary, other examples or another version's prompt for {language}. "
                f"{advice}"
            )


class FinishedRun:
    """A run to read from, whether or not it is still being worked on.

    Args:
        folder: The run's folder.

    Raises:
        OSError: There is no run.
        ValueError: The journal is no journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / JOURNAL
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder}: expected the folder of a run with {JOURNAL}, found none: 'palo translate run' makes one."
            )
        self._uri = uri_to_read(path)
        with told_as_journal_error(path), closing(self._connect()) as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        if "settings" not in meta:
            raise ValueError(f"{path}: expected the journal of a translation run, found another journal.")
        self.settings = Settings(**json.loads(meta["settings"]))
        self._written = {code: Written(**one) for code, one in json.loads(meta.get(_WRITTEN, "{}")).items()}

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._uri, uri=True, timeout=60)

    @property
    def languages(self) -> list[str]:
        """Codes of the languages with results, in the order of the table of targets."""
        from .targets import TARGETS

        with closing(self._connect()) as connection:
            found = {code for (code,) in connection.execute("SELECT DISTINCT language FROM results")} | set(
                self._written
            )
        return [code for code in TARGETS if code in found] + sorted(found - TARGETS.keys())

    def written(self, language: str) -> Written:
        """What the files of a language came to.

        Raises:
            ValueError: They are not written yet.
        """
        if language not in self._written:
            raise ValueError(f"{self.folder}: {language} is not finished: run 'palo translate run' to its end first.")
        return self._written[language]

    def outcomes(self, language: str, accepted: bool | None = None) -> Iterator[tuple[int, Outcome]]:
        """Position and outcome of every record, or of the accepted or rejected ones, in the order of the input."""
        query = "SELECT position, outcome FROM results WHERE language = ? AND accepted IN (?, ?) ORDER BY position"
        wanted = (0, 1) if accepted is None else (accepted, accepted)
        for position, outcome in self.rows(query, (language, *wanted)):
            yield position, read_outcome(outcome)

    def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time."""
        with told_as_journal_error(self.folder / JOURNAL), closing(self._connect()) as connection:
            yield from connection.execute(query, parameters)


def uri_to_read(path: Path) -> str:
    """What SQLite opens a file by to read it alone, in a folder that may be read-only."""
    mode = "mode=ro"
    # To read beside a writer SQLite makes files there; where nobody may, and no writer has left any, it need not.
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        mode = "mode=ro&immutable=1"
    return f"file:{quote(str(path.resolve()))}?{mode}"


def read_outcome(text: str) -> Outcome:
    """An outcome as it is kept in the journal."""
    fields = json.loads(text)
    for name in ("asked_again", "repairs", "flags"):
        fields[name] = Counter(fields[name])
    return Outcome(**fields)


_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def sha256_of(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_to_overwrite(*paths: Path) -> None:
    """Leave alone what is there.

    Raises:
        FileExistsError: One of them is.
    """
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} exists already: choose another name, or remove it first.")


@contextmanager
def written_whole(paths: Sequence[Path], new: bool = False) -> Iterator[list[IO[bytes]]]:
    """Files that appear under their names once all of them are written and on the disk, or not at all.

    Args:
        paths: Their names.
        new: Whether nothing may be there before.
    """
    if new:
        refuse_to_overwrite(*paths)
    temporary = [path.with_name(f".{path.name}.partial") for path in paths]
    files: list[IO[bytes]] = []
    try:
        files.extend(path.open("wb", buffering=2**20) for path in temporary)
        yield files
        for file in files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        if new:
            refuse_to_overwrite(*paths)
        for written, path in zip(temporary, paths, strict=True):
            written.replace(path)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise OSError(
            f"{error.filename or paths[0].parent} cannot be written: {error.strerror or error}. Make room or mend the permissions, "
            "then run the same command again; the journal keeps everything."
        ) from error
    finally:
        for file in files:
            with suppress(OSError):  # closing a file on a full disk tries to write it again
                file.close()
        for path in temporary:
            path.unlink(missing_ok=True)
