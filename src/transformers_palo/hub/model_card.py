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
"""The card of a PALO model: a dataclass, rendered by the templates beside this file.

Whoever makes a model fills a [`PaloModelCard`] and saves `card.to_card()` as the folder's README.md. Three sections
stand between comments, which no reader sees, so that publishing can write them anew: how to load the model from where it
now is, what it answered when it was asked, and what an evaluation has measured since.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import EvalResult, ModelCard, ModelCardData, hf_hub_url
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..languages import LANGUAGES, Language, get_language
from ..models.palo.configuration_palo import PaloConfig
from .results import EvaluationResults, to_eval_results


# What a card says for the model's id until the model is published.
THIS_FOLDER = "path/to/this/folder"

EXAMPLE_IMAGE = "photo.jpg"
# "What is in this picture?"
EXAMPLE_QUESTIONS = {
    "en": "What is in this picture?",
    "zh": "这张图片里有什么?",
    "hi": "इस तस्वीर में क्या है?",
    "es": "¿Qué hay en esta imagen?",
    "fr": "Que voit-on sur cette image ?",
    "ar": "ماذا يوجد في هذه الصورة؟",
    "bn": "এই ছবিতে কী আছে?",
    "ru": "Что изображено на этой картинке?",
    "ur": "اس تصویر میں کیا ہے؟",
    "ja": "この画像には何が写っていますか?",
}
EXAMPLE_QUESTION = EXAMPLE_QUESTIONS["hi"]

PAPER = "https://arxiv.org/abs/2402.14818"

_PACKAGE = "transformers-palo"

GENERAL_LIMITS = (
    "Like all models of its kind it can describe, with confidence, what is not in the picture. Check what matters.",
    "It does not answer equally well in every language, and may answer in another language than it was asked in. A "
    "language without a score below was not measured.",
    "Biases of its training data, of the language model and of machine translation show in its answers.",
)


@dataclass(frozen=True)
class TrainingData:
    """Data that a model was trained on.

    Attributes:
        name: What people call it.
        hub_id: Its id on the Hub, if it is there.
        records: How many records of it were used.
        license: As the Hub writes licences, such as `cc-by-4.0`.
        note: Anything else, in a few words.
    """

    name: str
    hub_id: str | None = None
    records: int | str | None = None
    license: str | None = None
    note: str = ""


@dataclass(frozen=True)
class LicenseTerm:
    """A licence that comes with a part of the model: part, licence, and where it stands."""

    part: str
    license: str
    url: str | None = None


@dataclass(frozen=True)
class WidgetExample:
    """An example on the model's page: a picture (a URL, or a path in the repository), a question, and the answer.

    `answer` is what this very model said; `None` if it was not asked.
    """

    title: str
    image: str
    question: str
    answer: str | None = None


@dataclass(frozen=True)
class PaperScores:
    """A row of the paper's Table 1, and the baseline above it: language code -> score."""

    scores: Mapping[str, float]
    baseline: str
    baseline_scores: Mapping[str, float]
    averages: Mapping[str, float]
    baseline_averages: Mapping[str, float]


