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
from .results import Translated, open_run, read_accepted
from .review_tools import Annotation, read_annotations, turns_to_review, write_argilla, write_label_studio
from .reviews import VERDICTS, Review, ReviewStore, Verdict
from .store import FinishedRun, written_whole
from .targets import get_target


COLUMNS = (
    "position", "source_id", "image", "turn", "role", "flags", "english", "translation",
    "edited", "verdict", "reason", "reviewer", "minutes",
)  # fmt: skip
# What an edit may not do to a turn, whoever makes it.
_NEVER = {"empty", "placeholder_lost", "markup_changed", "bidi_control"}
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
    records = sample(folder, language, count, seed)
    if format != "csv":
        target, model = get_target(language), open_run(folder).settings.model
        turns = [turn for one in records for turn in turns_to_review(one, target, model, image_url)]
        (write_label_studio if format == "label-studio" else write_argilla)(turns, target, out)
        return len(records)
    with written_whole([out]) as (file,):
        # With a byte-order mark, by which spreadsheet programs recognise UTF-8.
        file.write("\ufeff".encode())
        file.write(_csv_lines([COLUMNS]))
        for one in records:
            file.write(_csv_lines(_rows(one)))
    return len(records)


def _csv_lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _rows(one: Translated) -> list[list[Any]]:
    flags = ", ".join(sorted(one.outcome.flags))
    start = [one.position, one.record["source_id"], one.record.get("image", "")]
    return [
        [*start, number, role, flags if number == 1 else "", english, translation, "", "", "", "", ""]
        for number, (role, english, translation) in enumerate(
            zip(one.roles, one.english, one.translation, strict=True), start=1
        )
    ]


