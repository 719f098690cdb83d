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
"""A record in LLaVA's format made into a training example, or rejected by name.

What is wrong with a record in a way that has one right answer is repaired and counted; the rest is rejected with a
reason. Nothing is dropped without a word, and no record reaches training that would be masked as a whole there (the
original zeroes the loss of a record with an odd number of turns or an empty answer).
"""

import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


PLACEHOLDER = "<image>"
ROLES = {"human": "user", "gpt": "assistant"}

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_LEADING_PLACEHOLDERS = re.compile(rf"(?:\s*{PLACEHOLDER})*")


class RejectReason(StrEnum):
    """Why a record is left out."""

    CORRUPT_FLAG = "corrupt_flag"  # the record says `"corrupt": true`
    MALFORMED = "malformed"  # no list of turns with `from` and `value`, or an image that is neither path nor bytes
    UNKNOWN_ROLE = "unknown_role"  # `from` is neither human nor gpt
    ODD_TURNS = "odd_turns"  # the last question has no answer
    TURNS_OUT_OF_ORDER = "turns_out_of_order"  # two questions or two answers in a row
    EMPTY_TURN = "empty_turn"  # an answer, or a question without an image, that is empty or white space
    PLACEHOLDER_IN_ANSWER = "placeholder_in_answer"  # `<image>` in an answer
    IMAGE_COUNT = "image_count"  # several images, and another number of placeholders
    UNREADABLE = "unreadable"  # too large, nested too deeply, or a key twice: nothing to work with
    INVALID_TEXT = "invalid_text"  # half a surrogate pair, which no UTF-8 file can hold
    LANGUAGE_UNKNOWN = "language_unknown"  # none of the ten languages is named, or detected
    IMAGE_OUTSIDE_ROOT = "image_outside_root"  # the path leads out of its root: `../`, absolute, or by a link
    IMAGE_MISSING = "image_missing"  # no such file
    IMAGE_UNREADABLE = "image_unreadable"  # not a picture, or a damaged one
    IMAGE_BOMB = "image_bomb"  # more pixels than Pillow's limit against decompression bombs
    TOO_LONG = "too_long"  # more tokens than `max_length`
    DUPLICATE_ID = "duplicate_id"  # a record of this source and language with this id was kept before


class Repair(StrEnum):
    """What was mended in a record that is kept."""

    LEADING_ANSWER_DROPPED = "leading_answer_dropped"  # an answer before the first question
    PLACEHOLDER_MOVED = "placeholder_moved"  # from inside or behind a question to its start
    PLACEHOLDER_COLLAPSED = "placeholder_collapsed"  # several placeholders of one image: the first is kept
    PLACEHOLDER_MISSING = "placeholder_missing"  # an image without placeholder: the record becomes text-only
    PLACEHOLDER_AS_TEXT = "placeholder_as_text"  # a placeholder without image: it stays in the question, as text
    ID_NUMBERED = "id_numbered"  # no id, or one that was used before: it got one from its number


@dataclass(frozen=True)
class Converted:
    """A training example: `{"messages", "images", "language", "source", "id"}`, and what was repaired in it."""

    example: dict[str, Any]
    repairs: list[Repair]


@dataclass(frozen=True)
class Rejected:
    """Why there is no example, and what exactly was found."""

    reason: RejectReason
    detail: str


class _RejectError(Exception):
    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail)


def convert_record(
    record: dict[str, Any], *, source: str, language: str, id: str | None = None
) -> Converted | Rejected:
    """Make a training example of a LLaVA record. Nothing is read from a disk: images stay as the record has them.

    Args:
        record: `{"id", "conversations": [{"from": "human" | "gpt", "value"}]}`, with `"image"` (or `"images"`) a path, a
            `{"bytes", "path"}`, or a list of them.
        source: Name of the source.
        language: Language code.
        id: Instead of the record's own id.

    Returns:
        The example, or why there is none.

    Example:
        >>> turns = [{"from": "human", "value": "Was?\\n<image>"}, {"from": "gpt", "value": "Ein Boot."}]
        >>> record = {"id": "7", "image": "boat.jpg", "conversations": turns}
        >>> converted = convert_record(record, source="mine", language="en")
        >>> converted.example["messages"][0]["content"]
        [{'type': 'image'}, {'type': 'text', 'text': 'Was?'}]
        >>> converted.repairs
        [<Repair.PLACEHOLDER_MOVED: 'placeholder_moved'>]
    """
    try:
        return _convert(record, source, language, id if id is not None else record_id(record) or "")
    except _RejectError as error:
        return error.rejected


def shown(value: Any) -> str:
    """A value as a message shows it: short, however large or deep it is."""
    return _SHORT.repr(value)[:60]


def record_id(record: dict[str, Any]) -> str | None:
    """A record's id as text, if it has one."""
    value = record.get("id")
    return str(value) if isinstance(value, str | int) and str(value) else None


