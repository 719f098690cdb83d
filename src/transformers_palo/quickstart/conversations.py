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
"""What the small model is taught, and what it is asked, as chats about canvases."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..languages import LANGUAGES
from .canvases import MAX_DIGITS, Canvas, Scan, draw_canvas
from .phrases import DIGITS_ON_CANVAS, KINDS, PHRASES, Kind, answer_text
from .progress import progress


# What is harder is asked more often.
KIND_WEIGHTS: dict[Kind, int] = {"which": 1, "left": 2, "right": 2, "larger": 2, "count": 1, "sum": 4}

_PLACES = {
    2: ("on the left", "on the right"),
    3: ("on the left", "in the middle", "on the right"),
}
CAPTION_REQUEST = "Describe the picture."

# How often a question is taught as written, without its final mark, in lower case, and both.
_VARIANT_SHARES = (0.6, 0.2, 0.1, 0.1)

Chat = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """One question about some digits.

    Attributes:
        digits: The digits that it is about, from left to right.
        language: Code of the language in which it is asked and to be answered.
        kind: What is asked.
        text: The question's words.
        canvas: The picture of these digits; `None` where a caption takes its place.
    """

    digits: tuple[int, ...]
    language: str
    kind: Kind
    text: str
    canvas: Canvas | None = None

    @property
    def image(self) -> Image.Image:
        """The picture, RGB.

        Raises:
            ValueError: There is none.
        """
        if self.canvas is None:
            raise ValueError(f"The question {self.text!r} is about digits in words: it has no picture.")
        return self.canvas.image

    @property
    def answer(self) -> str:
        """The reference answer."""
        return answer_text(self.language, self.kind, self.digits)


def caption(digits: tuple[int, ...]) -> str:
    """What is on a canvas, in an English sentence: captions are English, as those of PALO's first stage are."""
    if len(digits) == 1:
        return f"The only digit is {digits[0]}."
    parts = [f"{place} is {digit}" for place, digit in zip(_PLACES[len(digits)], digits, strict=True)]
    sentence = ", ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def draw_questions(count: int, rng: np.random.Generator, scans: list[Scan] | None = None) -> list[Question]:
    """Questions of every kind in every language.

    Languages take turns, so that each has its share; kinds are drawn by [`KIND_WEIGHTS`].

    Args:
        count: How many.
        rng: Draws everything.
        scans: What to write onto canvases, one for each question; without them the questions have no pictures.
    """
    weights = np.array([KIND_WEIGHTS[kind] for kind in KINDS], dtype=float)
    questions = []
    kinds = rng.choice(len(KINDS), count, p=weights / weights.sum())
    for index, kind_index in enumerate(progress(kinds, "drawing")):
        kind, language = KINDS[kind_index], LANGUAGES[index % len(LANGUAGES)].code
        canvas = _canvas_for(kind, scans, rng) if scans else None
        digits = canvas.digits if canvas else _digits_for(kind, rng)
        questions.append(Question(digits, language, kind, _as_typed(_wording(language, kind, rng), rng), canvas))
    return questions


def draw_captioned(count: int, rng: np.random.Generator, scans: list[Scan]) -> list[Canvas]:
    """Canvases of one to three digits, to be described."""
    return [draw_canvas(scans, int(rng.integers(1, MAX_DIGITS + 1)), rng) for _ in progress(range(count), "drawing")]


def held_out_questions(scans: list[Scan], canvases_per_kind: int, rng: np.random.Generator) -> list[Question]:
    """The examination: every canvas is asked about in all ten languages, so that only the language differs."""
    questions = []
    for kind in KINDS:
        for _ in range(canvases_per_kind):
            canvas = _canvas_for(kind, scans, rng)
            for language in LANGUAGES:
                wording = _wording(language.code, kind, rng)
                questions.append(Question(canvas.digits, language.code, kind, wording, canvas))
    return questions


def _wording(language: str, kind: Kind, rng: np.random.Generator) -> str:
    wordings = PHRASES[language][kind].questions
    return wordings[rng.integers(len(wordings))]


def typed_variants(wording: str) -> tuple[str, ...]:
    """A question as people type it: as written, without its final mark, in lower case, or both."""
    bare = wording.rstrip("?？؟.。 ")
    return (wording, bare, wording.lower(), bare.lower())


def _as_typed(wording: str, rng: np.random.Generator) -> str:
    return typed_variants(wording)[rng.choice(4, p=_VARIANT_SHARES)]


def _digits_for(kind: Kind, rng: np.random.Generator) -> tuple[int, ...]:
    while True:
        digits = tuple(rng.integers(10, size=rng.choice(DIGITS_ON_CANVAS[kind])).tolist())
        if _has_answer(kind, digits):
            return digits


def _canvas_for(kind: Kind, scans: list[Scan], rng: np.random.Generator) -> Canvas:
    while True:
        canvas = draw_canvas(scans, int(rng.choice(DIGITS_ON_CANVAS[kind])), rng)
        if _has_answer(kind, canvas.digits):
            return canvas


def _has_answer(kind: Kind, digits: tuple[int, ...]) -> bool:
    return kind != "larger" or digits[0] != digits[1]


def caption_chat(canvas: Canvas) -> Chat:
    """Stage 1, alignment: the picture and its caption."""
    return [_user(CAPTION_REQUEST, with_image=True), _assistant(caption(canvas.digits))]


def reading_chats(count: int, rng: np.random.Generator) -> list[Chat]:
    """For the language model alone: a caption stands where the picture will stand.

    Of three chats, two ask a question and one asks for the caption itself: what has learnt to tell it again from words
    can tell it from a picture, once the projector puts the picture into words.
    """
    chats = []
    for index, question in enumerate(draw_questions(count, rng)):
        words = caption(question.digits)
        if index % 3:
            chats.append([_user(f"{words}\n{question.text}"), _assistant(question.answer)])
        else:
            chats.append([_user(f"{words}\n{CAPTION_REQUEST}"), _assistant(words)])
    return chats


def instruction_chat(question: Question) -> Chat:
    """Stage 2, instructions: a question about the picture, and its answer."""
    return [_user(question.text, with_image=True), _assistant(question.answer)]


def prompt_chat(question: Question) -> Chat:
    """The question alone, with its picture in place, as `pipeline("image-text-to-text")` takes it."""
    content = [{"type": "image", "image": question.image}, {"type": "text", "text": question.text}]
    return [{"role": "user", "content": content}]


def _user(text: str, with_image: bool = False) -> dict[str, Any]:
    image = [{"type": "image"}] if with_image else []
    return {"role": "user", "content": [*image, {"type": "text", "text": text}]}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}
