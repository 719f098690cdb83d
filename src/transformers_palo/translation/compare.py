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
"""Two runs over the same input: which reasons became fewer, which text is closer to the reviewed one."""

import heapq
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .finetune import VALIDATION_SHARE
from .results import Translated, is_held_out, open_run, read_accepted
from .reviews import ReviewStore
from .store import FinishedRun


EXAMPLES = 5


@dataclass
class LanguageComparison:
    """One language in both runs.

    Attributes:
        accepted: Records accepted in the first run and in the second.
        rejected: The same for rejected ones.
        reasons: Reason -> records rejected for it in the first run and in the second.
        asked_again: Reason -> turns asked again for it, in both.
        in_both: Records that both runs have a result for.
        accepted_by_both: How many of them both accepted; their text is compared.
        different: How many of these have different text.
        chrf: chrF (0 to 100) of each run to the reviewed text, over all reviewed records; `None` without any.
        chrf_held_out: The same over the validation part, which no tuned translator was trained on.
        reviewed: How many records that is over, all and held out.
        examples: Some records side by side.
    """

    accepted: tuple[int, int] = (0, 0)
    rejected: tuple[int, int] = (0, 0)
    reasons: dict[str, tuple[int, int]] = field(default_factory=dict)
    asked_again: dict[str, tuple[int, int]] = field(default_factory=dict)
    in_both: int = 0
    accepted_by_both: int = 0
    different: int = 0
    chrf: tuple[float, float] | None = None
    chrf_held_out: tuple[float, float] | None = None
    reviewed: tuple[int, int] = (0, 0)
    examples: list[dict[str, Any]] = field(default_factory=list)


def compare_runs(first: Path, second: Path, seed: int = 0) -> dict[str, LanguageComparison]:
    """Compare two runs, language by language. Reviews of both runs count as reference, the second's before the first's.

    Args:
        first: A run.
        second: Another over the same input.
        seed: As it was given to `export-finetune`.

    Raises:
        OSError: One is no run.
        ValueError: They are over different inputs, or have no language or no record in common.
    """
    runs = open_run(first), open_run(second)
    if runs[0].settings.input_sha256 != runs[1].settings.input_sha256:
        raise ValueError(
            f"Expected two runs over the same input, found one over {runs[0].settings.input_name} and one over "
            f"{runs[1].settings.input_name} of other content."
        )
    languages = [language for language in runs[0].languages if language in runs[1].languages]
    if not languages:
        raise ValueError(f"Expected two runs with a language in common, found {first} and {second} without any.")
    in_both = {language: _in_both(runs, language) for language in languages}
    if not any(in_both.values()):
        raise ValueError(
            f"Expected two runs with records in common, found none in {first} (shard {runs[0].settings.shard}) and {second} "
            f"(shard {runs[1].settings.shard})."
        )
    return {language: _compare_language(runs, language, seed, count) for language, count in in_both.items()}


def _in_both(runs: tuple[FinishedRun, FinishedRun], language: str) -> int:
    query = "SELECT position FROM results WHERE language = ? ORDER BY position"
    positions = heapq.merge(*(run.rows(query, (language,)) for run in runs))
    return sum(one == other for one, other in itertools.pairwise(positions))


def _compare_language(
    runs: tuple[FinishedRun, FinishedRun], language: str, seed: int, in_both: int
) -> LanguageComparison:
    comparison = LanguageComparison(in_both=in_both)
    counts = [_count(run, language) for run in runs]
    comparison.accepted = (counts[0][0], counts[1][0])
    comparison.rejected = (counts[0][1], counts[1][1])
    comparison.reasons = _side_by_side(counts[0][2], counts[1][2])
    comparison.asked_again = _side_by_side(counts[0][3], counts[1][3])
    references = {
        position: review.translation
        for run in runs
        for position, review in ReviewStore(run.folder).decisions(language).items()
        if review.verdict != "reject"
    }
    texts: dict[bool, list[tuple[str, str, str]]] = {True: [], False: []}
    for one, other in _both(runs, language):
        comparison.accepted_by_both += 1
        if one.translation != other.translation:
            comparison.different += 1
            _add_example(comparison, one, other, references.get(one.position))
        if (reference := references.get(one.position)) is not None:
            held_out = is_held_out(one.record["source_id"], seed, VALIDATION_SHARE)
            texts[held_out].append(("\n".join(one.translation), "\n".join(other.translation), "\n".join(reference)))
    comparison.chrf = _chrf(texts[True] + texts[False])
    comparison.chrf_held_out = _chrf(texts[True])
    comparison.reviewed = (len(texts[True] + texts[False]), len(texts[True]))
    return comparison


