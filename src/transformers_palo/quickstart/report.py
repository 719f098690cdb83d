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
"""What a run leaves to read: the table on the console, `report.html`, and the model's card."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from PIL import Image

from ..hub.model_card import PaloModelCard, TrainingData, WidgetExample
from ..languages import LANGUAGES, get_language
from .examination import Answered, LanguageScores
from .phrases import KINDS
from .training import LossCurve


TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class RunSummary:
    """Everything that the table, the report and the card tell.

    Attributes:
        rows: Scores, one row a language.
        examples: Some canvases with the answers about them, one list a canvas.
        curves: Training losses.
        shortfalls: What stayed below its aim.
        facts: Figures of the run by name, for the report's head and `results.json`.
    """

    rows: Sequence[LanguageScores]
    examples: Sequence[Sequence[Answered]]
    curves: Sequence[LossCurve]
    shortfalls: Sequence[str]
    facts: dict[str, str]


def console_table(rows: Sequence[LanguageScores]) -> str:
    """Language by kind of question, in plain text."""
    header = f"{'language':<10}" + "".join(f"{kind:>8}" for kind in KINDS) + f"{'all':>8}{'in language':>13}"
    lines = [header, "-" * len(header)]
    for row in rows:
        cells = "".join(f"{row.kinds[kind].accuracy:>8.1%}" for kind in KINDS)
        name = get_language(row.language).name
        lines.append(f"{name:<10}{cells}{row.together.accuracy:>8.1%}{row.together.language_accuracy:>13.1%}")
    return "\n".join(lines)


def write_report(path: Path, summary: RunSummary) -> None:
    """Write one HTML file that needs no other."""
    template = _environment().get_template("report.html.jinja")
    path.write_text(
        template.render(
            **vars(summary),
            kinds=KINDS,
            languages={language.code: language for language in LANGUAGES},
            charts=[_chart(curve) for curve in summary.curves],
            data_uri=_data_uri,
        ),
        encoding="utf-8",
    )


def write_model_card(folder: Path, summary: RunSummary) -> None:
    """Write the card that describes the trained model into its folder, with the pictures of its examples."""
    (folder / "examples").mkdir(exist_ok=True)
    widget = []
    for answers, code in zip(summary.examples, _WIDGET_LANGUAGES, strict=True):
        answered = next(answer for answer in answers if answer.question.language == code)
        picture = f"examples/{answered.question.kind}.png"
        answered.question.image.save(folder / picture)
        title = f"{answered.question.kind}, {get_language(code).name}"
        widget.append(WidgetExample(title, picture, answered.question.text, answered.text))
    PaloModelCard(
        name="palo-quickstart",
        summary=_SUMMARY,
        example_image=widget[0].image,
        example_question=widget[0].question,
        limits=[_LIMITS],
        data=[_DIGITS],
        how_trained=_HOW_TRAINED,
        recipe=summary.facts,
        other_results=_environment()
        .get_template("results.md.jinja")
        .render(rows=summary.rows, shortfalls=summary.shortfalls, kinds=KINDS, get_language=get_language),
        other_eval_results=[_eval_result(row) for row in summary.rows],
        widget=widget,
        license="apache-2.0",
    ).to_card().save(folder / "README.md")


# One for each kind of question, in the order of KINDS.
_WIDGET_LANGUAGES = ("hi", "en", "zh", "ar", "es", "ja")

_SUMMARY = """A small PALO, trained by `palo quickstart`. It answers questions about handwritten digits (which digit, which is
left, right or larger, how many, their sum) in ten languages. It shows how PALO is built and trained; it knows nothing but
digits."""

_HOW_TRAINED = """The tower learnt from labelled training scans and was frozen, as PALO's CLIP is. The language model learnt the
ten languages from captions with questions and answers. Then the projector alone was aligned on pictures with English
captions, and projector and language model were tuned on questions and answers about pictures, with TRL's SFTTrainer; only
the answers count in the loss."""

_LIMITS = """It knows the wordings of the project's table of phrases, also in lower case or without their final mark, and
pictures that look like its training canvases. To any other words it still answers about digits: wrongly, and often in
another language."""

_DIGITS = TrainingData(
    "scikit-learn's load_digits",
    license="cc-by-4.0",
    note="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository; tilted, "
    "slanted and scaled at random onto canvases of one to three digits. The sentences come from the project's table of "
    "phrases.",
)


def _eval_result(row: LanguageScores) -> EvalResult:
    return EvalResult(
        task_type="image-text-to-text",
        task_name="Questions about handwritten digits",
        dataset_type="sklearn-load-digits",
        # Results are told apart by this on the Hub.
        dataset_config=row.language,
        dataset_name=f"Held-out scans of scikit-learn's digits ({get_language(row.language).name})",
        metric_type="accuracy",
        metric_name="Accuracy",
        metric_value=round(row.together.accuracy, 4),
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# Size of a loss chart, and the room that its axes take, in SVG units.
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 300, 160, 40, 24, 8


def _chart(curve: LossCurve) -> dict[str, Any]:
    """A loss curve in SVG coordinates: its points, and where the axes' labels stand."""
    last_step = max(step for step, _ in curve.points)
    highest = max(loss for _, loss in curve.points) or 1.0

    def place(step: float, loss: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT) * step / last_step
        y = _TOP + (_HEIGHT - _BOTTOM - _TOP) * (1 - loss / highest)
        return round(x, 1), round(y, 1)

    ticks = [highest * share for share in (0, 0.5, 1)]
    return {
        "stage": curve.stage,
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "last_step": last_step,
        "last_loss": curve.points[-1][1],
        "points": " ".join(f"{x},{y}" for x, y in (place(step, loss) for step, loss in curve.points)),
        "ticks": [(f"{value:.1f}", place(0, value)[1]) for value in ticks],
    }