def import_reviews(folder: Path, path: Path, reviewer: str | None = None) -> tuple[int, int]:
    """Read a filled-in sample and keep its verdicts: all of them, or none if a row is wrong.

    A record is rejected if one of its turns is, edited if one is, else accepted if one says so; a record without any
    verdict or edit has not been reviewed.

    Args:
        folder: The run.
        path: The CSV file, Label Studio's JSON export, or Argilla's records.
        reviewer: Who, where the file does not say.

    Returns:
        How many records were reviewed, and how many were not.

    Raises:
        ValueError: A row is wrong; the message names it.
    """
    if (annotations := read_annotations(path)) is not None:
        return _import_annotations(folder, annotations, reviewer)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise ValueError(
                f"{path}: expected the columns that 'review export' writes, found none named {missing[0]!r}."
            )
        # Rows as a spreadsheet counts them; the header is the first.
        rows = [(f"{path}, row {number}", row) for number, row in enumerate(reader, start=2)]
    by_position: dict[int, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for where, row in rows:
        if not row["position"].isdecimal():
            raise ValueError(f"{where}: expected a number in 'position', found {row['position']!r}.")
        by_position[int(row["position"])].append((where, row))
    run = open_run(folder)
    language = _language_of(run, by_position, path)
    originals = {one.position: one for one in read_accepted(run, language) if one.position in by_position}
    reviews = [
        review
        for position, of_record in sorted(by_position.items())
        if (review := _review(originals[position], of_record, language, reviewer)) is not None
    ]
    ReviewStore(folder).add(reviews)
    return len(reviews), len(by_position) - len(reviews)


def _import_annotations(folder: Path, annotations: Sequence[Annotation], reviewer: str | None) -> tuple[int, int]:
    """A record counts once one person has said something of each of its turns, or rejected one."""
    run = open_run(folder)
    by_person: dict[tuple[str, int, str], dict[int, Annotation]] = defaultdict(dict)
    for one in annotations:
        by_person[one.language, one.position, one.reviewer or reviewer or ""][one.turn] = one
    wanted = {(language, position) for language, position, _ in by_person}
    originals = {
        (language, one.position): one
        for language in sorted({language for language, _ in wanted})
        for one in read_accepted(open_run(folder, language), language)
        if (language, one.position) in wanted
    }
    reviews = []
    for (language, position, _), said in sorted(by_person.items()):
        rows = _rows_of(originals.get((language, position)), said, run)
        review = _review(originals[language, position], rows, language, reviewer)
        if review is not None and (review.verdict == "reject" or len(said) == len(rows)):
            reviews.append(review)
    ReviewStore(folder).add(reviews)
    return len(reviews), len(by_person) - len(reviews)


def _rows_of(
    original: Translated | None, said: dict[int, Annotation], run: FinishedRun
) -> list[tuple[str, dict[str, str]]]:
    """What one person said of a record, as the rows of a spreadsheet."""
    first = next(iter(said.values()))
    turns = original.translation if original is not None else []
    if any(one.turn > len(turns) or one.translation != turns[one.turn - 1] for one in said.values()):
        raise ValueError(
            f"{first.where}: expected a translation of {run.folder} as 'review export' wrote it, found another."
        )
    rows = []
    for number, original_text in enumerate(turns, start=1):
        one = said.get(number)
        row = {"edited": "", "verdict": "", "reason": "", "reviewer": first.reviewer, "minutes": ""}
        if one is not None:
            # A text area has line feeds alone and may take away what is blank at an end.
            same = _as_in_csv(one.edited).strip() == _as_in_csv(original_text).strip()
            row |= {"edited": "" if same else one.edited, "reason": one.reason}
            row["verdict"] = "accept" if same and one.verdict == "edit" else one.verdict
            row["minutes"] = "" if one.seconds is None else str(one.seconds / 60)
        rows.append((one.where if one is not None else first.where, row))
    return rows


def _language_of(run: FinishedRun, by_position: dict[int, list[tuple[str, dict[str, str]]]], path: Path) -> str:
    """The language whose translations stand in the file."""
    for language in run.languages:
        found = {one.position: one for one in read_accepted(run, language) if one.position in by_position}
        if found.keys() == by_position.keys() and all(
            [row["translation"] for _, row in rows] == [_as_in_csv(text) for text in found[position].translation]
            for position, rows in by_position.items()
        ):
            return language
    raise ValueError(
        f"{path}: expected translations of {run.folder} as 'review export' wrote them, found others: corrections belong into "
        "the column 'edited', and all turns of a record have to be there."
    )


def _as_in_csv(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _review(
    one: Translated, rows: Sequence[tuple[str, dict[str, str]]], language: str, reviewer: str | None
) -> Review | None:
    texts, verdicts, reasons = list(one.translation), set(), []
    for index, (where, row) in enumerate(rows):
        verdict, edited = row["verdict"].strip().lower(), row["edited"]
        if verdict and verdict not in VERDICTS:
            raise ValueError(f"{where}: expected a verdict of {', '.join(VERDICTS)} or none, found {verdict!r}.")
        if verdict == "edit" and not edited.strip():
            raise ValueError(f"{where}: the verdict is edit, but 'edited' is empty.")
        if edited.strip() and edited != texts[index]:
            check_edit(where, one.english[index], edited, language)
            texts[index] = edited
            verdict = verdict if verdict == "reject" else "edit"
        verdicts.add(verdict)
        reasons.append(row["reason"].strip())
    verdicts.discard("")
    if not verdicts:
        return None
    where = rows[0][0]
    who = next((row["reviewer"].strip() for _, row in rows if row["reviewer"].strip()), reviewer or "")
    if not who:
        raise ValueError(f"{where}: expected who reviewed it in 'reviewer', or --reviewer, found neither.")
    verdict_of_record: Verdict = "reject" if "reject" in verdicts else "edit" if "edit" in verdicts else "accept"
    minutes = [_minutes(where, row["minutes"]) for where, row in rows if row["minutes"].strip()]
    seconds = 60 * sum(minutes) if minutes else None
    return Review(language, one.position, who, verdict_of_record, "; ".join(filter(None, reasons)), texts, seconds)


def check_edit(where: str, english: str, edited: str, language: str) -> None:
    """Refuse an edit that breaks what training data needs; on everything else the reviewer knows better.

    Raises:
        ValueError: It loses a placeholder, code, tags or line breaks.
    """
    for finding in check_translation(english, edited, get_target(language)):
        if finding.reason in _NEVER:
            raise ValueError(f"{where}: the edit has {finding.reason} ({finding.detail}): mend it.")


def _minutes(where: str, text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{where}: expected a number in 'minutes', found {text!r}.") from None
