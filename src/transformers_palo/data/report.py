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
"""What became of the records: counted while they are read, shown as tables, told in the data set's card."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from ..languages import LANGUAGES
from .records import RejectReason, Repair


UNDETERMINED = "und"  # ISO 639-2, for a record whose language is not known

NOT_COUNTED = "Tokens were not counted: no tokenizer was given."

# (kind, source, language, what): kind is records, rejects or repairs
Key = tuple[str, str, str, str]
Nested = dict[str, dict[str, dict[str, int]]]


class Report(TypedDict):
    """What `report.json` holds. Inner tables are by source, then by language (`und` where it is not known).

    Attributes:
        read: Records that were looked at: kept and rejected together.
        kept: Records in the data set.
        rejected: Records that were left out.
        records: `records`, `text_only` (of them), `images`, `turns` (questions and answers), and `tokens` if counted.
        rejects: [`RejectReason`] -> records.
        repairs: [`Repair`] -> records; a record may have several.
        tokenizer: What counted the tokens, if anything did.
        max_length: The limit in tokens, if there was one.
        notes: What a reader has to know.
    """

    read: int
    kept: int
    rejected: int
    records: Nested
    rejects: Nested
    repairs: Nested
    tokenizer: str | None
    max_length: int | None
    notes: list[str]


class Tally:
    """Counts of what was kept, rejected and repaired, by source and language."""

    def __init__(self, rows: Iterable[tuple[list[str], int]] = ()) -> None:
        self.counts: Counter[Key] = Counter({(kind, *rest): n for (kind, *rest), n in rows})  # type: ignore[misc]

    def rows(self) -> list[tuple[Key, int]]:
        """All counts, for `Tally(rows)`."""
        return sorted(self.counts.items())

    def keep(self, example: dict[str, Any], repairs: Iterable[Repair]) -> None:
        place = (example["source"], example["language"])
        self.counts["records", *place, "records"] += 1
        self.counts["records", *place, "text_only"] += not example["images"]
        self.counts["records", *place, "images"] += len(example["images"])
        self.counts["records", *place, "turns"] += len(example["messages"])
        if "num_tokens" in example:
            self.counts["records", *place, "tokens"] += example["num_tokens"]
        for repair in repairs:
            self.counts["repairs", *place, repair.value] += 1

    def reject(self, source: str, language: str, reason: RejectReason) -> None:
        self.counts["rejects", source, language, reason.value] += 1

    @property
    def kept(self) -> int:
        return sum(n for (kind, _, _, what), n in self.counts.items() if (kind, what) == ("records", "records"))

    @property
    def rejected(self) -> int:
        return self.reasons().total()

    def reasons(self) -> Counter[str]:
        """Reason -> rejected records."""
        reasons: Counter[str] = Counter()
        for (kind, _, _, reason), count in self.counts.items():
            if kind == "rejects":
                reasons[reason] += count
        return reasons

    def report(self, tokenizer: str | None = None, max_length: int | None = None) -> Report:
        notes = []
        if tokenizer is None:
            notes.append(NOT_COUNTED)
            if max_length is not None:
                notes.append(f"max_length {max_length:,} was not applied: it needs a tokenizer.")
        return Report(
            read=self.kept + self.rejected,
            kept=self.kept,
            rejected=self.rejected,
            records=self._nested("records"),
            rejects=self._nested("rejects"),
            repairs=self._nested("repairs"),
            tokenizer=tokenizer,
            max_length=max_length,
            notes=notes,
        )

    def _nested(self, wanted: str) -> Nested:
        nested: Nested = {}
        for (kind, source, language, what), count in self.rows():
            if kind == wanted:
                nested.setdefault(source, {}).setdefault(language, {})[what] = count
        return nested


def format_report(report: Report) -> str:
    """The report as Markdown tables that are aligned for a terminal too."""
    share = report["rejected"] / report["read"] if report["read"] else 0.0
    parts = [
        f"{report['read']:,} records read, {report['kept']:,} kept, {report['rejected']:,} rejected ({share:.1%}).",
        *report["notes"],
        _language_table(report),
    ]
    for title, nested in (("rejected because", report["rejects"]), ("repaired", report["repairs"])):
        if rows := _flat(nested):
            parts.append(_table(["source", "language", title, "records"], rows))
    return "\n\n".join(parts)


def _language_table(report: Report) -> str:
    with_tokens = report["tokenizer"] is not None
    by_language: dict[str, Counter[str]] = {}
    for nested, what in ((report["records"], None), (report["rejects"], "rejected")):
        for languages in nested.values():
            for language, counts in languages.items():
                for name, count in counts.items():
                    by_language.setdefault(language, Counter())[what or name] += count
    header = ["language", "records", "text only", "images", "turns", "rejected"]
    header += ["tokens", "tokens a record"] if with_tokens else []
    known = [language.code for language in LANGUAGES if language.code in by_language]
    rows = [(code, by_language[code]) for code in [*known, *sorted(set(by_language) - set(known))]]
    rows.append(("all", sum((counts for _, counts in rows), Counter())))
    return _table(header, [_language_row(name, counts, with_tokens) for name, counts in rows])


def _language_row(name: str, counts: Counter[str], with_tokens: bool) -> list[str]:
    row = [name, *(f"{counts[what]:,}" for what in ("records", "text_only", "images", "turns", "rejected"))]
    if with_tokens:
        row += [f"{counts['tokens']:,}", f"{counts['tokens'] / (counts['records'] or 1):.1f}"]
    return row


def _flat(nested: Nested) -> list[list[str]]:
    return [
        [source, language, what, f"{count:,}"]
        for source, languages in nested.items()
        for language, counts in languages.items()
        for what, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; columns of numbers are aligned right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    right = [all(cell[:1].isdigit() for cell in column) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(f"{'-' * (width + 1)}{':' if flush else '-'}" for width, flush in zip(widths, right, strict=True))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])
