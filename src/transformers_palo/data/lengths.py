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

import numpy as np
from datasets import Dataset

from ..models.palo.processing_palo import PaloProcessor
from .tokens import TokenCounter


def num_tokens(dataset: Dataset, processor: PaloProcessor, column: str, num_proc: int | None = None) -> np.ndarray:
    """Lengths in tokens, `(records,)`: those of the column, or counted now and cached as `datasets` caches."""
    if column not in dataset.column_names:
        counter = TokenCounter(processor)
        dataset = dataset.select_columns(["messages"]).map(
            lambda batch: {column: counter.count(batch["messages"])},
            batched=True,
            remove_columns=["messages"],
            num_proc=num_proc,
            desc="counting tokens",
        )
    return np.asarray(dataset[column][:], dtype=np.int64)


def has_images(dataset: Dataset) -> np.ndarray:
    """Which records have pictures: `(records,)` of bool. Reads no picture."""
    column = dataset.select_columns(["images"]).with_format("arrow")
    flags = [
        batch["images"].combine_chunks().value_lengths().fill_null(0).to_numpy(zero_copy_only=False) > 0
        for batch in column.iter(batch_size=10_000)
    ]
    return np.concatenate(flags) if flags else np.zeros(0, dtype=bool)
