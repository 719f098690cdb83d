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

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value


ROW_GROUP_RECORDS = 1000
ROW_GROUP_IMAGE_BYTES = 2**25
HASH_KEY = "transformers_palo.sha256"  # in a shard's footer: of all that stands before it


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
    """One parquet file. It gets its name when it is whole, and says in its footer what the hash of its records is."""

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
        self.file = _HashedFile(self.partial.open("wb"))
        self.writer = pq.ParquetWriter(self.file, self.schema, compression="zstd", use_dictionary=repeated)

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
        self.writer.add_key_value_metadata({HASH_KEY: self.file.hash.hexdigest()})
        self.writer.close()
        self.file.flush()
        os.fsync(self.file.file.fileno())
        self.file.close()
        self.partial.rename(self.path)


def shard_facts(path: Path) -> dict[str, Any]:
    """What tells a shard from another one, from its footer alone: `{"name", "bytes", "records", "sha256"}`.

    Raises:
        ValueError: The file is damaged, or was not written by [`ShardWriter`].
    """
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: expected a whole shard, found a damaged file ({str(error).splitlines()[0]}). Copy it again, or prepare "
            "the data anew."
        ) from error
    sha256 = (footer.metadata or {}).get(HASH_KEY.encode(), b"").decode()
    return {"name": path.name, "bytes": path.stat().st_size, "records": footer.num_rows, "sha256": sha256}


class _HashedFile(io.RawIOBase):
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        if not self.file.closed:
            self.file.flush()

    def close(self) -> None:
        self.file.close()
        super().close()


def stored_image(image: str | dict[str, Any], embed: bool) -> dict[str, Any]:
    """An image as `datasets` stores it: a path, or the file's bytes with its name."""
    if isinstance(image, dict):
        return {"bytes": image["bytes"], "path": image.get("path")}
    return {"bytes": Path(image).read_bytes(), "path": Path(image).name} if embed else {"bytes": None, "path": image}
