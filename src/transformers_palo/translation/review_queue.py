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
"""Which record a reviewer sees next, and what is kept of the answer."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .masking import PLACEHOLDER
from .results import Translated, open_run
from .review_files import check_edit, sample
from .reviews import Review, ReviewStore, Verdict


# A record that somebody has open is shown to others only after this long, or if nothing else is left.
_OPEN_SECONDS = 900.0


class ReviewQueue:
    """A sample of a run that several people review at once.

    Everybody gets the records with the fewest reviews first, and none twice; verdicts are added to the run's reviews
    as they come, so that no reviewer's work replaces another's and a restart loses nothing.

    Args:
        folder: The run.
        language: Code of the target language.
        count: How many records.
        seed: Decides which.
    """

    def __init__(self, folder: Path, language: str, count: int, seed: int) -> None:
        self.language = language
        self.glossary = open_run(folder, language).settings.glossaries[language]
        self._records = {one.position: one for one in sample(folder, language, count, seed)}
        self._store = ReviewStore(folder)
        self._lock = threading.Lock()
        self._open: dict[int, tuple[str, float]] = {}
        self._skipped: dict[str, list[int]] = {}
        self._reviewers: dict[int, set[str]] = {
            position: {review.reviewer for review in reviews}
            for position, reviews in self._store.of_language(language).items()
            if position in self._records
        }
        if not self._records:
            raise ValueError(f"{folder}: no accepted record in {language!r} to review.")

    def next(self, reviewer: str) -> Translated | None:
        """The next record for a reviewer, `None` if all are done."""
        now = time.monotonic()
        with self._lock:
            left = [position for position in self._records if reviewer not in self._reviewers.get(position, ())]
            if not left:
                return None

            skipped = self._skipped.get(reviewer, [])

            def order(position: int) -> tuple[int, bool, int, int]:
                who, since = self._open.get(position, (reviewer, now))
                taken = who != reviewer and now - since < _OPEN_SECONDS
                # What was skipped comes again at the end.
                last_skip = skipped.index(position) + 1 if position in skipped else 0
                return last_skip, taken, len(self._reviewers.get(position, ())), position

            chosen = min(left, key=order)
            self._open[chosen] = (reviewer, now)
            return self._records[chosen]

    def record(self, position: int) -> Translated:
        """The record of a position."""
        return self._records[position]

    def skip(self, reviewer: str, position: int) -> None:
        """Show a record later."""
        with self._lock:
            self._skipped[reviewer] = [
                *(other for other in self._skipped.get(reviewer, []) if other != position),
                position,
            ]
            self._open.pop(position, None)

    def submit(
        self, reviewer: str, position: int, texts: Sequence[str], rejected: bool, reason: str, seconds: float
    ) -> Verdict:
        """Keep a verdict: an acceptance with changes is an edit.

        Raises:
            ValueError: There is no name or no reason, or an edit breaks the record.
        """
        if not reviewer.strip():
            raise ValueError("Write your name first.")
        if rejected and not reason.strip():
            raise ValueError("Write why it is rejected.")
        one = self._records[position]
        # A text area has line feeds alone, and what was not touched stays as it is.
        texts = [
            original if text in (original, as_shown(original)) else _as_stored(text, original)
            for text, original in zip(texts, one.translation, strict=True)
        ]
        if not rejected:
            for number, (english, text, original) in enumerate(
                zip(one.english, texts, one.translation, strict=True), 1
            ):
                if text != original:
                    check_edit(f"Turn {number}", english, text, self.language)
        verdict: Verdict = "reject" if rejected else "accept" if texts == one.translation else "edit"
        review = Review(self.language, position, reviewer.strip(), verdict, reason.strip(), texts, round(seconds, 1))
        with self._lock:
            self._store.add([review])
            self._reviewers.setdefault(position, set()).add(reviewer.strip())
            self._open.pop(position, None)
        return verdict

    def progress(self, reviewer: str) -> tuple[int, int, int]:
        """How many records this reviewer has done, how many anybody has, and how many there are."""
        with self._lock:
            own = sum(reviewer in reviewers for reviewers in self._reviewers.values())
            return own, len(self._reviewers), len(self._records)


def as_shown(text: str) -> str:
    """A turn as the page shows it: without the image placeholder, which is not the reviewer's to move."""
    return text.replace(f"{PLACEHOLDER}\n", "", 1).replace(f"\n{PLACEHOLDER}", "", 1)


def _as_stored(text: str, original: str) -> str:
    text = text.replace("\r\n", "\n")
    if original.startswith(f"{PLACEHOLDER}\n"):
        return f"{PLACEHOLDER}\n{text}"
    return f"{text}\n{PLACEHOLDER}" if original.endswith(f"\n{PLACEHOLDER}") else text
