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
"""LLaVA-format records: what is translated of them, and how they are written."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ..record_files import Record
from .masking import PLACEHOLDER
from .prompts import Turn


class MalformedRecordError(ValueError):
    """A record cannot be translated as it is."""


def english_turns(record: Record) -> list[Turn]:
    """The turns of a record's `conversations`, `{"from", "value"}` each.

    Raises:
        MalformedRecordError: There are none, one is malformed, an answer is empty or has an image placeholder in it.
    """
    conversations = record.get("conversations")
    if not isinstance(conversations, list) or not conversations:
        raise MalformedRecordError(f"expected a list 'conversations', found {_shown(conversations)}")
    return [_turn(number, turn) for number, turn in enumerate(conversations, start=1)]


def _turn(number: int, turn: Any) -> Turn:
    if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("from", "value")):
        raise MalformedRecordError(f"turn {number}: expected an object with 'from' and 'value', found {_shown(turn)}")
    role, text = turn["from"], turn["value"]
    try:
        f"{role}{text}".encode()
    except UnicodeEncodeError:
        raise MalformedRecordError(f"turn {number}: half a character (a lone surrogate)") from None
    if role == "gpt" and PLACEHOLDER in text:
        raise MalformedRecordError(f"turn {number}: an answer with {PLACEHOLDER} in it")
    if role == "gpt" and not text.strip():
        raise MalformedRecordError(f"turn {number}: an empty answer")
    return Turn(role, text)


def source_id(record: Record, position: int) -> str | int:
    """What a translated record names its source by: the record's id, else its position in the file."""
    found = record.get("id")
    return found if isinstance(found, str | int) else str(position)


def with_translation(record: Record, position: int, language: str, translation: Sequence[str]) -> Record:
    """A record with its conversations translated and the English ones beside them."""
    english = record["conversations"]
    translated = [{**turn, "value": text} for turn, text in zip(english, translation, strict=True)]
    return {
        **record,
        "language": language,
        "source_id": source_id(record, position),
        "conversations": translated,
        "english_conversations": english,
    }


def as_line(record: Record) -> bytes:
    """A record as a line of JSON, letters as they are.

    Raises:
        ValueError: It holds what JSON cannot, such as the bytes of an image.
    """
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a character can only be written as an escape
        return json.dumps(record).encode() + b"\n"
    except TypeError as error:
        fields = [name for name, value in record.items() if not _is_json(value)]
        raise ValueError(
            f"Record {_shown(record.get('id'))}: {', '.join(fields)} cannot be written as JSON ({error}): "
            "leave such columns out of the input, and keep paths of images rather than their bytes."
        ) from error


def hash_of(line: bytes) -> int:
    """What tells a record's line from others; never 0."""
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest()) >> 1 or 1


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
