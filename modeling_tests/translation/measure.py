"""Recall and false alarms of the checks on labelled sentences, by language, each miss printed.

python -m modeling_tests.translation.measure FILE [FILE ...]

Each text is repaired first, as in a run. The exit code is 1 where a language misses the aim: recall of 0.90 on broken
sentences, false alarms on 0.05 of the good ones.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from transformers_palo.translation.checks import REASONS, Finding, check_translation
from transformers_palo.translation.repairs import repair
from transformers_palo.translation.targets import TARGETS


LEAST_RECALL = 0.90
MOST_FALSE_ALARMS = 0.05


@dataclass
class Measured:
    """What the checks said of a language's sentences.

    Attributes:
        good: How many sentences are labelled good.
        broken: How many are labelled broken.
        alarms: Good ones that did not pass, with what was found.
        missed: Broken ones that passed.
        otherwise: Broken ones that were told, though for another reason than the labelled one.
    """

    good: int = 0
    broken: int = 0
    alarms: list[tuple[dict, list[Finding]]] = field(default_factory=list)
    missed: list[dict] = field(default_factory=list)
    otherwise: list[tuple[dict, list[Finding]]] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of broken sentences that did not pass."""
        return 1 - len(self.missed) / max(1, self.broken)

    @property
    def recall_with_reason(self) -> float:
        """Share of broken sentences that were told with the labelled reason among others."""
        return self.recall - len(self.otherwise) / max(1, self.broken)

    @property
    def false_alarms(self) -> float:
        """Share of good sentences that did not pass."""
        return len(self.alarms) / max(1, self.good)

    def add(self, sentence: dict, findings: list[Finding]) -> None:
        """Count a sentence by its label and what the checks found."""
        if sentence["label"] == "good":
            self.good += 1
            if findings:
                self.alarms.append((sentence, findings))
            return
        self.broken += 1
        if not findings:
            self.missed.append(sentence)
        elif sentence["reason"] not in {finding.reason for finding in findings}:
            self.otherwise.append((sentence, findings))


def read_labelled(path: Path) -> list[dict]:
    """Read labelled sentences, one JSON object a line.

    Raises:
        ValueError: One is not as it should be; says which line.
    """
    sentences = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            sentence = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: expected a JSON object, found {line[:60]!r} ({error}).") from None
        if wrong := _what_is_wrong(sentence):
            raise ValueError(f"{path}:{number}: {wrong}.")
        sentences.append(sentence)
    return sentences


def _what_is_wrong(sentence: object) -> str | None:
    if not isinstance(sentence, dict):
        return f"expected a JSON object, found {sentence!r}"
    for name in ("language", "label", "english", "translation"):
        if not isinstance(sentence.get(name), str):
            return f"expected a text as {name!r}, found {sentence.get(name)!r}"
    allowed = {"language": list(TARGETS), "label": ["good", "broken"]}
    if sentence["label"] == "broken":
        allowed["reason"] = [reason for reason in REASONS if reason != "turn_count"]
    for name, values in allowed.items():
        if sentence.get(name) not in values:
            return f"expected one of {', '.join(values)} as {name!r}, found {sentence.get(name)!r}"
    return None


def measure(sentences: Iterable[dict]) -> dict[str, Measured]:
    """Repair and check each sentence; language -> what the checks said."""
    measured: dict[str, Measured] = defaultdict(Measured)
    for sentence in sentences:
        target = TARGETS[sentence["language"]]
        repaired, _ = repair(sentence["translation"], target)
        findings = check_translation(
            sentence["english"], repaired, target, finish_reason=sentence.get("finish_reason", "stop")
        )
        measured[sentence["language"]].add(sentence, findings)
    return {code: measured[code] for code in TARGETS if code in measured}


def table(measured: dict[str, Measured]) -> str:
    """The figures as a Markdown table, a column for each language."""
    rows = {
        "good / broken": [f"{one.good} / {one.broken}" for one in measured.values()],
        "recall on broken": [f"{one.recall:.3f}" for one in measured.values()],
        "... with the reason expected": [f"{one.recall_with_reason:.3f}" for one in measured.values()],
        "false alarms on good": [f"{one.false_alarms:.3f}" for one in measured.values()],
    }
    lines = [f"| | {' | '.join(measured)} |", "|---|" + "---:|" * len(measured)]
    return "\n".join(lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()])


def misses(measured: dict[str, Measured]) -> list[str]:
    """A line for each sentence that the checks judged otherwise than its label."""
    lines = []
    for code, one in measured.items():
        lines += [f"{code} false alarm {_told(found)}{_texts(sentence)}" for sentence, found in one.alarms]
        lines += [f"{code} missed {sentence['reason']}{_texts(sentence)}" for sentence in one.missed]
        lines += [
            f"{code} expected {sentence['reason']}, told {_told(found)}{_texts(sentence)}"
            for sentence, found in one.otherwise
        ]
    return lines


def _told(findings: list[Finding]) -> str:
    return ", ".join(f"{finding.reason} ({finding.detail})" for finding in findings)


def _texts(sentence: dict) -> str:
    return f"\n    {sentence['english']!r}\n    {sentence['translation']!r}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m modeling_tests.translation.measure", description=__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="labelled sentences, one JSON object a line"
    )
    try:
        sentences = [one for path in parser.parse_args(arguments).files for one in read_labelled(path)]
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    measured = measure(sentences)
    print("\n".join([*misses(measured), "", table(measured)]))
    aimed = all(one.recall >= LEAST_RECALL and one.false_alarms <= MOST_FALSE_ALARMS for one in measured.values())
    return 0 if aimed else 1


if __name__ == "__main__":
    sys.exit(main())
