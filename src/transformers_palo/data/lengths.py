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
"""Lengths in tokens and modalities of a data set's records, without opening a picture."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from ..models.palo.processing_palo import PaloProcessor
from .messages import ImageCountError, MalformedMessages, structured_messages
from .tokens import TokenCounter


def num_tokens(dataset: Dataset, processor: PaloProcessor, column: str, num_proc: int | None = None) -> np.ndarray:
    """Lengths in tokens, `(records,)`: those of the column, or counted now and cached as `datasets` caches.

    A record that no chat can be made of has 0.
    """
    if column not in dataset.column_names:
        counter, images = TokenCounter(processor), num_images(dataset)

        def count(batch: dict[str, list[Any]], rows: list[int]) -> dict[str, list[int]]:
            chats = [_structured(chat, int(images[row])) for chat, row in zip(batch["messages"], rows, strict=True)]
            counts = iter(counter.count([chat for chat in chats if chat is not None]))
            return {column: [0 if chat is None else next(counts) for chat in chats]}

        dataset = dataset.select_columns(["messages"]).map(
            count,
            batched=True,
            with_indices=True,
            remove_columns=["messages"],
            num_proc=num_proc,
            desc="counting tokens",
        )
    return np.asarray(dataset[column][:], dtype=np.int64)


def num_images(dataset: Dataset) -> np.ndarray:
    """How many pictures each record has, `(records,)`. Looks at the places of lists alone, never at a picture."""
    table, counts = dataset.data.table, np.zeros(dataset.data.num_rows, dtype=np.int64)
    # The order of preference is that of `images_of`.
    if "image" in table.column_names:
        counts[:] = table["image"].is_valid().to_numpy()
    if "images" in table.column_names and not pa.types.is_null(table["images"].type):
        images = table["images"]
        counts = np.where(images.is_valid(), pc.list_value_length(images).fill_null(0), counts)
    # A selection is kept as a list of rows; taking the rows would copy the pictures.
    rows = dataset._indices
    return counts if rows is None else counts[rows.column(0).to_numpy()]


def has_images(dataset: Dataset) -> np.ndarray:
    """Which records have pictures: `(records,)` of bool. Reads no picture."""
    return num_images(dataset) > 0


def _structured(messages: Any, num_images: int) -> list[dict[str, Any]] | None:
    try:
        return structured_messages(messages, num_images)
    except (MalformedMessages, ImageCountError):
        return None
