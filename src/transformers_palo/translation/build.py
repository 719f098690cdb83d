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
"""Runs into one training file: merged, shuffled by a seed, every record with where it comes from."""

import heapq
import itertools
import random
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..record_files import Record, open_records
from .records import as_line, source_id
from .results import open_run, read_accepted
from .reviews import Review, ReviewStore
from .store import FinishedRun, Settings, Shard, refuse_to_overwrite, written_whole


@dataclass
class BuildCounts:
    """What a training file is made of.

    Attributes:
        records: By language.
        reviewed: Records that a reviewer accepted or edited, by language.
        rejected_by_checks: By language; they are left out.
        rejected_by_reviewers: By language; they are left out.
        unanswered: Records that the endpoint did not answer for, by language; there is nothing of them to write.
        unanswered_ids: Their ids, as far as they can be named.
    """

    records: Counter[str] = field(default_factory=Counter)
    reviewed: Counter[str] = field(default_factory=Counter)
    rejected_by_checks: Counter[str] = field(default_factory=Counter)
    rejected_by_reviewers: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    unanswered_ids: dict[str, str] = field(default_factory=dict)

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that there is anything to say of."""
        return sorted(self.records | self.rejected_by_checks | self.rejected_by_reviewers | self.unanswered)


def build(folders: Sequence[Path], out: Path, include_english: Path | None = None, seed: int = 0) -> BuildCounts:
    """Write the accepted records of runs, reviewers' corrections applied, in an order that the seed decides.

    Beside `out`, a dataset card with counts is written: `README.md`. Memory stays small: eight bytes a record.

    Args:
        folders: Runs, or the shards of one.
        out: The training file: `.jsonl`, or `.json` for one array.
        include_english: File of English records to mix in.
        seed: Decides the order.

    Raises:
        OSError: A file cannot be read or written, or is there already.
        ValueError: A record would be there twice, a shard is missing, a run is not finished, or the name ends otherwise.
    """
    if out.suffix not in (".json", ".jsonl"):
        raise ValueError(f"Expected a file that ends in .jsonl or .json (one array), found {out.name}.")
    card = out.with_name("README.md")
    refuse_to_overwrite(out)
    if card.exists():
        raise FileExistsError(
            f"{card} exists already: choose another folder for {out.name}, which brings its own card."
        )
    runs = [open_run(folder) for folder in folders]
    _check_shards(runs)
    for run in runs:
        for language in run.languages:
            run.written(language)  # told now, not when half is written
    counts = BuildCounts()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent) as spool, written_whole([out, card], new=True) as (file, card_file):
        offsets = array("Q")
        for record in _all_records(runs, include_english, counts):
            offsets.append(spool.tell())
            spool.write(as_line(record))
        random.Random(seed).shuffle(offsets)
        _write_in_order(spool, offsets, file, as_array=out.suffix == ".json")
        card_file.write(str(_card(counts, runs, out.name, seed)).encode())
    return counts


def _write_in_order(spool: IO[bytes], offsets: array, file: IO[bytes], as_array: bool) -> None:
    for number, offset in enumerate(offsets):
        spool.seek(offset)
        line = spool.readline()
        file.write(((b"[" if number == 0 else b",\n") + line.rstrip(b"\n")) if as_array else line)
    if as_array:
        file.write(b"]\n" if offsets else b"[]\n")


def _check_shards(runs: Sequence[FinishedRun]) -> None:
    """Every shard of an input is there, once for each language."""
    shards: dict[tuple[str, str], list[Shard]] = {}
    for run in runs:
        for language in run.languages:
            shards.setdefault((run.settings.input_sha256, language), []).append(Shard.parse(run.settings.shard))
    for (input_sha256, language), found in shards.items():
        indices = sorted(shard.index for shard in found)
        wanted = list(range(1, found[0].count + 1))
        if {shard.count for shard in found} != {len(wanted)} or indices != wanted:
            # Equal files may have different names.
            names = sorted({run.settings.input_name for run in runs if run.settings.input_sha256 == input_sha256})
            raise ValueError(
                f"{language} of {', '.join(names)}: expected each of its {len(wanted)} shards once, found {', '.join(map(str, found))}."
            )


def _all_records(runs: Sequence[FinishedRun], include_english: Path | None, counts: BuildCounts) -> Iterator[Record]:
    # In an order that does not depend on how the runs were named, nor on whether an input was divided.
    ordered = sorted(runs, key=lambda run: (run.settings.input_sha256, Shard.parse(run.settings.shard).index))
    for language in sorted({language for run in runs for language in run.languages}):
        with_language = [run for run in ordered if language in run.languages]
        for _, shards in itertools.groupby(with_language, key=lambda run: run.settings.input_sha256):
            in_parts = [_records(run, language, counts) for run in shards]
            for _, record in heapq.merge(*in_parts, key=lambda one: one[0]):
                yield record
    if include_english is not None:
        for position, record in enumerate(open_records(include_english)):
            counts.records["en"] += 1
            origin = {"language": "en", "source_id": source_id(record, position)}
            yield {**record, **origin, "translator": None, "checks": None, "review": None}


def _records(run: FinishedRun, language: str, counts: BuildCounts) -> Iterator[tuple[int, Record]]:
    """Positions in the input and records, in the order of the input."""
    decisions = ReviewStore(run.folder).decisions(language)
    written = run.written(language)
    counts.unanswered[language] += written.unanswered
    if written.unanswered:
        counts.unanswered_ids[language] = ", ".join(filter(None, (counts.unanswered_ids.get(language), written.named)))
    counts.rejected_by_checks[language] += sum(1 for _ in run.outcomes(language, accepted=False))
    for one in read_accepted(run, language):
        review = decisions.get(one.position)
        if review is not None and review.verdict == "reject":
            counts.rejected_by_reviewers[language] += 1
            continue
        counts.records[language] += 1
        counts.reviewed[language] += review is not None
        record = one.record
        if review is not None:
            turns = zip(record["conversations"], review.translation, strict=True)
            record = {**record, "conversations": [{**turn, "value": text} for turn, text in turns]}
        checks = {
            "passed": True,
            "repairs": sorted(one.outcome.repairs),
            "asked_again": sorted(one.outcome.asked_again),
            "flags": sorted(one.outcome.flags),
        }
        made = {"translator": run.settings.model, "checks": checks, "review": _status(review)}
        yield one.position, {**record, **made}


def _status(review: Review | None) -> dict[str, Any]:
    if review is None:
        return {"status": "none", "reviewer": None}
    return {"status": "edited" if review.verdict == "edit" else "accepted", "reviewer": review.reviewer}


_MADE_BY = "Made by `palo translate build`"
_CARD = """---
{metadata}
---

