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
"""A file of English records into files of translated ones: killed at any moment, it goes on where it was."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..llm import (
    BatchClient,
    ChatClient,
    Endpoint,
    JournalError,
    Prices,
    ProgressLine,
    UnansweredError,
    Usage,
    open_batches,
)
from ..llm.batch import BatchLimits
from ..record_files import Record, RecordReader, open_records
from .checks import Finding
from .conversation import Outcome, Translator
from .glossary import read_examples, read_glossary
from .prompts import Prompter
from .records import MalformedRecordError, as_line, english_turns, hash_of, source_id, with_translation
from .store import RunStore, Settings, Shard, Written, sha256_of, written_whole
from .targets import get_target


# Records under way for each request at a time: what waits for the disk or for its checks leaves no slot empty.
_RECORDS_PER_SLOT = 2
# Rounds of batches that bring no answer at all.
_ROUNDS_IN_VAIN = 3


@dataclass(frozen=True)
class Job:
    """What to translate, and how.

    Attributes:
        input: File of LLaVA-format records.
        output_dir: The run's folder.
        languages: Codes of the target languages.
        model: Name of the translator, as the endpoint knows it.
        max_attempts: How often a turn is asked for before its record is rejected.
        whole_conversations: Ask for whole conversations in one structured request at first.
        limit: Only this many records from the start of the file.
        shard: Only every n-th record.
        glossary: CSV file with a column for each language.
        examples: File of few-shot examples.
    """

    input: Path
    output_dir: Path
    languages: Sequence[str]
    model: str
    max_attempts: int = 3
    whole_conversations: bool = False
    limit: int | None = None
    shard: Shard = field(default_factory=Shard)
    glossary: Path | None = None
    examples: Path | None = None

    def prompters(self) -> list[Prompter]:
        """What makes the requests, for each language.

        Raises:
            ValueError: A language is unknown or named twice, or glossary or examples are malformed.
        """
        targets = [get_target(language) for language in self.languages]
        if twice := [code for code, count in Counter(target.code for target in targets).items() if count > 1]:
            raise ValueError(f"Expected each language once, found {twice[0]} twice.")
        if not targets:
            raise ValueError("Expected at least one language, found none: --languages hi,ar,ur")
        return [
            Prompter(self.model, target, read_glossary(self.glossary, target), read_examples(self.examples, target))
            for target in targets
        ]

    def records(self, reader: RecordReader) -> Iterator[tuple[int, Record]]:
        """The records of this job with their positions in the file, from 0."""
        for position, record in enumerate(reader):
            if self.limit is not None and position >= self.limit:
                return
            if position in self.shard:
                yield position, record


@dataclass
class Summary:
    """What a run came to.

    Attributes:
        accepted: Records by language.
        rejected: Records by language.
        unanswered: Records by language that have no result yet.
        unanswered_ids: Their ids, as far as they can be named.
        why_unanswered: What the endpoint did instead, for one of them.
        usage: Requests and tokens of this process.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    unanswered_ids: dict[str, str] = field(default_factory=dict)
    why_unanswered: str = ""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Batching:
    """That the requests go through the Batch API.

    Attributes:
        wait: Until all is translated; else what is ready is collected, what comes next is sent, and that is all.
        limits: Of one batch.
    """

    wait: bool = True
    limits: BatchLimits = field(default_factory=BatchLimits)


def translate_file(
    job: Job, endpoint: Endpoint, prices: Prices | None = None, batching: Batching | None = None
) -> Summary:
    """Translate a file; called again after an interruption, it goes on, in batches or without.

    Writes `LANG.jsonl` (accepted records in the order of the input) and `LANG.rejects.jsonl` once every record has been
    tried; until then everything is in `journal.sqlite`.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The input is malformed, or the folder holds another run.
        FatalEndpointError: The endpoint answers nothing.
    """
    prompters = job.prompters()
    reader = open_records(job.input)
    input = _Input(job.input)
    settings = Settings(
        input_name=job.input.name,
        input_sha256=input.sha256,
        model=job.model,
        shard=str(job.shard),
        max_attempts=job.max_attempts,
        whole_conversations=job.whole_conversations,
        prompts={prompter.target.code: prompter.fingerprint for prompter in prompters},
        glossaries={prompter.target.code: dict(prompter.glossary) for prompter in prompters},
    )
    store = RunStore(job.output_dir, settings, job.limit)
    try:
        run = _Run(job, store, reader, prompters, prices)
        with input.unchanged():
            asked = run.translate_all(endpoint) if batching is None else run.in_batches(endpoint, batching)
            summary = asyncio.run(asked)
        _write_files(job, store, reader, input, [prompter.target.code for prompter in prompters], summary)
    finally:
        store.close()
    return summary


