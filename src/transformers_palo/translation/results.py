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
"""Translated records of a finished run, with what the journal and the reviewers know of them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..record_files import Record
from .conversation import Outcome
from .report import open_lines
from .store import FinishedRun


@dataclass(frozen=True)
class Translated:
    """An accepted record in one language.

    Attributes:
        position: Of its source in the input file, from 0.
        record: As it stands in `LANG.jsonl`.
        outcome: What the journal says of it.
    """

    position: int
    record: Record
    outcome: Outcome

    @property
    def english(self) -> list[str]:
        """The English turns."""
        return [turn["value"] for turn in self.record["english_conversations"]]

    @property
    def translation(self) -> list[str]:
        """The translated turns."""
        return [turn["value"] for turn in self.record["conversations"]]

    @property
    def roles(self) -> list[str]:
        """Who says each turn."""
        return [turn["from"] for turn in self.record["conversations"]]


def read_accepted(run: FinishedRun, language: str) -> Iterator[Translated]:
    """The accepted records of a language, in the order of the input.

    Raises:
        ValueError: `LANG.jsonl` is not what the journal says.
    """
    path = run.folder / f"{language}.jsonl"
    outcomes = run.outcomes(language, accepted=True)
    records = open_lines(path)
    for record in records:
        position, outcome = next(outcomes, (None, None))
        if position is None or outcome is None or not _belongs(record, outcome):
            raise ValueError(_MISMATCH.format(path=path))
        yield Translated(position, record, outcome)
    if next(outcomes, None) is not None:
        raise ValueError(_MISMATCH.format(path=path))


_MISMATCH = "{path} does not fit the run's journal: 'palo translate run', once more, writes it anew."


def _belongs(record: Record, outcome: Outcome) -> bool:
    return [turn["value"] for turn in record["conversations"]] == outcome.translation


def is_held_out(source_id: str | int, seed: int, share: float) -> bool:
    """Whether a source record is in the validation part: the same in every language, run and command."""
    digest = hashlib.sha256(f"{seed} {source_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def open_run(folder: Path, language: str | None = None) -> FinishedRun:
    """A finished run, in which a language has results.

    Raises:
        OSError: There is no run.
        ValueError: It has no such language.
    """
    run = FinishedRun(folder)
    languages = run.languages
    if language is not None and language not in languages:
        raise ValueError(f"{folder}: expected one of its languages ({', '.join(languages)}), found {language!r}.")
    return run
