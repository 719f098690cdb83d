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
"""What was asked and what was answered, in SQLite: an answered request is never sent again."""

import asyncio
import hashlib
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .chat import ChatRequest, Reply, parse_reply


# "PALO": tells this journal from any other SQLite file.
APPLICATION_ID = 0x50414C4F
_PREFIXES_KNOWN = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS prefixes (digest BLOB PRIMARY KEY, messages TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS exchanges (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    prefix BLOB NOT NULL REFERENCES prefixes (digest),
    message TEXT NOT NULL,
    parameters TEXT NOT NULL,
    reply TEXT NOT NULL,
    served_model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    answered_at TEXT NOT NULL
);
"""
_INSERT_EXCHANGE = f"INSERT OR IGNORE INTO exchanges VALUES (NULL{', ?' * 11})"

Write = tuple[str, tuple[Any, ...]]


class JournalError(OSError):
    """The journal cannot be read or written."""


class Journal:
    """Every answered request by the hash of its content, with the raw reply, usage, latency and model version.

    One thread writes. What waits to be written goes into one transaction, synced to the disk (WAL,
    `synchronous=FULL`); a write is awaited until then, so that what the program goes on with is never lost.
    Messages that many requests begin with (`messages[:-1]`) are stored once.

    Args:
        path: The SQLite file; created if it is not there. One process at a time may have it open for writing.
        schema: Further tables, for what a program keeps beside the exchanges.

    Raises:
        JournalError: It cannot be opened or written, or another process has it open.
        ValueError: The file is something else.
    """

    def __init__(self, path: Path, schema: str = "") -> None:
        import filelock

        self.path = path
        self._lock = filelock.FileLock(f"{path}.lock", timeout=0)
        with told_as_journal_error(path):
            try:
                self._lock.acquire()
            except filelock.Timeout:
                raise JournalError(f"{path} is in use by another process: wait for it, or stop it.") from None
            self._reader = self._open(schema)
        self._prefixes: dict[str, bytes] = {}
        self._failure: JournalError | None = None
        self._writes: queue.SimpleQueue[tuple[list[Write], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_until_closed, name="journal", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, schema: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None)
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        if found != APPLICATION_ID and connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise ValueError(f"{self.path}: expected a journal, found another SQLite database: choose another place.")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA + schema)
        # A folder that can be read but not written to is told now, not after the first answer.
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('opened_at', ?)", (_now(),))
        return connection

    def get(self, name: str) -> Any:
        """A value kept by `set`, or `None`."""
        row = next(self.rows("SELECT value FROM meta WHERE key = ?", (name,)), None)
        return None if row is None else json.loads(row[0])

    def set(self, name: str, value: Any) -> None:
        """Keep a value (anything that JSON can hold) under a name. Only before anything is written."""
        with told_as_journal_error(self.path):
            self._reader.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time."""
        with told_as_journal_error(self.path):
            yield from self._reader.execute(query, parameters)

    def find(self, request: ChatRequest) -> Reply | None:
        """The answer to a request that was asked before."""
        row = next(self.rows("SELECT reply FROM exchanges WHERE key = ?", (request.key,)), None)
        return None if row is None else parse_reply(row[0])

    async def record(self, request: ChatRequest, reply: Reply, seconds: float) -> None:
        """Write an exchange; returns once it is on the disk.

        Raises:
            JournalError: It could not be written.
        """
        prefix, writes = self._prefix(request)
        row = (
            request.key,
            request.model,
            prefix,
            request.messages[-1]["content"],
            json.dumps(request.parameters),
            reply.raw,
            reply.model,
            reply.prompt_tokens,
            reply.completion_tokens,
            round(seconds, 4),
            _now(),
        )
        await self.write([*writes, (_INSERT_EXCHANGE, row)])

    def _prefix(self, request: ChatRequest) -> tuple[bytes, list[Write]]:
        prefix = json.dumps(request.messages[:-1], ensure_ascii=False)
        if (known := self._prefixes.get(prefix)) is not None:
            return known, []
        if len(self._prefixes) >= _PREFIXES_KNOWN:
            self._prefixes.clear()
        digest = self._prefixes[prefix] = hashlib.sha256(prefix.encode()).digest()
        return digest, [("INSERT OR IGNORE INTO prefixes VALUES (?, ?)", (digest, prefix))]

    async def write(self, writes: Iterable[Write]) -> None:
        """Execute statements in one transaction; returns once it is on the disk.

        Raises:
            JournalError: They could not be written.
        """
        if self._failure is not None:
            raise self._failure
        done = asyncio.get_running_loop().create_future()
        self._writes.put((list(writes), done))
        await done

    def _write_until_closed(self) -> None:
        connection = None
        closing = False
        while not closing:
            batch = [self._writes.get()]
            while not self._writes.empty():
                batch.append(self._writes.get())
            closing = None in batch
            jobs = [job for job in batch if job is not None]
            try:
                if jobs and self._failure is None:
                    connection = connection or self._connect_to_write()
                    self._commit(connection, [write for writes, _ in jobs for write in writes])
            except Exception as error:  # whatever it is, those who wait for this thread are told
                self._failure = (
                    error
                    if isinstance(error, JournalError)
                    else JournalError(f"{self.path} cannot be written: {type(error).__name__}: {error}.")
                )
            if jobs:
                _resolve([done for _, done in jobs], self._failure)
        if connection is not None:
            connection.close()

    def _connect_to_write(self) -> sqlite3.Connection:
        with told_as_journal_error(self.path):
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=60)
            connection.execute("PRAGMA synchronous = FULL")
            return connection

    def _commit(self, connection: sqlite3.Connection, writes: list[Write]) -> None:
        with told_as_journal_error(self.path):
            connection.execute("BEGIN IMMEDIATE")
            for statement, parameters in writes:
                connection.execute(statement, parameters)
            connection.execute("COMMIT")

    def close(self) -> None:
        """Write what waits, and leave one file."""
        if self._writer.is_alive():
            self._writes.put(None)
            self._writer.join()
        with suppress(sqlite3.Error):  # what was told before is not to be hidden; the next opening does it
            self._reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._reader.close()
        self._lock.release()


def _resolve(waiting: list["asyncio.Future[None]"], failure: JournalError | None) -> None:
    """Tell those who wait for a batch, in their own thread, that it is written or why not."""

    def resolve() -> None:
        for done in waiting:
            if done.done():  # its task was cancelled meanwhile
                continue
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)

    with suppress(RuntimeError):  # the loop is closed: nobody waits
        waiting[0].get_loop().call_soon_threadsafe(resolve)


@contextmanager
def told_as_journal_error(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line with the file's name and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise ValueError(
                f"{path}: expected a journal (SQLite), found another file: choose another place."
            ) from error
        raise JournalError(
            f"{path} cannot be read or written: {error}. What was answered before is kept: "
            "make room or mend the permissions, then run the same command again."
        ) from error
    except JournalError:
        raise
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written: {error.strerror or error}. Make room or mend the permissions, or choose another place."
        ) from error


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
