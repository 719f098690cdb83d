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
"""Sources of records: files and data sets of the Hub, and which language a record of theirs is in."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..language_id import detect_language
from ..languages import get_language
from ..record_files import Record, RecordReader, open_records
from .config import DETECT, SourceConfig
from .images import ImageRoot
from .records import texts_of


DETECTED_CHARACTERS = 400


class HubRecords:
    """The records of a data set, streamed; how long it is is not known beforehand."""

    size = position = record_size = 0

    def __init__(self, config: SourceConfig) -> None:
        from datasets import load_dataset

        # Undecoded images are the bytes or paths that the data set holds.
        self.dataset = load_dataset(
            config.dataset, config.subset, split=config.split, revision=config.revision, streaming=True
        ).decode(False)

    def records(self) -> Iterator[Record]:
        for record in self.dataset:
            self.record_size = size_of(record)
            yield record


def size_of(value: Any) -> int:
    """About how much memory the texts and pictures of a value take, in characters and bytes."""
    size, waiting = 0, [value]
    while waiting:
        match waiting.pop():
            case str() | bytes() as text:
                size += len(text)
            case dict() as fields:
                waiting += fields.values()
            case list() as items:
                waiting += items
    return size


def open_source(config: SourceConfig) -> RecordReader | HubRecords:
    """The records of a source, not yet read.

    Raises:
        OSError: There is no such file or data set.
        ValueError: The file is not of a known format.
    """
    return open_records(config.path) if config.path is not None else HubRecords(config)


def image_root(config: SourceConfig) -> ImageRoot | None:
    """What a source's image paths are relative to; a data set of the Hub has no folder of its own."""
    folder = config.image_root if config.image_root is not None or config.path is None else Path(config.path).parent
    return None if folder is None else ImageRoot(os.path.abspath(folder), tuple(config.linked_roots))


def language_of(record: dict[str, Any], config: SourceConfig) -> str | None:
    """The code of a record's language, from its field, its source, or its text; `None` if it is none of the ten.

    Raises:
        ImportError: Detection needs lingua, which is not installed.
    """
    stated = record.get(config.language_field) if config.language_field else None
    if stated is not None:
        try:
            return get_language(stated).code if isinstance(stated, str) else None
        except ValueError:
            return None
    if config.language != DETECT:
        return config.language
    language = detect_language("\n".join(texts_of(record))[:DETECTED_CHARACTERS])
    return language.code if language else None
