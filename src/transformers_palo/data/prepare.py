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
"""Records in LLaVA's format -> a folder of parquet shards with card, report and rejects, in bounded memory.

Records are read, examined and written a batch at a time. What has to be remembered lies in a [`State`] beside the
shards; with every shard that is whole, the state of that moment is kept, and a run that was killed goes on from there.
The folder gets its name when everything in it is whole.
"""

import base64
import gc
import importlib.metadata
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tqdm.auto import tqdm

from ..record_files import Record, RecordReader, UnreadableRecord
from .card import write_card
from .config import PreparationConfig, SourceConfig
from .examine import Examiner, Outcome
from .records import Converted, Rejected, RejectReason, Repair, shown
from .report import Report, Tally
from .sources import HubRecords, open_source
from .state import State
from .tables import ShardWriter, features, shard_facts


SHARD_BYTES = 2**28
SHARD_RECORDS = 100_000
BATCH_RECORDS = 1000
BATCH_SIZE = 2**25  # characters and bytes
CHECKING_THREADS = 16
PACKAGES = ("transformers-palo", "transformers", "datasets", "pyarrow")


def prepare_data(config: PreparationConfig) -> Report:
    """Prepare a data set, or go on with one that was interrupted.

    Args:
        config: What to prepare; see [`load_config`].

    Returns:
        What became of the records. `config.output_dir` then holds `train-*.parquet`, `README.md`, `report.json`,
        `rejects.jsonl` and `mixture.json`.

    Raises:
        ValueError: A file is malformed, too many records were rejected, or an interrupted run had other settings.
        OSError: The folder exists, a source does not, or another run is at work on it.
    """
    target = Path(config.output_dir)
    if target.exists():
        raise FileExistsError(f"{target} exists already: choose another output_dir, or remove it first.")
    readers = [open_source(source) for source in config.sources]
    partial = target.with_name(f"{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    state = State(partial / "state.sqlite")
    # Millions of short-lived dicts make the collector look through everything that imports left, again and again.
    gc.freeze()
    try:
        with ThreadPoolExecutor(CHECKING_THREADS) as threads:
            report = _Preparation(config, readers, partial, state, threads).run()
    finally:
        gc.unfreeze()
        state.close()
    partial.rename(target)
    (target / state.path.name).unlink()
    return report


@dataclass
class _Progress:
    """How far the work was when a shard was whole."""

    source: int = 0
    read: int = 0  # records of that source
    kept: int = 0  # of these
    reject_bytes: int = 0
    shards: int = 0
    tally: list[Any] = field(default_factory=list)


class _Preparation:
    def __init__(
        self,
        config: PreparationConfig,
        readers: list[RecordReader | HubRecords],
        folder: Path,
        state: State,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.config = config
        self.readers = readers
        self.folder = folder
        self.state = state
        self.settings = self._settings()
        self._check_settings()
        self.examiner = Examiner(config, state, threads)
        self.columns = features(with_tokens=config.tokenizer is not None)
        self.progress = _Progress(**(state.load("progress") or {}))
        self.tally = Tally(self.progress.tally)
        self.shard: ShardWriter | None = None
        self.uncommitted = 0

    def run(self) -> Report:
        size = sum(reader.size for reader in self.readers)
        with (
            (self.folder / "rejects.jsonl").open("ab") as rejects,
            tqdm(total=size or None, unit="B", unit_scale=True, desc="Preparing", dynamic_ncols=True) as bar,
        ):
            rejects.truncate(self.progress.reject_bytes)
            rejects.seek(0, os.SEEK_END)
            for number in range(self.progress.source, len(self.readers)):
                self._read_source(number, rejects, bar)
                self.progress.source, self.progress.read, self.progress.kept = number + 1, 0, 0
            self._commit(rejects)
        return self._finish()

    def _settings(self) -> dict[str, Any]:
        """What an interrupted run can only go on with."""
        settings = asdict(self.config)
        # What these say concerns the end of the work alone.
        for name in ("max_reject_share", "mixture", "seed", "output_dir"):
            del settings[name]
        files = [reader.path for reader in self.readers if isinstance(reader, RecordReader)]
        stamps = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
        return {**settings, "files": stamps, "versions": _versions()}

    def _check_settings(self) -> None:
        begun = self.state.load("settings") or self.settings
        if changed := [name for name in self.settings if self.settings[name] != begun.get(name)]:
            raise ValueError(
                f"{self.folder} holds an interrupted run with other settings ({', '.join(changed)}): restore them to go on "
                "with it, or remove that folder to begin anew."
            )

    # ---- reading

    def _read_source(self, number: int, rejects: IO[bytes], bar: tqdm) -> None:
        source, reader, progress = self.config.sources[number], self.readers[number], self.progress
        done = sum(reader.size for reader in self.readers[:number])
        for batch in _batches(reader, progress.read):
            outcomes = self.examiner.examine(batch, number, progress.read)
            self._take(outcomes, source, rejects)
            bar.set_postfix(kept=self.tally.kept, rejected=self.tally.rejected, refresh=not reader.size)
            bar.update(done + reader.position - bar.n)
            if progress.kept == source.limit:
                return
            if self.uncommitted >= SHARD_RECORDS or (self.shard is not None and self.shard.bytes >= SHARD_BYTES):
                self._commit(rejects)

    def _take(self, outcomes: list[Outcome], source: SourceConfig, rejects: IO[bytes]) -> None:
        """Write examples and rejects, up to the source's limit."""
        examples = []
        for outcome in outcomes:
            if self.progress.kept == source.limit:
                break
            self.progress.read += 1
            self.uncommitted += 1
            self._check_id(outcome, source)
            if isinstance(outcome.result, Converted):
                self.progress.kept += 1
                self.tally.keep(outcome.result.example, outcome.result.repairs)
                examples.append(outcome.result.example)
            else:
                self.tally.reject(source.name, outcome.language, outcome.result.reason)
                rejects.write(_reject_line(outcome, outcome.result, source.name))
        if examples:
            if self.shard is None:
                path = self.folder / f"shard-{self.progress.shards:05}.parquet"
                self.shard = ShardWriter(path, self.columns, embed_images=self.config.embed_images)
            self.shard.write(examples)

    def _check_id(self, outcome: Outcome, source: SourceConfig) -> None:
        if not isinstance(outcome.result, Converted):
            return
        uses = self.state.use_id(source.name, outcome.language, outcome.id)
        if uses and source.duplicate_ids == "reject":
            outcome.reject(RejectReason.DUPLICATE_ID, f"{outcome.id} was kept before")
        elif uses:
            outcome.result.example["id"] = f"{outcome.id}#{uses + 1}"
            outcome.result.repairs.append(Repair.ID_NUMBERED)

    def _commit(self, rejects: IO[bytes]) -> None:
        """Close the shard; from here on the work is not done again."""
        if self.shard is not None:
            self.shard.close()
            self.progress.shards += 1
        self.shard, self.uncommitted = None, 0
        rejects.flush()
        os.fsync(rejects.fileno())
        self.progress.reject_bytes = rejects.tell()
        self.progress.tally = self.tally.rows()
        self.state.commit(progress=asdict(self.progress), settings=self.settings)

    # ---- finishing

    def _finish(self) -> Report:
        """Names, card and report; all of it can be done again."""
        config, report = self.config, self.tally.report(self.config.tokenizer, self.config.max_length)
        _write_json(self.folder / "report.json", report)
        self._check_reject_share(report)
        shares = self._shares(report)
        mixture = self._mixture(report, self._name_shards())
        write_card(self.folder, Path(config.output_dir).name, mixture, shares, report)
        # The last of all: a folder that has it is whole.
        _write_json(self.folder / "mixture.json", mixture)
        return report

    def _name_shards(self) -> list[Path]:
        """Give the shards the names by which `datasets` finds them."""
        count = self.progress.shards
        named = [self.folder / f"train-{number:05}-of-{count:05}.parquet" for number in range(count)]
        for number, path in enumerate(named):
            shard = self.folder / f"shard-{number:05}.parquet"
            if shard.exists():
                shard.rename(path)
        return named

    def _check_reject_share(self, report: Report) -> None:
        share = report["rejected"] / (report["read"] or 1)
        reasons = sorted(self.tally.reasons().items(), key=lambda item: -item[1])
        named = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
        if share > self.config.max_reject_share:
            raise ValueError(
                f"{report['rejected']:,} of {report['read']:,} records were rejected ({share:.1%}), more than "
                f"max_reject_share {self.config.max_reject_share:.1%}: {named}. {self.folder / 'rejects.jsonl'} has them; "
                f"mend the data and remove {self.folder}, or raise max_reject_share and run again, which ends at once."
            )
        if not report["kept"]:
            raise ValueError(f"No record is left to write: {named or 'the sources are empty'}.")

    def _shares(self, report: Report) -> dict[str, float]:
        """Language -> share of an epoch. Weights that do not fit the data are told here, before training finds out."""
        amounts: dict[str, float] = {}
        for source in self.config.sources:
            for language, counts in report["records"].get(source.name, {}).items():
                amounts[language] = amounts.get(language, 0.0) + source.weight * counts["records"]
        return self.config.mixture.shares(amounts)

    def _mixture(self, report: Report, shards: list[Path]) -> dict[str, Any]:
        """What `mixture.json` holds: everything that the data set was made of, and what tells its shards from others."""
        settings = asdict(self.config)
        del settings["output_dir"]
        for source in settings["sources"]:
            languages = report["records"].get(source["name"], {})
            source["records"] = sum(counts["records"] for counts in languages.values())
        return {**settings, "versions": _versions(), "shards": [shard_facts(path) for path in shards]}


def _batches(reader: RecordReader | HubRecords, first: int) -> Iterator[list[Record | UnreadableRecord]]:
    """Records from the given one on, by the thousand; fewer where they are large."""
    batch: list[Record | UnreadableRecord] = []
    size = 0
    for record in islice(reader.records(), first, None):
        batch.append(record)
        size += reader.record_size
        if len(batch) == BATCH_RECORDS or size >= BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _reject_line(outcome: Outcome, rejected: Rejected, source: str) -> bytes:
    line = {
        "id": outcome.id,
        "source": source,
        "language": outcome.language,
        "reason": rejected.reason,
        "detail": rejected.detail,
        "record": outcome.record,
    }
    try:
        return _json(line, ensure_ascii=False)
    except UnicodeEncodeError:
        return _json(line)
    except RecursionError:
        return _json({**line, "record": shown(outcome.record)})


def _json(line: dict[str, Any], **options: Any) -> bytes:
    try:
        text = json.dumps(line, default=_as_text, allow_nan=False, **options)
    except ValueError:
        # Not a number, from parquet: JSON has no word for it.
        plain = json.loads(json.dumps(line, default=_as_text), parse_constant=str)
        text = json.dumps(plain, **options)
    return text.encode() + b"\n"


def _as_text(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
