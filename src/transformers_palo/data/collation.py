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
"""Batches: chats and pictures -> tensors, by TRL's collator, with what it lacks for long runs on real data."""

from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from ..models.palo.image_loading_palo import load_image
from ..models.palo.processing_palo import PaloProcessor


Example = dict[str, Any]

# Takes the place of a record that cannot be used: one short prompt, nothing of it supervised.
_EMPTY: Example = {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}], "images": []}


class PaloDataCollator:
    """A batch for training from examples `{"messages", "images", "language", ...}`.

    [`trl.trainer.sft_trainer.DataCollatorForVisionLanguageModeling`] renders, tokenizes and masks; this adds

    - pictures are opened here, in the data loader's workers. What cannot be opened any more is left out with its record: a
      short row without supervised tokens stands in for it, so that the batch keeps its size on every process;
    - truncation at `max_length` cuts text. A record whose image tokens would be cut is left out in the same way, with its
      pictures;
    - the batch says which language its rows are in and what happened to them.

    Records without pictures mix with others at no cost: there is no stand-in picture.

    Args:
        processor: Renders the chat and prepares the pictures.
        max_length: In tokens, image tokens included. `None`: no limit.
        assistant_only_loss: Supervise what the assistant says and its end of turn, or every token but padding.
        chat_template: Jinja text in place of the processor's own template.
        pad_to_multiple_of: Of the padded length.

    Returns:
        `input_ids`, `attention_mask`, `labels` (all `(batch, length)`, padded on the right, -100 is not supervised),
        `pixel_values` `(images, 3, size, size)` if there are pictures, `languages` (a code for each row, `""` if unknown) and
        `events`: a list of `{"id", "reason", "detail"}` for rows that were truncated or left out.
    """

    def __init__(
        self,
        processor: PaloProcessor,
        max_length: int | None = None,
        assistant_only_loss: bool = True,
        chat_template: str | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        self.processor = processor
        self.max_length = max_length
        # TRL's truncation is left off: it would cut into image tokens.
        self._collate = DataCollatorForVisionLanguageModeling(
            processor=processor,
            max_length=None,
            assistant_only_loss=assistant_only_loss,
            chat_template=chat_template,
            pad_to_multiple_of=pad_to_multiple_of,
        )

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        events: list[dict[str, str]] = []
        rows, left_out = [], set()
        for index, example in enumerate(examples):
            try:
                rows.append(_opened(example))
            except _Unusable as problem:
                events.append(_event(example, problem.reason, str(problem)))
                rows.append(_EMPTY)
                left_out.add(index)
        batch = self._collate(rows)
        if too_long := self._rows_with_cut_images(batch):
            for index in too_long:
                detail = f"its images end beyond max_length={self.max_length}"
                events.append(_event(examples[index], "image_beyond_max_length", detail))
                rows[index] = _EMPTY
            left_out |= too_long
            batch = self._collate(rows)
        self._truncate(batch, examples, events)
        for index in left_out:
            batch["labels"][index] = -100
        batch["languages"] = [example.get("language") or "" for example in examples]
        batch["events"] = events
        return dict(batch)

    def _rows_with_cut_images(self, batch: Any) -> set[int]:
        if self.max_length is None:
            return set()
        beyond = batch["input_ids"][:, self.max_length :] == self.processor.image_token_id
        return set(beyond.any(dim=1).nonzero().flatten().tolist())

    def _truncate(self, batch: Any, examples: list[Example], events: list[dict[str, str]]) -> None:
        if self.max_length is None or batch["input_ids"].shape[1] <= self.max_length:
            return
        lengths = batch["attention_mask"].sum(dim=1)
        supervised = _supervised(batch)
        for name in ("input_ids", "attention_mask", "labels"):
            batch[name] = batch[name][:, : self.max_length]
        nothing_left = supervised & ~_supervised(batch)
        for index in (lengths > self.max_length).nonzero().flatten().tolist():
            detail = f"{int(lengths[index])} tokens, max_length={self.max_length}"
            reason = "nothing_left_to_learn" if nothing_left[index] else "truncated"
            events.append(_event(examples[index], reason, detail))


class _Unusable(ValueError):
    """A record that no batch can be made of."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _opened(example: Example) -> Example:
    """The chat with its pictures opened."""
    num_placeholders = sum(
        part["type"] == "image"
        for message in example["messages"]
        if not isinstance(message["content"], str)
        for part in message["content"]
    )
    sources = example.get("images") or []
    if num_placeholders != len(sources):
        raise _Unusable("image_count", f"{num_placeholders} placeholders, {len(sources)} images")
    try:
        images = [load_image(_source(source)) for source in sources]
    except (ValueError, OSError) as error:
        raise _Unusable("image_unreadable", str(error)) from error
    return {"messages": [_without_empty_columns(message) for message in example["messages"]], "images": images}


def _source(image: Any) -> Any:
    """What `datasets` stores of an undecoded image is a dictionary of bytes and path."""
    return (image.get("bytes") or image.get("path")) if isinstance(image, dict) else image


def _without_empty_columns(message: dict[str, Any]) -> dict[str, Any]:
    """Arrow gives every part of a message the fields of all, `None` where a part has none: a placeholder gets a text."""
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [{k: v for k, v in part.items() if v is not None} for part in content]}


def _supervised(batch: Any) -> torch.Tensor:
    return (batch["labels"][:, 1:] != -100).any(dim=1)


def _event(example: Example, reason: str, detail: str) -> dict[str, str]:
    return {"id": str(example.get("id", "")), "reason": reason, "detail": detail}
