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

from enum import StrEnum
from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from ..models.palo.image_loading_palo import load_image
from ..models.palo.processing_palo import PaloProcessor
from .messages import ImageCountError, MalformedMessages, images_of, structured_messages


Example = dict[str, Any]


class RowEvent(StrEnum):
    """What may happen to a row of a batch; at most one of them does. The order is that of [`count_events`]."""

    TRUNCATED = "truncated"  # text beyond `max_length` was cut off; what is left is learnt from
    NOTHING_LEFT_TO_LEARN = "nothing_left_to_learn"  # the cut took every supervised token
    IMAGE_BEYOND_MAX_LENGTH = "image_beyond_max_length"  # image tokens would have been cut
    IMAGE_UNREADABLE = "image_unreadable"  # a picture is not there (any more), or cannot be decoded
    IMAGE_COUNT = "image_count"  # another number of images than of placeholders
    MALFORMED = "malformed"  # no chat can be made of the messages


# Nothing is learnt from these rows, though they are in the batch.
LOST = frozenset(RowEvent) - {RowEvent.TRUNCATED}


def count_events(batch: dict[str, Any]) -> torch.Tensor:
    """Rows of a batch, and of these rows of each [`RowEvent`] in its order: int64 `(1 + events,)`, to be summed up over
    batches and processes."""
    reasons = [event["reason"] for event in batch["events"]]
    return torch.tensor([len(batch["input_ids"]), *(reasons.count(event) for event in RowEvent)])


# Takes the place of a record that cannot be used: one short prompt, nothing of it supervised.
_EMPTY: Example = {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}], "images": []}


class PaloDataCollator:
    """A batch for training from examples `{"messages", "images", "language", ...}`, as TRL takes them.

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
        `events`: a list of `{"id", "reason", "detail"}` for rows that were truncated or left out; a reason is a [`RowEvent`].
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
                events.append(_event(examples[index], RowEvent.IMAGE_BEYOND_MAX_LENGTH, detail))
                rows[index] = _EMPTY
            left_out |= too_long
            batch = self._collate(rows)
        events += self._truncate(batch, examples, left_out)
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

    def _truncate(self, batch: Any, examples: list[Example], left_out: set[int]) -> list[dict[str, str]]:
        if self.max_length is None or batch["input_ids"].shape[1] <= self.max_length:
            return []
        lengths = batch["attention_mask"].sum(dim=1)
        supervised = _supervised(batch)
        for name in ("input_ids", "attention_mask", "labels"):
            batch[name] = batch[name][:, : self.max_length]
        nothing_left = supervised & ~_supervised(batch)
        cut = set((lengths > self.max_length).nonzero().flatten().tolist())
        return [
            _event(
                examples[index],
                RowEvent.NOTHING_LEFT_TO_LEARN if nothing_left[index] else RowEvent.TRUNCATED,
                f"{int(lengths[index])} tokens, max_length={self.max_length}",
            )
            for index in sorted(cut - left_out)
        ]


class _Unusable(ValueError):
    """A record that no batch can be made of."""

    def __init__(self, reason: RowEvent, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _opened(example: Example) -> Example:
    """The chat with its pictures opened."""
    if "messages" not in example:
        raise ValueError(
            f"Records to train on: expected a column `messages`, with `images` and `language`, found {', '.join(example)}. "
            "`palo data prepare` makes them of records in LLaVA's format."
        )
    sources = images_of(example)
    try:
        messages = structured_messages(example["messages"], len(sources))
        return {"messages": messages, "images": [load_image(_source(source)) for source in sources]}
    except MalformedMessages as error:
        raise _Unusable(RowEvent.MALFORMED, str(error)) from error
    except ImageCountError as error:
        raise _Unusable(RowEvent.IMAGE_COUNT, str(error)) from error
    except (ValueError, OSError) as error:
        raise _Unusable(RowEvent.IMAGE_UNREADABLE, str(error)) from error


def _source(image: Any) -> Any:
    """What `datasets` stores of an undecoded image is a dictionary of bytes and path."""
    return (image.get("bytes") or image.get("path")) if isinstance(image, dict) else image


def _supervised(batch: Any) -> torch.Tensor:
    return (batch["labels"][:, 1:] != -100).any(dim=1)


def _event(example: Example, reason: RowEvent, detail: str) -> dict[str, str]:
    return {"id": str(example.get("id", "")), "reason": reason.value, "detail": detail}