def _count(run: FinishedRun, language: str) -> tuple[int, int, Counter[str], Counter[str]]:
    accepted = rejected = 0
    reasons: Counter[str] = Counter()
    asked_again: Counter[str] = Counter()
    for _, outcome in run.outcomes(language):
        accepted += outcome.accepted
        rejected += not outcome.accepted
        reasons.update({reason["reason"] for reason in outcome.reasons})
        asked_again += outcome.asked_again
    return accepted, rejected, reasons, asked_again


def _side_by_side(first: Counter[str], second: Counter[str]) -> dict[str, tuple[int, int]]:
    return {name: (first[name], second[name]) for name in sorted(first.keys() | second.keys())}


def _both(runs: tuple[FinishedRun, FinishedRun], language: str) -> Iterator[tuple[Translated, Translated]]:
    """Records that both runs accepted: pairs, in the order of the input."""
    others = read_accepted(runs[1], language)
    other = next(others, None)
    for one in read_accepted(runs[0], language):
        while other is not None and other.position < one.position:
            other = next(others, None)
        if other is not None and other.position == one.position:
            yield one, other


def _add_example(
    comparison: LanguageComparison, one: Translated, other: Translated, reference: Sequence[str] | None
) -> None:
    # Reviewed records show most; without any, the first that differ.
    if len(comparison.examples) < EXAMPLES:
        turn = next(
            i for i, texts in enumerate(zip(one.translation, other.translation, strict=True)) if texts[0] != texts[1]
        )
        comparison.examples.append(
            {
                "source_id": one.record["source_id"],
                "english": one.english[turn],
                "first": one.translation[turn],
                "second": other.translation[turn],
                "reviewed": None if reference is None else reference[turn],
            }
        )


def _chrf(texts: list[tuple[str, str, str]]) -> tuple[float, float] | None:
    if not texts:
        return None
    try:
        from sacrebleu.metrics import CHRF
    except ImportError:
        raise ImportError(
            "Comparing with reviewed text needs sacrebleu: pip install 'transformers-palo[translate]'"
        ) from None

    first, second, references = (list(column) for column in zip(*texts, strict=True))
    metric = CHRF()
    return (metric.corpus_score(first, [references]).score, metric.corpus_score(second, [references]).score)


def comparison_text(comparisons: dict[str, LanguageComparison]) -> str:
    """The comparison for a console."""
    lines = []
    for language, one in comparisons.items():
        lines.append(f"{language:<34}{'first':>10}{'second':>10}")
        lines.append(_row("accepted", one.accepted))
        lines.append(_row("rejected", one.rejected))
        lines += [_row(f"rejected for {name}", pair) for name, pair in one.reasons.items()]
        lines += [_row(f"asked again for {name}", pair) for name, pair in one.asked_again.items()]
        for name, pair, count in (
            ("chrF", one.chrf, one.reviewed[0]),
            ("chrF, held out", one.chrf_held_out, one.reviewed[1]),
        ):
            if pair is not None:
                lines.append(f"{name:<34}{pair[0]:>10.1f}{pair[1]:>10.1f}   (to {count:,} reviewed records)")
        lines.append(
            f"{one.in_both:,} records are in both runs; {one.different:,} of {one.accepted_by_both:,} records that both "
            "accepted differ"
        )
        for example in one.examples:
            lines += [
                "",
                *(f"  {name}: {json.dumps(text, ensure_ascii=False)}" for name, text in example.items() if text),
            ]
        lines.append("")
    return "\n".join(lines).rstrip()


def _row(name: str, pair: tuple[int, int]) -> str:
    return f"{name:<34}{pair[0]:>10,}{pair[1]:>10,}"