def texts_of(record: dict[str, Any]) -> Iterator[str]:
    """The texts of a record that may be malformed, answers first: what its language is detected by."""
    turns = record.get("conversations")
    turns = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    for turn in sorted(turns, key=lambda turn: turn.get("from") != "gpt"):
        if isinstance(value := turn.get("value"), str):
            yield value.replace(PLACEHOLDER, " ")


def _convert(record: dict[str, Any], source: str, language: str, id: str) -> Converted:
    if record.get("corrupt"):
        raise _RejectError(RejectReason.CORRUPT_FLAG, f"corrupt: {shown(record['corrupt'])}")
    repairs: list[Repair] = []
    turns = list(_turns(record))
    if turns and turns[0][0] == "assistant":
        repairs.append(Repair.LEADING_ANSWER_DROPPED)
        turns = turns[1:]
    _check_order(turns)
    questions = [text for role, text in turns if role == "user"]
    images = list(_images(record))
    counts = [question.count(PLACEHOLDER) for question in questions]
    _check_unicode([id, *(text for _, text in turns), *(image for image in images if isinstance(image, str))])
    kept = _image_counts(counts, len(images), repairs)
    if kept and any(_has_inner_placeholder(question) for question in questions):
        repairs.append(Repair.PLACEHOLDER_MOVED)

    messages = []
    for number, (role, text) in enumerate(turns):
        content: list[dict[str, str]] = []
        if role == "user" and kept and counts[number // 2]:
            content = [{"type": "image"}] * kept[number // 2]
            text = text.replace(PLACEHOLDER, "").strip()
        if text.strip():
            content.append({"type": "text", "text": text})
        if not content:
            raise _RejectError(RejectReason.EMPTY_TURN, f"turn {number + 1} ({role}) is empty")
        messages.append({"role": role, "content": content})
    example = {
        "messages": messages,
        "images": images if kept else [],
        "language": language,
        "source": source,
        "id": id,
    }
    return Converted(example, repairs)


def _turns(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, text) of every turn."""
    turns = record.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise _RejectError(RejectReason.MALFORMED, f"expected a list of turns in conversations, found {shown(turns)}")
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            raise _RejectError(RejectReason.MALFORMED, f"expected a turn with from and value, found {shown(turn)}")
        speaker = turn.get("from")
        role = ROLES.get(speaker) if isinstance(speaker, str) else None
        if role is None:
            raise _RejectError(RejectReason.UNKNOWN_ROLE, f"expected human or gpt, found {shown(turn.get('from'))}")
        yield role, turn["value"]


def _check_unicode(texts: list[str]) -> None:
    if not _is_unicode("".join(texts)):
        raise _RejectError(RejectReason.INVALID_TEXT, "half a surrogate pair, which cannot be written as UTF-8")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_order(turns: list[tuple[str, str]]) -> None:
    """Questions and answers in turn, and answers that are answers."""
    if len(turns) % 2 or not turns:
        raise _RejectError(RejectReason.ODD_TURNS, f"expected answers to all questions, found {len(turns)} turns")
    for number, (role, text) in enumerate(turns):
        if role != ("user", "assistant")[number % 2]:
            raise _RejectError(RejectReason.TURNS_OUT_OF_ORDER, f"turn {number + 1} is of the {role} again")
        if role == "assistant" and PLACEHOLDER in text:
            raise _RejectError(RejectReason.PLACEHOLDER_IN_ANSWER, f"turn {number + 1}: {text!r:.60}")


def _images(record: dict[str, Any]) -> Iterator[str | dict[str, Any]]:
    """Paths, and `{"bytes", "path"}` where the record holds the picture."""
    images = record.get("image") if record.get("image") is not None else record.get("images")
    for image in images if isinstance(images, list) else [images]:
        content, path = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (None, image)
        if isinstance(path, bytes):  # a column of bytes that is not marked as images
            content, path = path, None
        if isinstance(content, bytes):
            yield {"bytes": content, "path": path if isinstance(path, str) and _is_unicode(path) else None}
        elif content is not None or not isinstance(path, str | None) or (isinstance(image, dict) and path is None):
            raise _RejectError(
                RejectReason.MALFORMED, f"expected the path or the bytes of an image, found {shown(image)}"
            )
        elif path:
            yield path


def _image_counts(counts: list[int], num_images: int, repairs: list[Repair]) -> list[int]:
    """How many images stand at the start of every question; nothing at all for a text-only record."""
    total = sum(counts)
    if not num_images:
        if total:
            repairs.append(Repair.PLACEHOLDER_AS_TEXT)
        return []
    if not total:
        repairs.append(Repair.PLACEHOLDER_MISSING)
        return []
    if num_images == 1 and total > 1:
        repairs.append(Repair.PLACEHOLDER_COLLAPSED)
        first = next(number for number, count in enumerate(counts) if count)
        return [int(number == first) for number in range(len(counts))]
    if total != num_images:
        raise _RejectError(RejectReason.IMAGE_COUNT, f"{num_images} images, {total} placeholders")
    return counts


def _has_inner_placeholder(question: str) -> bool:
    leading = _LEADING_PLACEHOLDERS.match(question)
    return leading is not None and PLACEHOLDER in question[leading.end() :]
