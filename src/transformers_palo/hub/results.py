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
"""The file that an evaluation leaves and a model card reads: scores and language fidelity, and what they rest on."""

import json
import math
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal, TypedDict

from huggingface_hub import EvalResult

from ..languages import get_language


FORMAT_VERSION = 1

# Under this name beside the model, `palo publish` finds it.
RESULTS_NAME = "evaluation_results.json"


class LanguageResults(TypedDict):
    """What was measured in one language.

    Keys:
        score: `100 * mean(model) / mean(reference)` over the judged questions; `None` if none could be judged.
        by_category: The same by category of question (`"conv"`, `"detail"`, `"complex"`).
        fidelity: Share (0 to 1) of the answers that are written in the language of their question.
        questions: How many were asked.
        judged: How many judgements could be read. The rest failed, and is in no mean.
    """

    score: float | None
    by_category: dict[str, float]
    fidelity: float
    questions: int
    judged: int


class Averages(TypedDict):
    """Means of the languages' scores, as in the paper's Table 1: of the high- and low-resource ones, and of all."""

    high: float | None
    low: float | None
    all: float | None


class Benchmark(TypedDict):
    """What was asked: a name, the Hub id of the data if it has one, and the SHA-256 of the files that were read."""

    name: str
    hub_id: str | None
    sha256: str


class Judge(TypedDict):
    """What judged: the model as its endpoint names it, and the SHA-256 of the prompt with its rules."""

    model: str
    prompt_sha256: str
    temperature: float


class EvaluationResults(TypedDict):
    """A whole file.

    Keys:
        format_version: 1.
        model: Hub id of the model, or a name for it; never a path.
        created: Date, `YYYY-MM-DD`.
        benchmark: What was asked.
        judge: What judged.
        generation: The arguments that the model answered with.
        languages: Results by ISO 639-1 code.
        averages: Means over the languages.
        versions: Package -> version.
    """

    format_version: Literal[1]
    model: str
    created: str
    benchmark: Benchmark
    judge: Judge
    generation: dict[str, int | float | bool | str]
    languages: dict[str, LanguageResults]
    averages: Averages
    versions: dict[str, str]


def read_results(path: Path) -> EvaluationResults:
    """Read such a file.

    Raises:
        ValueError: It is another kind of file, or says something that cannot be; the message says what.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: expected evaluation results as JSON, found a file that is none ({error})."
        ) from None
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        found = content.get("format_version") if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{path}: expected evaluation results with format_version {FORMAT_VERSION}, found {found!r}: write them with "
            "'palo evaluate report'."
        )
    if missing := sorted(EvaluationResults.__annotations__.keys() - content.keys()):
        raise ValueError(f"{path}: these evaluation results lack {', '.join(missing)}.")
    for name in ("languages", "generation", "versions"):
        _check_dict(path, name, content[name])
    for name, kind in (("benchmark", Benchmark), ("judge", Judge), ("averages", Averages)):
        _check_dict(path, name, content[name], kind)
    _check_score(path, "temperature of judge", content["judge"]["temperature"])
    for name, average in content["averages"].items():
        _check_score(path, f"average {name}", average)
    for code, row in content["languages"].items():
        get_language(code)
        _check_row(path, code, row)
    return content  # type: ignore[return-value]


def _check_dict(path: Path, name: str, found: Any, kind: type | None = None) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object for {name}, found {found!r}.")
    if missing := sorted(get_annotations(kind).keys() - found.keys() if kind else ()):
        raise ValueError(f"{path}: the results for {name} lack {', '.join(missing)}.")


def _check_score(path: Path, name: str, found: Any) -> None:
    if found is not None and not (_is_number(found) and found >= 0):
        raise ValueError(f"{path}: the {name} is {found!r}, expected a number from 0 upwards, or null.")


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)


def _check_row(path: Path, code: str, row: dict[str, Any]) -> None:
    _check_dict(path, code, row, LanguageResults)
    _check_score(path, f"score for {code}", row["score"])
    for name in ("fidelity", "questions", "judged"):
        if not _is_number(row[name]):
            raise ValueError(f"{path}: {name} for {code} is {row[name]!r}, expected a number.")
    if not 0 <= row["fidelity"] <= 1:
        raise ValueError(f"{path}: the fidelity for {code} is {row['fidelity']}, expected a share from 0 to 1.")
    if not 0 <= row["judged"] <= row["questions"]:
        raise ValueError(f"{path}: {row['judged']} of {row['questions']} questions are judged for {code}.")


def to_eval_results(results: EvaluationResults) -> list[EvalResult]:
    """The results as the Hub's metadata takes them: two metrics a language."""
    benchmark = results["benchmark"]
    found = []
    for code, row in results["languages"].items():
        common: dict[str, Any] = {
            "task_type": "image-text-to-text",
            "dataset_type": benchmark["hub_id"] or benchmark["name"],
            "dataset_name": f"{benchmark['name']} ({get_language(code).name})",
            "dataset_config": code,
        }
        if row["score"] is not None:
            judge = f"Score relative to the reference, judged by {results['judge']['model']}"
            found.append(EvalResult(**common, metric_type="score", metric_name=judge, metric_value=row["score"]))
        found.append(
            EvalResult(
                **common,
                metric_type="language_fidelity",
                metric_name="Share of answers in the language of the question",
                metric_value=row["fidelity"],
            )
        )
    return found
