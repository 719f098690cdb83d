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
"""Filled-in samples back from spreadsheets and annotation tools, in whatever order and shape these leave them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .results import Translated, open_run, read_accepted
from .review_files import COLUMNS, check_edit
from .review_tools import Annotation, read_annotations
from .reviews import VERDICTS, Review, ReviewStore, Verdict
from .spreadsheets import read_table
from .store import FinishedRun


Row = tuple[str, dict[str, str]]


class Imported(NamedTuple):
    """What came of an import.

    Attributes:
        reviewed: How many records have a verdict.
        unreviewed: How many have none.
        partly: Records of which people said something that cannot be kept before the other turns have their verdicts,
            with these: `"000000002 (turn 3)"`.
    """

    reviewed: int
    unreviewed: int
    partly: list[str]


def import_reviews(folder: Path, path: Path, reviewer: str | None = None) -> Imported:
    """Read a filled-in sample and keep its verdicts: all of them, or none if a row is wrong.

    Rows of a spreadsheet are found by `position` and `turn`, in whatever order they are; columns that are only there to
    be read may be gone. A record is rejected if one of its turns is, edited if one is, else accepted if one says so; a record without
    any verdict or edit has not been reviewed.

    Args:
        folder: The run.
        path: The CSV file, as any spreadsheet program saves it, Label Studio's JSON export, or Argilla's records.
        reviewer: Who, where the file does not say.

    Raises:
        ValueError: A row is wrong; the message names it.
    """
    if (annotations := read_annotations(path)) is not None:
        return _import_annotations(folder, annotations, reviewer)
    columns, rows = read_table(path)
    for needed in (("position",), ("turn",), ("verdict", "edited"), ("language", "translation")):
        if not set(needed) & set(columns):
            raise ValueError(
                f"{path}: expected the columns that 'review export' writes, found none named {' or '.join(map(repr, needed))}."
            )
    by_position = _by_position(rows)
    run = open_run(folder)
    language = _language_of(run, by_position, path)
    originals = {one.position: one for one in read_accepted(run, language) if one.position in by_position}
    reviews = []
    for position, of_record in sorted(by_position.items()):
        _check_turns(path, position, of_record, originals.get(position), run)
        review = _review(originals[position], [row for _, row in sorted(of_record.items())], language, reviewer)
        if review is not None:
            reviews.append(review)
    ReviewStore(folder).add(reviews)
    return Imported(len(reviews), len(by_position) - len(reviews), [])


def _by_position(rows: Sequence[Row]) -> dict[int, dict[int, Row]]:
    """The rows by position and turn."""
    by_position: dict[int, dict[int, Row]] = defaultdict(dict)
    for where, row in rows:
        row = {**dict.fromkeys(COLUMNS, ""), **row}
        position, turn = (_number(where, row, name) for name in ("position", "turn"))
        if turn in by_position[position]:
            other = by_position[position][turn][0]
            raise ValueError(
                f"{where}: expected each turn once, found turn {turn} of position {position} as in {other}."
            )
        by_position[position][turn] = (where, row)
    return by_position


def _number(where: str, row: dict[str, str], name: str) -> int:
    """A whole number, which some programs write as 12.0."""
    text = row[name].strip()
    if not re.fullmatch(r"[0-9]{1,15}([.,]0+)?", text):
        raise ValueError(f"{where}: expected a number in {name!r}, found {text!r}.")
    return int(re.split("[.,]", text)[0])


def _language_of(run: FinishedRun, by_position: dict[int, dict[int, Row]], path: Path) -> str:
    """The language that the rows name, or whose translations stand in them."""
    every = [row for of_record in by_position.values() for row in of_record.values()]
    named = {row["language"].strip() for _, row in every}
    if len(named) == 1 and (language := min(named)):
        if language not in run.languages:
            raise ValueError(
                f"{path}: expected one of {run.folder}'s languages, {', '.join(run.languages)}; found {language!r}."
            )
        return language
    if len(named) > 1:
        raise ValueError(f"{path}: expected one language in 'language', found {', '.join(map(repr, sorted(named)))}.")
    for language in run.languages:
        found = {one.position: one.translation for one in read_accepted(run, language) if one.position in by_position}
        texts = {text for translation in found.values() for text in map(_as_in_csv, translation)}
        if any(_as_in_csv(row["translation"]) in texts for _, row in every):
            return language
    raise ValueError(
        f"{path}: expected translations of {run.folder} as 'review export' wrote them, found none of them."
    )


def _check_turns(
    path: Path, position: int, of_record: dict[int, Row], original: Translated | None, run: FinishedRun
) -> None:
    """The rows are those of the record, and nothing in them was changed that is not to be changed."""
    where, row = next(iter(of_record.values()))
    if original is None:
        raise ValueError(
            f"{where}: expected an accepted record of {run.folder}, found position {position}, which is none."
        )
    wanted, found = str(original.record["source_id"]), row["source_id"].strip()
    # Spreadsheet programs rewrite what looks like a number.
    if found and found != wanted and not any(re.fullmatch(r"[-+0-9.,eE]+", text) for text in (found, wanted)):
        raise ValueError(
            f"{where}: expected source_id {wanted!r} at position {position}, found {found!r}: another run's file?"
        )
    if missing := set(range(1, len(original.translation) + 1)) - of_record.keys():
        raise ValueError(f"{path}: expected all turns of position {position}, turn {min(missing)} is missing.")
    for turn, (where, row) in of_record.items():
        if turn > len(original.translation) or turn < 1:
            raise ValueError(
                f"{where}: expected turns 1 to {len(original.translation)} at position {position}, found {turn}."
            )
        if row["translation"].strip() and _as_in_csv(row["translation"]) != _as_in_csv(original.translation[turn - 1]):
            raise ValueError(
                f"{where}: 'translation' is not what 'review export' wrote: corrections belong into the column 'edited'."
            )


Said = Mapping[int, Annotation]  # by turn


def _import_annotations(folder: Path, annotations: Sequence[Annotation], reviewer: str | None) -> Imported:
    """Tools hand out turns, so several people may have to be put together before a record has been reviewed."""
    originals = _check_as_exported(folder, annotations)
    by_record: dict[tuple[str, int], dict[str, dict[int, Annotation]]] = {}
    for one in sorted(annotations, key=lambda one: one.said_at):
        people = by_record.setdefault((one.language, one.position), {})
        if not _says_something(one):
            continue
        if not (who := one.reviewer or reviewer):
            raise ValueError(f"{one.where}: expected who reviewed it, or --reviewer, found neither.")
        people.setdefault(who, {})[one.turn] = one
    reviews, partly = [], {}
    for key, people in sorted(by_record.items()):
        original = originals[key]
        of_record, missing = _reviews_of(original, people, key[0])
        reviews += of_record
        if missing:
            turns = f"turn{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}"
            partly[key] = f"{original.record['source_id']} ({turns})"
    ReviewStore(folder).add(reviews)
    reviewed = {(review.language, review.position) for review in reviews}
    return Imported(len(reviewed), len(by_record.keys() - reviewed - partly.keys()), list(partly.values()))


def _check_as_exported(folder: Path, annotations: Sequence[Annotation]) -> dict[tuple[str, int], Translated]:
    """The records that were annotated, by language and position."""
    wanted = {(one.language, one.position) for one in annotations}
    originals = {
        (language, one.position): one
        for language in sorted({language for language, _ in wanted})
        for one in read_accepted(open_run(folder, language), language)
        if (language, one.position) in wanted
    }
    for one in annotations:
        original = originals.get((one.language, one.position))
        turns = original.translation if original is not None else []
        if not 1 <= one.turn <= len(turns) or one.translation != turns[one.turn - 1]:
            raise ValueError(
                f"{one.where}: expected a translation of {folder} as 'review export' wrote it, found another."
            )
    return originals


def _says_something(one: Annotation) -> bool:
    return bool(one.verdict.strip() or (one.edited.strip() and not _unchanged(one)))


def _unchanged(one: Annotation) -> bool:
    """A text area has line feeds alone and may take away what is blank at an end."""
    return _as_in_csv(one.edited) == _as_in_csv(one.translation)


def _reviews_of(original: Translated, people: Mapping[str, Said], language: str) -> tuple[list[Review], list[int]]:
    """Who has seen every turn stands alone, the others together; if they have not, only who rejected one of them does.

    Returns:
        The reviews, the latest last, and the turns that are missing where something could not be kept.
    """
    alone = {who: _review_of(original, who, said, language) for who, said in people.items()}
    turns = range(1, len(original.translation) + 1)
    others = {who: people[who] for who in sorted(people) if len(people[who]) < len(turns)}
    together = _together(others.values())
    whole = {who: said for who, said in people.items() if who not in others}
    if missing := [turn for turn in turns if turn not in together]:
        rejecting = {who: said for who, said in others.items() if alone[who].verdict == "reject"}
        whole |= rejecting
        missing = missing if others.keys() - rejecting.keys() else []
    else:
        name = ", ".join(others)
        whole[name] = together
        alone[name] = _review_of(original, name, together, language)
    in_order = sorted(whole, key=lambda who: (max(one.said_at for one in whole[who].values()), who))
    return [alone[who] for who in in_order], missing


def _together(people: Iterable[Said]) -> dict[int, Annotation]:
    """Of each turn a rejection, else what was said last."""
    together: dict[int, Annotation] = {}
    every = [one for said in people for one in said.values()]
    for one in sorted(every, key=lambda one: (one.verdict.strip().lower() == "reject", one.said_at)):
        together[one.turn] = one
    return together


def _review_of(original: Translated, who: str, said: Said, language: str) -> Review:
    """What was said of a record, by way of the rows of a spreadsheet."""
    first = next(iter(said.values()))
    rows = []
    for turn in range(1, len(original.translation) + 1):
        row = {"edited": "", "verdict": "", "reason": "", "reviewer": who, "minutes": ""}
        if (one := said.get(turn)) is not None:
            same = _unchanged(one)
            row |= {"edited": "" if same else one.edited, "reason": one.reason}
            row["verdict"] = "accept" if same and one.verdict == "edit" else one.verdict
            row["minutes"] = "" if one.seconds is None else str(one.seconds / 60)
        rows.append(((one or first).where, row))
    review = _review(original, rows, language, who)
    assert review is not None  # for something was said
    return review


def _as_in_csv(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _review(one: Translated, rows: Sequence[Row], language: str, reviewer: str | None) -> Review | None:
    texts, verdicts, reasons = list(one.translation), set(), []
    for index, (where, row) in enumerate(rows):
        verdict, edited = row["verdict"].strip().lower(), row["edited"]
        if verdict and verdict not in VERDICTS:
            raise ValueError(f"{where}: expected a verdict of {', '.join(VERDICTS)} or none, found {verdict!r}.")
        if verdict == "edit" and not edited.strip():
            raise ValueError(f"{where}: the verdict is edit, but 'edited' is empty.")
        if edited.strip() and _as_in_csv(edited) != _as_in_csv(texts[index]):
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


def _minutes(where: str, text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{where}: expected a number in 'minutes', found {text!r}.") from None