@dataclass(kw_only=True)
class PaloModelCard:
    """Everything that a model's card tells. Only `name` and `summary` are needed; what is left out is not written.

    Attributes:
        name: The model's name, for the title.
        summary: What it is, in a few sentences of Markdown.
        model_id: Hub id, or [`THIS_FOLDER`] until it has one.
        base_model: Hub id of what it was made from, or several. A path is no base model: leave it out.
        base_model_relation: How: `"finetune"` or `"adapter"`.
        languages: ISO 639-1 codes.
        example_image: What the example of its use shows it: a path in the model's folder. [default: the reader's own]
        example_question: What it asks: something that this model can answer.
        facts: The model at a glance: what -> value; see [`architecture_facts`].
        good_for: What to use it for, a sentence each.
        limits: What to know before using it, a sentence each.
        data: What it was trained on.
        records_by_language: Language code -> records trained on.
        how_trained: Markdown: the stages of training, in words.
        recipe: Setting -> value.
        metrics: What training measured: name -> value.
        versions: Package -> version.
        results: What `palo evaluate` measured.
        paper_scores: Scores of the paper, marked as such.
        other_results: Markdown: results of another kind.
        other_eval_results: The same, for the metadata.
        widget: Examples for the model's page.
        widget_note: Markdown: what to know about them.
        license: As the Hub writes it. The licence of the weights.
        license_link: Where it stands, if the Hub does not know it.
        license_chain: The licences of the parts.
        tags: Tags besides `palo` and `transformers-palo`.
    """

    name: str
    summary: str
    model_id: str = THIS_FOLDER
    base_model: str | list[str] | None = None
    base_model_relation: Literal["finetune", "adapter"] | None = None
    languages: Sequence[str] = tuple(language.code for language in LANGUAGES)
    example_image: str = EXAMPLE_IMAGE
    example_question: str = EXAMPLE_QUESTION
    facts: Mapping[str, Any] = field(default_factory=dict)
    good_for: Sequence[str] = ()
    limits: Sequence[str] = GENERAL_LIMITS
    data: Sequence[TrainingData] = ()
    records_by_language: Mapping[str, int] = field(default_factory=dict)
    how_trained: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    results: EvaluationResults | None = None
    paper_scores: PaperScores | None = None
    other_results: str = ""
    other_eval_results: Sequence[EvalResult] = ()
    widget: Sequence[WidgetExample] = ()
    widget_note: str = ""
    license: str | None = None
    license_link: str | None = None
    license_chain: Sequence[LicenseTerm] = ()
    tags: Sequence[str] = ()

    def metadata(self) -> ModelCardData:
        """What stands at the card's head, for the Hub.

        Raises:
            ValueError: A relation without a base model, or a language that is none of the ten.
        """
        if self.base_model_relation and not self.base_model:
            raise ValueError(f"base_model_relation is {self.base_model_relation!r}, but there is no base_model.")
        eval_results = [*self.other_eval_results, *(to_eval_results(self.results) if self.results else ())]
        return ModelCardData(
            model_name=self.name,
            language=[get_language(code).code for code in self.languages],
            license=self.license,
            license_link=self.license_link,
            library_name="transformers",
            pipeline_tag="image-text-to-text",
            base_model=self.base_model,
            base_model_relation=self.base_model_relation,
            datasets=[data.hub_id for data in self.data if data.hub_id] or None,
            tags=["palo", "transformers-palo", *self.tags],
            widget=widget_metadata(self.widget),
            eval_results=eval_results or None,
        )

    def to_card(self) -> ModelCard:
        """The whole card. `to_card().save(folder / "README.md")` writes it.

        Raises:
            ValueError: The same as [`metadata`].
        """
        data = self.metadata()
        if data.eval_results is None:
            # The Hub wants a name for results only.
            data.pop("model_name")
        text = render(
            "model_card.md.jinja",
            card=self,
            languages=[get_language(code) for code in self.languages],
            use=use_section(self.model_id, self.example_image, self.example_question),
            examples=examples_section(self.widget, self.widget_note),
            results=results_section(self.results, has_others=bool(self.paper_scores or self.other_results)),
            paper=PAPER,
            records=_records(self.records_by_language),
        )
        text = re.sub(r"\n{3,}", "\n\n", text)
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n")


def architecture_facts(config: PaloConfig, num_parameters: int | None = None) -> dict[str, str]:
    """What a configuration says about its model, for [`PaloModelCard.facts`]."""
    vision, text = config.vision_config, config.text_config
    facts = {} if num_parameters is None else {"Parameters": f"{num_parameters:,}"}
    layers = f" of {config.projector_num_layers} layers" if config.projector_type == "mlp" else ""
    return facts | {
        "Vision tower": (
            f"{vision.model_type}, {vision.num_hidden_layers} layers of width {vision.hidden_size}, pictures of "
            f"{vision.image_size} pixels a side in patches of {vision.patch_size}"
        ),
        "Projector": f"{config.projector_type}{layers}, {config.image_seq_length} tokens a picture",
        "Language model": f"{text.model_type}, {text.num_hidden_layers} layers of width {text.hidden_size}",
        "Vocabulary": f"{text.vocab_size:,}",
        "Context": f"{text.max_position_embeddings:,} tokens, those of the pictures included",
    }


