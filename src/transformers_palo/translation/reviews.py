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
"""What reviewers said: every verdict is kept, nobody's replaces another's."""

import difflib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..llm.journal import told_as_journal_error
from .store import FinishedRun, uri_to_read


REVIEWS = "reviews.sqlite"
Verdict = Literal["accept", "edit", "reject"]
VERDICTS: tuple[str, ...] = get_args(Verdict)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reviews (
    id INTEGER PRIMARY KEY,
    language TEXT NOT NULL,
    position INTEGER NOT NULL,
    reviewer TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    translation TEXT NOT NULL,
    seconds REAL,
    reviewed_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS reviews_of_record ON reviews (language, position);
"""


@dataclass(frozen=True)
class Review:
    """One reviewer's word on one record.

    Attributes:
        language: Code of the target language.
        position: Of the source in the input file.
        reviewer: Who.
        verdict: `"accept"` as it is, `"edit"` with changes, `"reject"`.
        reason: Why it was rejected, or a note.
        translation: The turns as the reviewer leaves them.
        seconds: How long it took, if known.
        reviewed_at: When (UTC).
    """

    language: str
    position: int
    reviewer: str
    verdict: Verdict
    reason: str
    translation: Sequence[str]
    seconds: float | None = None
    reviewed_at: str = ""


class ReviewStore:
    """The reviews of a run, in `RUN/reviews.sqlite`; any number of processes and threads may add to it.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / REVIEWS

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with told_as_journal_error(self._path), closing(sqlite3.connect(self._path, timeout=60)) as connection:
            connection.executescript(_SCHEMA)
            with connection:
                yield connection

    def add(self, reviews: Sequence[Review]) -> None:
        """Keep reviews: all of them or none."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows = [
            (
                review.language,
                review.position,
                review.reviewer,
                review.verdict,
                review.reason,
                json.dumps(list(review.translation), ensure_ascii=False),
                review.seconds,
                review.reviewed_at or now,
            )
            for review in reviews
        ]
        with self._open() as connection:
            connection.executemany("INSERT INTO reviews VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def of_language(self, language: str) -> dict[int, list[Review]]:
        """Each reviewer's last word on each record, by position, oldest first."""
        if not self._path.is_file():
            return {}
        query = (
            "SELECT language, position, reviewer, verdict, reason, translation, seconds, reviewed_at FROM reviews "
            "WHERE language = ? AND id IN (SELECT max(id) FROM reviews GROUP BY language, position, reviewer) ORDER BY id"
        )
        found: dict[int, list[Review]] = {}
        with (
            told_as_journal_error(self._path),
            closing(sqlite3.connect(uri_to_read(self._path), uri=True, timeout=60)) as connection,
        ):
            for row in connection.execute(query, (language,)):
                code, position, reviewer, verdict, reason, translation, seconds, reviewed_at = row
                review = Review(
                    code, position, reviewer, verdict, reason, json.loads(translation), seconds, reviewed_at
                )
                found.setdefault(review.position, []).append(review)
        return found

    def decisions(self, language: str) -> dict[int, Review]:
        """What counts for each reviewed record: the last review, unless another reviewer rejected it."""
        return {position: decide(reviews) for position, reviews in self.of_language(language).items()}


def decide(reviews: Sequence[Review]) -> Review:
    """The review that counts: a rejection before anything else, then the latest."""
    return next((review for review in reviews if review.verdict == "reject"), reviews[-1])


@dataclass
class ReviewStats:
    """What the reviews of a language come to.

    Attributes:
        reviewed: Records with at least one review.
        verdicts: Reviews by verdict.
        edit_distance: Mean share of characters that edits changed, over edited records.
        reject_rate: Share of reviewed records that count as rejected.
        agreement: Share of records with several reviewers on which all agree whether it may stay; `None` without any.
        several: How many records have several reviewers.
        seconds: Mean time a review took, where known.
    """

    reviewed: int
    verdicts: dict[str, int]
    edit_distance: float
    reject_rate: float
    agreement: float | None
    several: int
    seconds: float | None


def review_stats(reviews: dict[int, list[Review]], originals: Mapping[int, Sequence[str]]) -> ReviewStats:
    """Count the reviews of a language.

    Args:
        reviews: By position, as `ReviewStore.of_language` gives them.
        originals: The translations before the review, by position.
    """
    every = [review for of_record in reviews.values() for review in of_record]
    distances = [
        edit_distance("\n".join(originals[review.position]), "\n".join(review.translation))
        for review in every
        if review.verdict == "edit" and review.position in originals
    ]
    rejected = sum(decide(of_record).verdict == "reject" for of_record in reviews.values())
    several = [of_record for of_record in reviews.values() if len(of_record) > 1]
    agreed = [len({review.verdict == "reject" for review in of_record}) == 1 for of_record in several]
    times = [review.seconds for review in every if review.seconds is not None]
    return ReviewStats(
        reviewed=len(reviews),
        verdicts={verdict: sum(review.verdict == verdict for review in every) for verdict in VERDICTS},
        edit_distance=sum(distances) / len(distances) if distances else 0.0,
        reject_rate=rejected / len(reviews) if reviews else 0.0,
        agreement=sum(agreed) / len(agreed) if agreed else None,
        several=len(several),
        seconds=sum(times) / len(times) if times else None,
    )


def edit_distance(before: str, after: str) -> float:
    """Share of characters that an edit changed: 0 for none, 1 for all.

    >>> edit_distance("a red car", "a red bus")
    0.33...
    """
    if not before and not after:
        return 0.0
    same = sum(
        block.size for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    )
    return 1 - same / max(len(before), len(after))


def stats_table(folder: Path) -> str:
    """The statistics of all reviewed languages of a run, as a table.

    Raises:
        OSError: There is no run.
        ValueError: Nothing was reviewed.
    """
    run = FinishedRun(folder)
    lines = [
        f"{'language':<10}{'reviewed':>9}{'accept':>8}{'edit':>8}{'reject':>8}{'rejected':>10}{'edited by':>11}{'agreement':>20}"
        f"{'a review takes':>16}"
    ]
    for language in run.languages:
        reviews = ReviewStore(folder).of_language(language)
        if reviews:
            originals = {
                position: outcome.translation
                for position, outcome in run.outcomes(language, accepted=True)
                if position in reviews
            }
            lines.append(_stats_row(language, review_stats(reviews, originals)))
    if len(lines) == 1:
        raise ValueError(f"{folder}: nothing was reviewed yet: 'palo translate review export' or 'serve' comes first.")
    return "\n".join(lines)


def _stats_row(language: str, stats: ReviewStats) -> str:
    counts = "".join(f"{stats.verdicts[verdict]:>8,}" for verdict in VERDICTS)
    agreement = "-" if stats.agreement is None else f"{stats.agreement:.1%} of {stats.several:,}"
    seconds = "-" if stats.seconds is None else f"{stats.seconds:.0f} s"
    return (
        f"{language:<10}{stats.reviewed:>9,}{counts}{stats.reject_rate:>10.1%}{stats.edit_distance:>11.1%}{agreement:>20}"
        f"{seconds:>16}"
    )
