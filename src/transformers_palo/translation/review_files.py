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
"""Samples for reviewers as spreadsheets, and back."""

import csv
import io
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .checks import check_translation
from .damage import DAMAGED, check_characters
from .results import Translated, open_run, read_accepted
from .review_tools import turns_to_review, write_argilla, write_label_studio
from .store import refuse_to_overwrite, written_whole
from .targets import get_target


COLUMNS = (
    "language", "position", "source_id", "image", "turn", "role", "flags", "english", "translation",
    "edited", "verdict", "reason", "reviewer", "minutes",
)  # fmt: skip
# What an edit may not do to a turn, whoever makes it.
_NEVER = {"empty", "placeholder_lost", "markup_changed", "bidi_control", DAMAGED}
_LONG_ANSWER = 400


def kind_of(one: Translated) -> str:
    """What a record is like: `"conversation"` (several questions), `"long answer"` or `"short answer"`."""
    if len(one.english) > 2:
        return "conversation"
    return "long answer" if len(one.english[-1]) > _LONG_ANSWER else "short answer"


def sample(folder: Path, language: str, count: int, seed: int) -> list[Translated]:
    """Records to review: as many of each kind, flagged and not, as there are or as fit, in the order of the input.

    Args:
        folder: The run.
        language: Code of the target language.
        count: How many records; fewer if there are fewer.
        seed: Decides which.
    """
    run = open_run(folder, language)
    strata: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for one in read_accepted(run, language):
        strata[kind_of(one), bool(one.outcome.flags)].append(one.position)
    chance = random.Random(seed)
    for name in sorted(strata):
        chance.shuffle(strata[name])
    wanted = set(_even_share([strata[name] for name in sorted(strata)], count))
    return [one for one in read_accepted(run, language) if one.position in wanted]


def _even_share(strata: Sequence[Sequence[int]], count: int) -> list[int]:
    """One of each in turn, so that small strata are taken whole and large ones fill the rest."""
    taken: list[int] = []
    for index in range(max(map(len, strata), default=0)):
        taken += [stratum[index] for stratum in strata if index < len(stratum)]
        if len(taken) >= count:
            break
    return taken[:count]


def export_reviews(
    folder: Path, language: str, count: int, seed: int, out: Path, format: str = "csv", image_url: str = ""
) -> int:
    """Write a sample, an entry for each turn.

    Args:
        folder: The run.
        language: Code of the target language.
        count: How many records.
        seed: Decides which.
        out: What to write: a CSV file, in which `edited`, `verdict`, `reason`, `reviewer` and `minutes` are to be filled
            in; Label Studio's tasks, with the labelling configuration beside them; or a folder for Argilla.
        format: `"csv"`, `"label-studio"` or `"argilla"`.
        image_url: What stands before the image's name, for the two tools.

    Returns:
        How many records were written.
    """
    refuse_to_overwrite(out)
    records = sample(folder, language, count, seed)
    if format != "csv":
        target, model = get_target(language), open_run(folder).settings.model
        turns = [turn for one in records for turn in turns_to_review(one, target, model, image_url)]
        (write_label_studio if format == "label-studio" else write_argilla)(turns, target, out)
        return len(records)
    with written_whole([out], new=True) as (file,):
        # With a byte-order mark, by which spreadsheet programs recognise UTF-8.
        file.write("\ufeff".encode())
        file.write(_csv_lines([COLUMNS]))
        for one in records:
            file.write(_csv_lines(_rows(one, language)))
    return len(records)


def _csv_lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _rows(one: Translated, language: str) -> list[list[Any]]:
    flags = ", ".join(sorted(one.outcome.flags))
    start = [language, one.position, one.record["source_id"], one.record.get("image", "")]
    return [
        [*start, number, role, flags if number == 1 else "", english, translation, "", "", "", "", ""]
        for number, (role, english, translation) in enumerate(
            zip(one.roles, one.english, one.translation, strict=True), start=1
        )
    ]


def check_edit(where: str, english: str, edited: str, language: str) -> None:
    """Refuse an edit that breaks what training data needs; on everything else the reviewer knows better.

    Raises:
        ValueError: It loses a placeholder, code, tags or line breaks.
    """
    for finding in check_characters(english, edited) + check_translation(english, edited, get_target(language)):
        if finding.reason in _NEVER:
            raise ValueError(f"{where}: the edit has {finding.reason} ({finding.detail}): mend it.")