class _Input:
    """The input file as it was when the run began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._status = self._look()
        self.sha256 = sha256_of(path)

    def _look(self) -> tuple[int, ...]:
        status = self._path.stat()
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """A block in which the file may not change; what else went wrong may have come of it.

        Raises:
            ValueError: It was changed.
        """
        try:
            yield
        except (ValueError, OSError):
            self._complain_if_changed()
            raise
        self._complain_if_changed()

    def _complain_if_changed(self) -> None:
        try:
            if self._look() == self._status or sha256_of(self._path) == self.sha256:
                return
        except FileNotFoundError:
            pass
        raise ValueError(
            f"{self._path} was changed while it was translated: restore it and run the command again. Nothing was overwritten."
        )


class _Run:
    """Many records at once, no more than a window of them in memory."""

    def __init__(
        self, job: Job, store: RunStore, reader: RecordReader, prompters: Sequence[Prompter], prices: Prices | None
    ) -> None:
        self._job = job
        self._store = store
        self._reader = reader
        self._prompters = prompters
        self._prices = prices
        self._summary = Summary()
        self._progress = ProgressLine()

    async def translate_all(self, endpoint: Endpoint) -> Summary:
        if under_way := open_batches(self._store.journal):
            raise ValueError(
                f"{self._store.folder} has {len(under_way):,} batches under way, whose requests would be paid twice: "
                "go on with --batch, or stop them with 'palo translate batch cancel'."
            )
        async with ChatClient(endpoint, self._store.journal) as client:
            await self._pass(client, endpoint.concurrency)
        return self._summary

    async def in_batches(self, endpoint: Endpoint, batching: Batching) -> Summary:
        """Pass after pass: each goes as far as the journal's answers do, and sends what it lacks as batches."""
        folder = self._store.folder / "batches"
        async with BatchClient(endpoint, self._store.journal, folder, batching.limits) as client:
            await client.poll()
            client.cancelled.clear()
            in_vain = 0
            while True:
                await self._pass(client, endpoint.concurrency)
                await client.submit()
                if not open_batches(self._store.journal) or not batching.wait:
                    return self._summary
                before = client.advances
                await client.wait(self._prices)
                in_vain = in_vain + 1 if client.advances == before else 0
                if client.cancelled or in_vain == _ROUNDS_IN_VAIN:
                    client.closing = True
                    await self._pass(client, endpoint.concurrency)
                    stopped = f"batch {client.cancelled[0]} was cancelled" if client.cancelled else ""
                    self._summary.why_unanswered = stopped or client.usage.describe()
                    return self._summary

    async def _pass(self, client: ChatClient, concurrency: int) -> None:
        """Try every record that has no result yet."""
        window = asyncio.Semaphore(_RECORDS_PER_SLOT * concurrency)
        self._summary.usage = client.usage
        self._summary.unanswered.clear()
        self._progress = ProgressLine()
        translators = [
            Translator(client, prompter, self._job.max_attempts, self._job.whole_conversations)
            for prompter in self._prompters
        ]
        known = [self._store.sources(prompter.target.code) for prompter in self._prompters]
        try:
            async with asyncio.TaskGroup() as group:
                for position, record in self._job.records(self._reader):
                    # What cannot be written is told now, not when all is translated.
                    source = hash_of(as_line(record))
                    for translator, sources in zip(translators, known, strict=True):
                        if position < len(sources) and sources[position] == source:
                            continue
                        await window.acquire()
                        task = group.create_task(self._translate_one(translator, position, source, record))
                        task.add_done_callback(lambda _: window.release())
                    self._show_progress(position)
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            self._progress.close()

    async def _translate_one(self, translator: Translator, position: int, source: int, record: Record) -> None:
        language = translator.prompter.target.code
        try:
            outcome = await translator.translate(english_turns(record))
        except MalformedRecordError as error:
            outcome = Outcome()
            outcome.reject(0, [Finding("malformed_source", str(error))])
        except UnansweredError as error:
            self._summary.unanswered[language] += 1
            self._summary.why_unanswered = str(error)
            return
        await self._store.keep(language, position, source, outcome)
        (self._summary.accepted if outcome.accepted else self._summary.rejected)[language] += 1

    def _show_progress(self, position: int) -> None:
        summary = self._summary
        if self._job.limit is None:
            fraction = self._reader.position / max(1, self._reader.size)
        else:
            fraction = position / self._job.limit
        self._progress.show(
            fraction,
            f"{summary.accepted.total():,} accepted, {summary.rejected.total():,} rejected; "
            f"{summary.usage.describe(self._prices)}",
        )


def _first(errors: BaseExceptionGroup) -> BaseException:
    """The error to tell: a full disk rather than what came of it."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if isinstance(error, JournalError)), flat[0])


def _write_files(
    job: Job, store: RunStore, reader: RecordReader, input: _Input, languages: Sequence[str], summary: Summary
) -> None:
    """Write the files of all languages in one pass over the input."""
    for counts in (summary.accepted, summary.rejected, summary.unanswered):
        counts.clear()
    names = [name for language in languages for name in (f"{language}.jsonl", f"{language}.rejects.jsonl")]
    outcomes = {language: _Cursor(store.outcomes(language)) for language in languages}
    written = {language: Written() for language in languages}
    with written_whole([store.folder / name for name in names]) as files, input.unchanged():
        for position, record in job.records(reader):
            source = hash_of(as_line(record))
            for index, language in enumerate(languages):
                outcome = outcomes[language].at(position, source)
                written[language].add(source_id(record, position), answered=outcome is not None)
                if outcome is None:
                    summary.unanswered[language] += 1
                    continue
                if outcome.accepted:
                    summary.accepted[language] += 1
                    line = with_translation(record, position, language, outcome.translation)
                else:
                    summary.rejected[language] += 1
                    line = _rejected(record, position, language, outcome)
                files[2 * index + (not outcome.accepted)].write(as_line(line))
    store.set_written(written)
    summary.unanswered_ids = {language: written[language].named for language in summary.unanswered}


class _Cursor:
    """Reads outcomes along with the input."""

    def __init__(self, outcomes: Iterator[tuple[int, int, Outcome]]) -> None:
        self._outcomes = outcomes
        self._next = next(outcomes, None)

    def at(self, position: int, source: int) -> Outcome | None:
        while self._next is not None and self._next[0] < position:
            self._next = next(self._outcomes, None)
        return self._next[2] if self._next is not None and self._next[:2] == (position, source) else None


def _rejected(record: Record, position: int, language: str, outcome: Outcome) -> Record:
    return {
        "source_id": source_id(record, position),
        "language": language,
        "reasons": list(dict.fromkeys(reason["reason"] for reason in outcome.reasons)),
        "details": outcome.reasons,
        "translation": outcome.translation,
        "record": record,
    }
