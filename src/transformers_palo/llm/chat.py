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
"""A request for a chat completion, what identifies it, and what comes back."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errors import RetryableEndpointError


Message = dict[str, str]


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion to ask for.

    Attributes:
        model: Name of the model, as the endpoint knows it.
        messages: `{"role", "content"}` each; all but the last are usually the same in many requests.
        max_tokens: The most tokens to answer with.
        temperature: 0 for the most likely answer.
        response_format: JSON schema that the answer has to follow (OpenAI's structured outputs), if any.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    response_format: dict[str, Any] | None = None

    @cached_property
    def key(self) -> bytes:
        """SHA-256 of the content: equal requests have equal keys, wherever and whenever they are made."""
        content = [self.model, self.messages, self.parameters]
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).digest()

    @property
    def parameters(self) -> dict[str, Any]:
        """What is sent beside model and messages."""
        parameters: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        if self.response_format is not None:
            parameters["response_format"] = self.response_format
        return parameters

    @property
    def num_characters(self) -> int:
        """Length of all messages together."""
        return sum(len(message["content"]) for message in self.messages)


@dataclass(frozen=True)
class Reply:
    """An endpoint's answer.

    Attributes:
        text: What the model wrote, without a reasoning model's thoughts.
        finish_reason: `"stop"`, `"length"` where the model was cut off, `"content_filter"` ...
        model: The model by the name that the endpoint gives it, which often says its version.
        prompt_tokens: Tokens of the request; 0 where the endpoint does not count.
        completion_tokens: Tokens of the answer.
        raw: The whole reply as it came (JSON).
    """

    text: str
    finish_reason: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    raw: str = field(repr=False)


# Some servers leave a reasoning model's thoughts in the answer.
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>\s*", flags=re.DOTALL)
# No honest count is higher, and SQLite keeps it.
_MOST_TOKENS = 2**53


def parse_reply(raw: str) -> Reply:
    """Read a chat completion. What is odd beside its text (no usage, a model that is `null`) does no harm.

    Half characters (lone surrogates) become U+FFFD, which can be written down and is found by the checks.

    Raises:
        RetryableEndpointError: It is none: not JSON, or without a choice.
    """
    try:
        completion = json.loads(raw)
        choice = completion["choices"][0]
        message = choice["message"]
        text = _text(message.get("content")) or _text(message.get("refusal"))
        usage = completion.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        return Reply(
            text=_THOUGHTS.sub("", text),
            finish_reason=_text(choice.get("finish_reason")) or "stop",
            model=_text(completion.get("model")),
            prompt_tokens=_count(counts.get("prompt_tokens")),
            completion_tokens=_count(counts.get("completion_tokens")),
            raw=whole_characters(raw),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        shown = raw[:80] + ("..." if len(raw) > 80 else "")
        raise RetryableEndpointError(
            f"expected a chat completion with a choice, found {shown!r}", "malformed reply"
        ) from error


def _text(value: Any) -> str:
    """A text, or the texts of a list of parts, as some servers give them; anything else is none."""
    if isinstance(value, list):
        value = "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return whole_characters(value) if isinstance(value, str) else ""


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is no such number."""
    try:
        count = int(value)
    except (ValueError, TypeError, OverflowError):
        return 0
    return count if 0 <= count <= _MOST_TOKENS else 0


def whole_characters(text: str) -> str:
    """A text with U+FFFD in the place of half characters, which no file and no database takes.

    >>> whole_characters("a dog \\ud83d")
    'a dog \ufffd'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
