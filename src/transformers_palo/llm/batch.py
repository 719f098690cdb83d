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
"""A client whose answers come from OpenAI's Batch API: half the price, within a day."""

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from .batch_api import ENDED, ENDPOINT, BatchApi
from .batch_files import read_requests, read_results
from .chat import ChatRequest, Reply
from .client import ChatClient, Endpoint
from .errors import EndpointError, FatalEndpointError, RefusedRequestError, RetryableEndpointError, UnansweredError
from .journal import Journal, Write
from .usage import Prices, ProgressLine


if TYPE_CHECKING:
    from openai.types import Batch


SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    base_url TEXT NOT NULL,
    requests INTEGER NOT NULL,
    written_at REAL NOT NULL,
    state TEXT NOT NULL,
    file_id TEXT,
    batch_id TEXT
);
CREATE TABLE IF NOT EXISTS batch_requests (
    key BLOB PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batches (id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_refusals (key BLOB PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID;
"""
# A batch's life here: its file is written, the provider works on it, its answers are in the journal.
WAITING, UNDER_WAY, COLLECTED = "waiting", "under way", "collected"
# Between these it waits once more where the account had too much in work.
HELD = "held back"
# Or it came to nothing: the provider refused it, it was given up, or it was more than the account may have in work.
FAILED, GIVEN_UP, TOO_LARGE = "failed", "given up", "too large"
_TO_START = (WAITING, HELD)
_OPEN = (*_TO_START, UNDER_WAY)
_COLUMNS = "id, name, base_url, requests, written_at, state, file_id, batch_id"
_TOO_MUCH_IN_WORK = "token_limit_exceeded"

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_POLLS_IN_VAIN = 30
_KEPT_AT_ONCE = 500


class UnderWayError(UnansweredError):
    """A request is in a batch that has not ended."""


@dataclass(frozen=True)
class BatchLimits:
    """What the API takes as one batch.

    Attributes:
        requests: Lines of an input file.
        size: Its bytes.
    """

    requests: int = 50_000
    size: int = 200_000_000


@dataclass(frozen=True)
class BatchRow:
    """A batch as the journal knows it.

    Attributes:
        id: Its number in this journal, from 1.
        name: What the provider's batch carries as metadata, so that it is found again.
        base_url: Where it is.
        requests: How many.
        written_at: When its file was written (Unix time).
        state: See above.
        file_id: Its input file at the provider, once uploaded.
        batch_id: Its id at the provider, once started.
    """

    id: int
    name: str
    base_url: str
    requests: int
    written_at: float
    state: str
    file_id: str | None
    batch_id: str | None


def all_batches(rows: Callable[[str], Iterator[tuple[Any, ...]]]) -> list[BatchRow]:
    """The batches of a journal, oldest first, by what queries it."""
    return [BatchRow(*row) for row in rows(f"SELECT {_COLUMNS} FROM batches ORDER BY id")]


def open_batches(journal: Journal) -> list[BatchRow]:
    """Those whose answers are still to come."""
    return [row for row in all_batches(journal.rows) if row.state in _OPEN]


class BatchClient(ChatClient):
    """Puts requests into batches instead of sending them.

    `ask` answers from the journal; what is not there goes into a batch, and `UnderWayError` says so: ask again after
    `wait`. Only the first request of a process is sent as usual, so that a wrong key or model is told now and not
    tomorrow. A batch is in the journal before it is uploaded, and is looked for at the provider before it is started:
    whatever is killed or lost in between, nothing is paid twice.

    Args:
        endpoint: Where to ask.
        journal: Where answers are kept; with the tables of `SCHEMA`.
        folder: Where the files of batches are until their answers are in the journal.
        limits: Of one batch.
    """

    def __init__(
        self, endpoint: Endpoint, journal: Journal, folder: Path, limits: BatchLimits = BatchLimits()
    ) -> None:
        super().__init__(endpoint, journal)
        self._folder = folder
        self._api = BatchApi(endpoint.base_url, endpoint.max_retries)
        self._limits = limits
        self._writing = asyncio.Lock()
        self._lines: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self._keys: set[bytes] = set()
        self._tried = False
        # Whether the account has as much in work as it may.
        self._full = False
        # Batches that ended otherwise than by themselves, in this process.
        self.cancelled: list[str] = []
        # Grows with every answer or refusal, and with every batch that is divided: no growth, no use in going on.
        self.advances = 0
        # From then on, what the journal does not answer is left for another time.
        self.closing = False
        if elsewhere := [row for row in open_batches(journal) if row.base_url != endpoint.base_url]:
            raise ValueError(
                f"{elsewhere[0].name} is under way at {elsewhere[0].base_url}, not at {endpoint.base_url}: "
                "collect it with the --base-url that it was begun with, or forget it: 'palo translate batch cancel --give-up'."
            )
        known = {f"{row.name}.jsonl" for row in open_batches(journal)}
        for path in folder.glob("*") if folder.is_dir() else ():
            if path.name not in known:  # left by a process that was killed
                path.unlink()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self._api.__aexit__(kind, error, trace)

    async def _answer(self, request: ChatRequest) -> Reply:
        if (known := self._journal.find(request)) is not None:
            return known
        if (said := self._first("SELECT said FROM batch_refusals WHERE key = ?", request.key)) is not None:
            raise RefusedRequestError(said)
        async with self._writing:
            if not self.closing and not self._is_under_way(request.key):
                if not self._tried:
                    reply = await super()._answer(request)
                    self._tried = True
                    return reply
                await self._add(request)
        raise UnderWayError("in a batch that has not ended")

    def _first(self, query: str, key: bytes) -> Any:
        row = next(self._journal.rows(query, (key,)), None)
        return None if row is None else row[0]

    def _is_under_way(self, key: bytes) -> bool:
        return key in self._keys or self._first("SELECT batch FROM batch_requests WHERE key = ?", key) is not None

    # Writing

    async def _add(self, request: ChatRequest) -> None:
        body = {"model": request.model, "messages": request.messages, **self._named(request.parameters)}
        entry = {"custom_id": request.key.hex(), "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        if self._lines is not None and self._lines.tell() + len(line) > self._limits.size:
            await self._finish_file()
        if self._lines is None:
            self._folder.mkdir(exist_ok=True)
            self._lines = (self._folder / "partial").open("wb")
        self._lines.write(line)
        self._hash.update(line)
        self._keys.add(request.key)
        if len(self._keys) >= self._most_requests():
            await self._finish_file()

    def _most_requests(self) -> int:
        """As many as the API takes, or half of what was too much for the account."""
        refused = [row.requests // 2 for row in all_batches(self._journal.rows) if row.state == TOO_LARGE]
        return max(1, min([self._limits.requests, *refused]))

    async def _finish_file(self) -> None:
        """Name the file that is being written, and write its requests down as under way."""
        if self._lines is None:
            return
        self._lines.flush()
        self._lines.close()
        number = next(self._journal.rows("SELECT coalesce(max(id), 0) + 1 FROM batches"))[0]
        name = f"{self._hash.hexdigest()[:24]}-{number}"
        (self._folder / "partial").replace(self._folder / f"{name}.jsonl")
        row = (number, name, self._endpoint.base_url, len(self._keys), time.time(), WAITING)
        writes: list[Write] = [
            (f"INSERT INTO batches ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)", row),
            *(("INSERT INTO batch_requests VALUES (?, ?)", (key, number)) for key in self._keys),
        ]
        await self._journal.write(writes)
        self._lines, self._hash, self._keys = None, hashlib.sha256(), set()

    # Sending

    async def submit(self) -> None:
        """Upload and start what waits."""
        async with self._writing:
            await self._finish_file()
        waiting = [row for row in open_batches(self._journal) if row.state in _TO_START]
        # Once the account was full, one is tried for each that ends.
        for row in waiting[: 1 if any(row.state == HELD for row in waiting) else None]:
            if not self._full:
                await self._start(row)

    async def _start(self, row: BatchRow) -> None:
        found = await self._api.find(row.name, row.written_at)
        if found is None:
            file_id = row.file_id or await self._api.upload(self._folder / f"{row.name}.jsonl")
            await self._update(row, file_id=file_id)
            found = await self._api.create(file_id, row.name, row.written_at)
        await self._update(row, batch_id=found.id, state=UNDER_WAY)

    async def _update(self, row: BatchRow, *more: Write, **values: object) -> None:
        assignments = ", ".join(f"{name} = ?" for name in values)
        update = f"UPDATE batches SET {assignments} WHERE id = ?"
        await self._journal.write([(update, (*values.values(), row.id)), *more])

    async def _close(self, row: BatchRow, state: str) -> None:
        """A batch of which nothing more is to come: what it did not answer can be asked again."""
        forget: Write = ("DELETE FROM batch_requests WHERE batch = ?", (row.id,))
        await self._update(row, forget, state=state)
        for path in self._folder.glob(f"{row.name}.*"):
            path.unlink()

    # Waiting

    async def wait(self, prices: Prices | None = None) -> None:
        """Return once no batch is open any more.

        Raises:
            FatalEndpointError: A batch was refused, or the endpoint has been away for half an hour.
        """
        progress = ProgressLine()
        in_vain = 0
        for polls in itertools.count():
            try:
                counts = await self.poll()
                in_vain = 0
            except RetryableEndpointError as error:
                if (in_vain := in_vain + 1) >= _POLLS_IN_VAIN:
                    raise FatalEndpointError(
                        f"{error}, for the {in_vain}th time. Run the same command again once the endpoint is up."
                    ) from None
            if not (still := open_batches(self._journal)):
                break
            done, total = sum(done for done, _ in counts), sum(row.requests for row in still)
            text = f"{len(still):,} batches of {total:,} requests under way; {self.usage.describe(prices)}"
            progress.show(done / total, text)
            await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(polls, 10)))
        progress.close()

    async def poll(self) -> list[tuple[int, int]]:
        """Ask once for every batch that is under way, collect those that ended, and start what waits.

        Returns:
            For each that is still under way: requests done, and all.
        """
        counts, ended = [], False
        for row in open_batches(self._journal):
            if row.state != UNDER_WAY or row.batch_id is None:
                continue
            batch = await self._api.retrieve(row.batch_id)
            if batch.status in ENDED:
                ended |= await self._end(row, batch)
            elif (of := batch.request_counts) is not None:
                counts.append((of.completed + of.failed, row.requests))
        self._full &= not ended
        if self._full and not any(row.state == UNDER_WAY for row in open_batches(self._journal)):
            await self._divide()
        await self.submit()
        return counts

    async def _end(self, row: BatchRow, batch: "Batch") -> bool:
        """Collect a batch; `False` if it has only to be started again later."""
        if batch.status != "failed":
            await self._collect(row, batch)
            return True
        errors = (batch.errors.data if batch.errors else None) or []
        if any(error.code == _TOO_MUCH_IN_WORK for error in errors):
            self._full = True
            await self._update(row, batch_id=None, state=HELD)
            return False
        await self._close(row, FAILED)
        said = "; ".join(f"{error.message}{f' (line {error.line})' if error.line else ''}" for error in errors[:3])
        raise FatalEndpointError(f"{self._endpoint.base_url} refused batch {batch.id}: {said or 'no reason given'}")

    async def _divide(self) -> None:
        """One batch alone is more than the account may have in work: smaller ones come next."""
        waiting = [row for row in open_batches(self._journal) if row.state in _TO_START]
        if max(row.requests for row in waiting) == 1:
            raise FatalEndpointError("A single request is more than this account may have in work as a batch.")
        for row in waiting:
            await self._close(row, TOO_LARGE)
        self._full = False
        self.advances += 1

    # Collecting

    async def _collect(self, row: BatchRow, batch: "Batch") -> None:
        seconds = float((batch.completed_at or batch.expired_at or batch.cancelled_at or 0) - batch.created_at)
        requests = read_requests(self._folder / f"{row.name}.jsonl")
        seen: set[str] = set()
        fatal: FatalEndpointError | None = None
        for kind, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
            if file_id is None:
                continue
            path = self._folder / f"{row.name}.{kind}"
            await self._api.download(file_id, path)
            results = read_results(path, self._endpoint.base_url, self._secret.hide)
            while chunk := list(itertools.islice(results, _KEPT_AT_ONCE)):
                keeping = []
                for custom_id, result in chunk:
                    if custom_id in seen or (request := requests.find(custom_id)) is None:
                        continue
                    seen.add(custom_id)
                    keeping.append(self._keep_result(request, result, seconds))
                fatal = next((error for error in await asyncio.gather(*keeping) if error is not None), fatal)
        if left_out := row.requests - len(seen):
            self.usage.retries["left out"] += left_out
        if batch.status == "cancelled":
            self.cancelled.append(batch.id)
        await self._close(row, COLLECTED)
        if fatal is not None:
            raise fatal

    async def _keep_result(
        self, request: ChatRequest, result: Reply | EndpointError, seconds: float
    ) -> FatalEndpointError | None:
        """Write down what came of a request; returns the error that concerns all requests, if it is one."""
        if isinstance(result, Reply):
            if self._journal.find(request) is None:
                await self._keep(request, result, max(0.0, seconds))
                self.advances += 1
            return None
        if isinstance(result, RefusedRequestError) and result.doubtful:
            result = await self._without_doubt(request, result)
        if isinstance(result, RefusedRequestError):
            await self._journal.write(
                [("INSERT OR REPLACE INTO batch_refusals VALUES (?, ?)", (request.key, str(result)))]
            )
            self.advances += 1
        else:
            self.usage.retries[result.kind if isinstance(result, RetryableEndpointError) else "stopped"] += 1
        return result if isinstance(result, FatalEndpointError) else None

    async def _without_doubt(self, request: ChatRequest, refusal: RefusedRequestError) -> EndpointError:
        """The refusal if it is the text's, else what concerns everything or left it open."""
        try:
            await self._make_sure_others_are_answered(request, refusal)
        except EndpointError as error:
            return error
        return refusal

    async def cancel(self) -> list[BatchRow]:
        """Stop everything that is open, and give up what the provider does not know.

        Returns:
            What was stopped: the answers that it has are still to be collected.
        """
        stopped = []
        for row in open_batches(self._journal):
            found = row.batch_id or getattr(await self._api.find(row.name, row.written_at), "id", None)
            if found is not None and await self._api.cancel(found):
                await self._update(row, batch_id=found, state=UNDER_WAY)
                stopped.append(row)
            else:
                await self._close(row, GIVEN_UP)
        return stopped

    async def give_up(self) -> list[BatchRow]:
        """Forget everything that is open, without a word to the provider: it will be asked for again.

        Returns:
            What was forgotten.
        """
        forgotten = open_batches(self._journal)
        for row in forgotten:
            await self._close(row, GIVEN_UP)
        return forgotten
