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
"""The columns of a prepared data set, as parquet files that `datasets.load_dataset` reads with their features."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value


ROW_GROUP_RECORDS = 1000
ROW_GROUP_IMAGE_BYTES = 2**25


def features(*, with_tokens: bool) -> Features:
    """`messages`, `images`, `language`, `source`, `id`, and `num_tokens` where tokens were counted."""
    columns: dict[str, Any] = {
        "messages": List(
            {"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})}
        ),
        "images": List(Image()),
        "language": Value("string"),
        "source": Value("string"),
        "id": Value("string"),
    }
    if with_tokens:
        columns["num_tokens"] = Value("int32")
    return Features(columns)


class ShardWriter:
    """One parquet file. It gets its name when it is whole."""

    def __init__(self, path: Path, columns: Features, *, embed_images: bool) -> None:
        self.path = path
        self.partial = path.with_suffix(".partial")
        self.schema = columns.arrow_schema
        self.embed_images = embed_images
        self.bytes = 0
        # Few distinct values are stored once; texts are not worth the attempt.
        repeated = [
            "messages.list.element.role",
            "messages.list.element.content.list.element.type",
            "language",
            "source",
        ]
        self.writer = pq.ParquetWriter(self.partial, self.schema, compression="zstd", use_dictionary=repeated)

    def write(self, examples: list[dict[str, Any]]) -> None:
        for group in self._row_groups(examples):
            table = pa.Table.from_pylist(group, schema=self.schema)
            self.writer.write_table(table)
            self.bytes += table.nbytes

    def _row_groups(self, examples: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        group: list[dict[str, Any]] = []
        image_bytes = 0
        for example in examples:
            images = [stored_image(image, self.embed_images) for image in example["images"]]
            group.append({**example, "images": images})
            image_bytes += sum(len(image["bytes"] or b"") for image in images)
            if len(group) == ROW_GROUP_RECORDS or image_bytes >= ROW_GROUP_IMAGE_BYTES:
                yield group
                group, image_bytes = [], 0
        if group:
            yield group

    def close(self) -> None:
        self.writer.close()
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        self.partial.rename(self.path)


def stored_image(image: str | dict[str, Any], embed: bool) -> dict[str, Any]:
    """An image as `datasets` stores it: a path, or the file's bytes with its name."""
    if isinstance(image, dict):
        return {"bytes": image["bytes"], "path": image.get("path")}
    return {"bytes": Path(image).read_bytes(), "path": Path(image).name} if embed else {"bytes": None, "path": image}
