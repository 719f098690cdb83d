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
"""Records as TRL takes them, brought into the one shape that chat templates and counting need."""

from typing import Any


Message = dict[str, Any]

_ROLES = ("system", "user", "assistant")


class MalformedMessages(ValueError):
    """No chat can be made of a record's messages."""


class ImageCountError(ValueError):
    """A record's messages have places for another number of images than it has."""


def images_of(example: dict[str, Any]) -> list[Any]:
    """The images of a record: a list in `images`, or one in `image`; none where it has neither."""
    images = example.get("images")
    if images is None and example.get("image") is not None:
        return [example["image"]]
    return images or []


def structured_messages(messages: Any, num_images: int) -> list[Message]:
    """A record's messages, their contents lists of parts, with a placeholder for every image.

    Where contents are texts, images stand in front of the first question, as TRL's `prepare_multimodal_messages` has it.

    Args:
        messages: `[{"role": "system" | "user" | "assistant", "content": text, or [{"type": "text" | "image", ...}]}]`.
        num_images: How many images the record has.

    Raises:
        MalformedMessages: They are no such list.
        ImageCountError: They have places for another number of images.
    """
    if not isinstance(messages, list) or not messages:
        raise MalformedMessages(f"expected a list of messages, found {messages!r:.60}")
    structured, waiting = [], num_images
    for message in messages:
        role, content = _checked(message)
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
            if role == "user":
                content, waiting = [{"type": "image"}] * waiting + content, 0
        structured.append({**message, "content": [_without_nulls(part, role) for part in content]})
    places = sum(part["type"] == "image" for message in structured for part in message["content"])
    if places != num_images:
        raise ImageCountError(f"{places} placeholders, {num_images} images")
    return structured


def _checked(message: Any) -> tuple[str, Any]:
    """Role and content of a message."""
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise MalformedMessages(f"expected a message of the {', '.join(_ROLES)}, found {message!r:.60}")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise MalformedMessages(f"expected a text or a list of parts as content, found {content!r:.60}")
    return message["role"], content


def _without_nulls(part: Any, role: str) -> dict[str, Any]:
    """Arrow gives every part of a message the fields of all, `None` where a part has none: a placeholder gets a text."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "image") or (kind == "image" and role != "user"):
        raise MalformedMessages(f"expected parts that are text, or an image of the user, found {part!r:.60}")
    return {name: value for name, value in part.items() if value is not None}