def use_section(
    model_id: str,
    image: str = EXAMPLE_IMAGE,
    question: str = EXAMPLE_QUESTION,
    with_code: bool = False,
    revision: str | None = None,
) -> str:
    """How to load the model, between its comments. The first one remembers picture and question.

    Args:
        model_id: Hub id, or [`THIS_FOLDER`].
        image: The picture of the example: a path in the model's folder, or the default.
        question: Its question.
        with_code: Whether the repository carries the model's Python files.
        revision: The branch that the model is on. [default: main]
    """
    asked = {"image": image, "question": question}
    shown = image
    if image != EXAMPLE_IMAGE:
        shown = f"{model_id}/{image}" if model_id == THIS_FOLDER else hf_hub_url(model_id, image, revision=revision)
    values = {"model_id": model_id, "image": shown, "question": question, "revision": revision}
    body = render("use.md.jinja", **values, with_code=with_code, package=_PACKAGE)
    # A question may hold what would end the comment.
    remembered = json.dumps(asked, ensure_ascii=False).replace(">", "\\u003e")
    return f"<!-- palo:use {remembered} -->\n\n{body}\n\n<!-- /palo:use -->"


def results_section(results: EvaluationResults | None, has_others: bool = False) -> str:
    """What an evaluation measured, between its comments.

    Args:
        results: Of the evaluation. Without it the section says that there are no scores.
        has_others: The card has scores elsewhere; then it does not say so.
    """
    body = render("results.md.jinja", results=results, has_others=has_others, language_of=get_language)
    return f"<!-- palo:results -->\n\n{body}\n\n<!-- /palo:results -->"


def examples_section(examples: Sequence[WidgetExample], note: str = "") -> str:
    """What the model answered, between comments: empty until it was asked."""
    body = render("examples.md.jinja", examples=examples, note=note)
    return f"<!-- palo:examples -->\n\n{body}\n\n<!-- /palo:examples -->"


def with_examples(text: str, examples: Sequence[WidgetExample], note: str) -> str:
    """A card's text with these examples; unchanged if it has no place for them."""
    section = examples_section(examples, note)
    pattern = r"<!-- palo:examples -->.*?<!-- /palo:examples -->"
    return re.sub(pattern, lambda _: section, text, flags=re.DOTALL)


def with_use(text: str, model_id: str, with_code: bool, revision: str | None = None) -> str:
    """A card's text that says how to load the model from `model_id`; unchanged if it never said how.

    Raises:
        ValueError: The comment that remembers picture and question was damaged.
    """

    def rewritten(match: re.Match[str]) -> str:
        try:
            asked = json.loads(match[1])
        except ValueError:
            asked = {}
        if asked.keys() != {"image", "question"} or not all(isinstance(value, str) for value in asked.values()):
            raise ValueError(
                f'README.md: expected a comment <!-- palo:use {{"image": "...", "question": "..."}} -->, found {match[1]}'
            )
        return use_section(model_id, **asked, with_code=with_code, revision=revision)

    pattern = r"<!-- palo:use (\{.*?\}) -->.*?<!-- /palo:use -->"
    return re.sub(pattern, rewritten, text, flags=re.DOTALL).replace(THIS_FOLDER, model_id)


def with_results(text: str, results: EvaluationResults) -> str:
    """A card's text with these results in the place of earlier ones; at its end if it has no such place."""
    section = results_section(results)
    pattern = r"<!-- palo:results -->.*?<!-- /palo:results -->"
    text, count = re.subn(pattern, lambda _: section, text, flags=re.DOTALL)
    return text if count else f"{text.rstrip()}\n\n## Results\n\n{section}\n"


def widget_metadata(examples: Sequence[WidgetExample]) -> list[dict[str, Any]] | None:
    """Examples as the Hub's metadata has them."""
    return [_widget(example) for example in examples] or None


def _widget(example: WidgetExample) -> dict[str, Any]:
    shown: dict[str, Any] = {"example_title": example.title, "src": example.image, "text": example.question}
    if example.answer is not None:
        shown["output"] = {"text": example.answer}
    return shown


def _records(counts: Mapping[str, int]) -> list[tuple[Language, int]]:
    """In the paper's order, whatever order they come in."""
    known = {get_language(code).code: count for code, count in counts.items()}
    return [(language, known[language.code]) for language in LANGUAGES if language.code in known]


def render(template: str, **values: Any) -> str:
    """A template of this folder, filled in."""
    return _environment().get_template(template).render(**values).strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["python"] = lambda text: json.dumps(text, ensure_ascii=False)
    environment.filters["shell"] = shlex.quote
    return environment


def _cell(value: Any) -> str:
    """A value as a cell of a Markdown table, which neither a bar nor a line's end may break."""
    shown = f"{value:g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return " ".join(shown.replace("|", "\\|").split())
