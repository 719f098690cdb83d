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
"""What the checks say about a run: a table of languages and reasons, with examples."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..record_files import Record, open_records
from .checks import REASONS, check_translation, check_turn_count
from .damage import check_characters
from .masking import mask
from .store import JOURNAL, FinishedRun, written_whole
from .targets import TARGETS


EXAMPLES_PER_REASON = 3


@dataclass
class LanguageReport:
    """What became of the records of a language.

    Attributes:
        accepted: Records in `LANG.jsonl`.
        rejected: Records in `LANG.rejects.jsonl`.
        reasons: Why they were rejected: reason -> records.
        failing: Accepted records that do not pass the checks as they are now: reason -> records.
        asked_again: Reasons for which turns were asked again -> turns.
        repairs: Name of a repair -> turns that it changed.
        flags: Name of a flag for a reviewer -> places in accepted records.
        examples: Reason -> a few texts with their translations.
    """

    accepted: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    asked_again: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def add_example(self, reason: str, **fields: Any) -> None:
        """Keep it, unless there are enough for this reason."""
        if len(self.examples[reason]) < EXAMPLES_PER_REASON:
            self.examples[reason].append(fields)


def check_run(folder: Path) -> dict[str, LanguageReport]:
    """Check every record of a run again, and count why records were rejected.

    Writes `checks.json` and `checks.md` into the folder.

    Args:
        folder: Holds `LANG.jsonl` and `LANG.rejects.jsonl`; the journal's counts are added where there is one.

    Raises:
        OSError: The folder holds no such files.
        ValueError: One is malformed.
    """
    codes = [code for code in TARGETS if (folder / f"{code}.jsonl").is_file()]
    if not codes:
        raise FileNotFoundError(
            f"{folder}: expected a run's files such as hi.jsonl, found none: 'palo translate run' writes them at its end."
        )
    reports = {code: _check_language(folder, code) for code in codes}
    if (folder / JOURNAL).is_file():
        run = FinishedRun(folder)
        for code, report in reports.items():
            for _, outcome in run.outcomes(code):
                report.asked_again += outcome.asked_again
                report.repairs += outcome.repairs
                report.flags += outcome.flags
    with written_whole([folder / "checks.json", folder / "checks.md"]) as (as_json, as_markdown):
        content = {code: vars(report) for code, report in reports.items()}
        as_json.write(json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")
        as_markdown.write(markdown_report(reports).encode())
    return reports


def _check_language(folder: Path, code: str) -> LanguageReport:
    report = LanguageReport()
    for record in open_lines(folder / f"{code}.jsonl"):
        report.accepted += 1
        for reason, details in _failures(record, code).items():
            report.failing[reason] += 1
            report.add_example(reason, source_id=record.get("source_id"), **details)
    for reject in open_lines(folder / f"{code}.rejects.jsonl"):
        report.rejected += 1
        report.reasons.update(reject["reasons"])
        for detail in reject["details"]:
            report.add_example(detail["reason"], source_id=reject["source_id"], **_example(reject, detail))
    return report


def open_lines(path: Path) -> Iterator[Record]:
    """The records of a run's file; none if it is empty or not there."""
    if path.is_file() and path.stat().st_size:
        yield from open_records(path)


def _failures(record: Record, code: str) -> dict[str, dict[str, Any]]:
    """Reasons why an accepted record does not pass now, each with its first example."""
    english = [turn["value"] for turn in record["english_conversations"]]
    translated = [turn["value"] for turn in record["conversations"]]
    found: dict[str, dict[str, Any]] = {}
    for finding in check_turn_count(english, translated):
        found[finding.reason] = {"detail": finding.detail}
    for source, translation in zip(english, translated, strict=False):
        if source == translation and not mask(source).has_words:
            continue  # nothing to translate
        for finding in check_characters(source, translation) or check_translation(source, translation, TARGETS[code]):
            found.setdefault(finding.reason, {"english": source, "translation": translation, "detail": finding.detail})
    return found


def _example(reject: Record, detail: dict[str, Any]) -> dict[str, Any]:
    number = detail["turn"]
    turns = reject["record"].get("conversations")
    if not number or not isinstance(turns, list):
        return {"detail": detail["detail"]}
    return {
        "english": turns[number - 1]["value"],
        "translation": reject["translation"][number - 1],
        "detail": detail["detail"],
    }


def console_report(reports: dict[str, LanguageReport]) -> str:
    """The table in plain text: a column for each language."""
    lines = [_line("", list(reports))]
    lines += [_line(name, [getattr(report, name) for report in reports.values()]) for name in ("accepted", "rejected")]
    for title, attribute in _SECTIONS.items():
        names = _names(reports, attribute)
        if names:
            lines += ["", title]
            lines += [_line(f"  {name}", _cells(reports, attribute, name)) for name in names]
    return "\n".join(lines)


def markdown_report(reports: dict[str, LanguageReport]) -> str:
    """The same in Markdown, with examples."""
    lines = ["# Checks", "", f"| | {' | '.join(reports)} |", "|---|" + "---:|" * len(reports)]
    for name in ("accepted", "rejected"):
        lines.append(_markdown_row(name, [getattr(report, name) for report in reports.values()]))
    for title, attribute in _SECTIONS.items():
        for name in _names(reports, attribute):
            lines.append(_markdown_row(f"{title} {name}", _cells(reports, attribute, name)))
    for code, report in reports.items():
        for reason, examples in sorted(report.examples.items()):
            lines += ["", f"## {code}: {reason}"]
            for example in examples:
                lines += ["", *(f"- {name}: {_quoted(value)}" for name, value in example.items())]
    return "\n".join(lines) + "\n"


_SECTIONS = {
    "rejected for": "reasons",
    "accepted, but now failing": "failing",
    "asked again for": "asked_again",
    "repaired": "repairs",
    "flagged": "flags",
}


def _names(reports: dict[str, LanguageReport], attribute: str) -> list[str]:
    found = {name for report in reports.values() for name in getattr(report, attribute)}
    return [name for name in REASONS if name in found] + sorted(found - REASONS.keys())


def _cells(reports: dict[str, LanguageReport], attribute: str, name: str) -> list[int]:
    return [getattr(report, attribute)[name] for report in reports.values()]


def _line(name: str, cells: list[Any]) -> str:
    return f"{name:<22}" + "".join(f"{cell:>9,}" if isinstance(cell, int) else f"{cell:>9}" for cell in cells)


def _markdown_row(name: str, cells: list[int]) -> str:
    return f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} |"


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