# {name}

{made_by} from {sources}, shuffled with seed {seed}.

| language | records | reviewed | rejected by checks | rejected by reviewers | without an answer |
|---|---:|---:|---:|---:|---:|
{rows}

Translators: {translators}.

Each record has, beside the fields of its source: `language`, `source_id`, `conversations`, `english_conversations`, `translator`,
`checks` (repairs, reasons for which turns were asked again, flags) and `review` (status and reviewer).
"""


def _card(counts: BuildCounts, runs: Sequence[FinishedRun], name: str, seed: int) -> DatasetCard:
    total = counts.records.total()
    languages = counts.languages
    metadata = DatasetCardData(
        language=languages,
        multilinguality="multilingual" if len(languages) > 1 else "monolingual",
        size_categories=_size(total),
        task_categories=["image-text-to-text"],
        configs=[{"config_name": "default", "data_files": name}],
    )
    rows = [
        f"| {code} | {counts.records[code]:,} | {counts.reviewed[code]:,} | {counts.rejected_by_checks[code]:,} | "
        f"{counts.rejected_by_reviewers[code]:,} | {counts.unanswered[code]:,} |"
        for code in languages
    ]
    settings: list[Settings] = [run.settings for run in runs]
    text = _CARD.format(
        metadata=metadata.to_yaml(),
        name=name,
        made_by=_MADE_BY,
        sources=", ".join(sorted({one.input_name for one in settings})),
        seed=seed,
        rows="\n".join(
            [
                *rows,
                f"| all | {total:,} | {counts.reviewed.total():,} | {counts.rejected_by_checks.total():,} | "
                f"{counts.rejected_by_reviewers.total():,} | {counts.unanswered.total():,} |",
            ]
        ),
        translators=", ".join(sorted({one.model for one in settings})),
    )
    return DatasetCard(text)


def _size(total: int) -> str:
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if total < limit:
            return name
    return "1M<n<10M"
