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
"""The examination: the saved model, reloaded through `pipeline`, is asked about scans that it has never seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from ..language_id import detect_language
from ..languages import LANGUAGES
from .conversations import Question, prompt_chat
from .phrases import KINDS, Kind, numbers_in


# The longest reference answer has fewer tokens.
MAX_NEW_TOKENS = 64

# What a run should reach in every language.
AIM_WHICH = 0.95
AIM_ALL_KINDS = 0.90


@dataclass(frozen=True)
class Answered:
    """A question and what the model said.

    Attributes:
        question: The question.
        text: The model's answer.
        detected_language: Code of the language that the answer is written in, `None` if it is none of the ten.
    """

    question: Question
    text: str
    detected_language: str | None

    @property
    def correct(self) -> bool:
        """Whether it states the numbers of the reference answer, all of them and no others.

        A sum must also quote its two parts rightly.
        """
        return numbers_in(self.text) == numbers_in(self.question.answer)

    @property
    def in_language(self) -> bool:
        """Whether it is written in the language of the question."""
        return self.detected_language == self.question.language


@dataclass(frozen=True)
class Score:
    """How many of the answers were right, and in the right language."""

    correct: int
    in_language: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share of right answers; 0 of none."""
        return self.correct / self.total if self.total else 0.0

    @property
    def language_accuracy(self) -> float:
        """Share of answers in the language of the question; 0 of none."""
        return self.in_language / self.total if self.total else 0.0


@dataclass(frozen=True)
class LanguageScores:
    """One row of the table: a language, kind by kind and together."""

    language: str
    kinds: dict[Kind, Score]
    together: Score


def examine(pipe: Any, questions: Sequence[Question], batch_size: int = 100) -> list[Answered]:
    """Ask every question, in batches.

    Args:
        pipe: An `image-text-to-text` pipeline.
        questions: What to ask.
        batch_size: How many at once.
    """
    answered = []
    with tqdm(total=len(questions), desc="examination", dynamic_ncols=True) as bar:
        for start in range(0, len(questions), batch_size):
            batch = questions[start : start + batch_size]
            outputs = pipe(
                text=[prompt_chat(question) for question in batch],
                batch_size=len(batch),
                generate_kwargs={"max_new_tokens": MAX_NEW_TOKENS, "do_sample": False},
                return_full_text=False,
            )
            for question, output in zip(batch, outputs, strict=True):
                text = output[0]["generated_text"].strip()
                language = detect_language(text)
                answered.append(Answered(question, text, language.code if language else None))
            bar.update(len(batch))
    return answered


def score_by_language(answered: Sequence[Answered]) -> list[LanguageScores]:
    """The table, one row a language in the paper's order."""
    rows = []
    for language in LANGUAGES:
        own = [answer for answer in answered if answer.question.language == language.code]
        kinds = {kind: _score([answer for answer in own if answer.question.kind == kind]) for kind in KINDS}
        rows.append(LanguageScores(language.code, kinds, _score(own)))
    return rows


def _score(answered: Sequence[Answered]) -> Score:
    return Score(
        correct=sum(answer.correct for answer in answered),
        in_language=sum(answer.in_language for answer in answered),
        total=len(answered),
    )


def shortfalls(rows: Iterable[LanguageScores]) -> list[str]:
    """What stayed below its aim, one sentence each with its figure; empty if nothing did."""
    found = []
    for row in rows:
        for what, reached, aim in (
            ("which-digit questions", row.kinds["which"].accuracy, AIM_WHICH),
            ("all kinds of questions", row.together.accuracy, AIM_ALL_KINDS),
            ("answers in the question's language", row.together.language_accuracy, 1.0),
        ):
            if reached < aim:
                found.append(f"{row.language}: {what} {reached:.1%}, the aim is {aim:.0%}")
    return found
