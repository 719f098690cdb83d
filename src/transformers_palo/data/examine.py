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
"""Batches of records examined one check after the other: conversion, images, length."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from ..record_files import Record, UnreadableRecord
from .config import PreparationConfig, SourceConfig
from .images import ImageCheck, check_image
from .records import Converted, Rejected, RejectReason, Repair, convert_record, record_id, shown
from .report import UNDETERMINED
from .sources import image_root, language_of
from .state import State
from .tokens import TokenCounter


@dataclass
class Outcome:
    """A record, and what becomes of it.

    Attributes:
        record: As the source has it; of one that cannot be read, its first characters.
        id: Its id, or one made of its number.
        language: Its language's code, or `und`.
        result: The example so far, or why there is none.
    """

    record: Record | str
    id: str
    language: str
    result: Converted | Rejected

    @property
    def example(self) -> dict[str, Any] | None:
        return self.result.example if isinstance(self.result, Converted) else None

    def reject(self, reason: RejectReason, detail: str) -> None:
        self.result = Rejected(reason, detail)


class Examiner:
    """Examines the records of all sources of a configuration.

    Args:
        config: The configuration.
        state: Remembers the images that were looked at.
        threads: Look at images.
    """

    def __init__(self, config: PreparationConfig, state: State, threads: Executor) -> None:
        self.state = state
        self.threads = threads
        self.image_check = ImageCheck(config.check_images)
        self.max_length = config.max_length
        self.counter = TokenCounter.from_pretrained(config.tokenizer) if config.tokenizer else None
        self.sources = config.sources
        self.roots = [image_root(source) for source in config.sources]

    def examine(self, records: list[Record | UnreadableRecord], source: int, first: int) -> list[Outcome]:
        """What becomes of these records, duplicates aside.

        Args:
            records: Of one source.
            source: Its number.
            first: The number of the first record within the source.
        """
        outcomes = [self._convert(record, self.sources[source], first + row) for row, record in enumerate(records)]
        self._check_images(outcomes, source)
        self._count_tokens(outcomes)
        return outcomes

    def _convert(self, record: Record | UnreadableRecord, source: SourceConfig, number: int) -> Outcome:
        if isinstance(record, UnreadableRecord):
            rejected = Rejected(RejectReason.UNREADABLE, record.fault)
            return Outcome(record.start, f"{source.name}-{number}", UNDETERMINED, rejected)
        language = language_of(record, source)
        own_id = record_id(record)
        id = own_id or f"{source.name}-{number}"
        result = convert_record(record, source=source.name, language=language or UNDETERMINED, id=id)
        outcome = Outcome(record, id, language or UNDETERMINED, result)
        if isinstance(result, Converted):
            if language is None:
                stated = record.get(source.language_field) if source.language_field else None
                found = "none is detected" if stated is None else f"found {shown(stated)}"
                outcome.reject(RejectReason.LANGUAGE_UNKNOWN, f"expected one of the ten languages, {found}")
            elif own_id is None:
                result.repairs.append(Repair.ID_NUMBERED)
        return outcome

    def _check_images(self, outcomes: list[Outcome], source: int) -> None:
        for outcome in outcomes:
            self._find_images(outcome, source)
        examples = [outcome.example for outcome in outcomes if outcome.example is not None]
        paths = {image for example in examples for image in example["images"] if isinstance(image, str)}
        faults = self._image_faults(sorted(paths), source)
        for outcome in outcomes:
            for image in outcome.example["images"] if outcome.example else []:
                if isinstance(image, str):
                    fault = faults[image]
                else:
                    fault = check_image(image["bytes"], None, self.image_check) or ""
                if fault:
                    outcome.reject(RejectReason(fault), image if isinstance(image, str) else "bytes in the record")
                    break

    def _find_images(self, outcome: Outcome, source: int) -> None:
        """Absolute paths in place of the record's; what has the bytes needs no path."""
        root = self.roots[source]
        if outcome.example is None:
            return
        found: list[str | dict[str, Any]] = []
        for image in outcome.example["images"]:
            if isinstance(image, dict):
                found.append(image)
                continue
            if root is None:
                raise ValueError(
                    f"{self.sources[source].name}: its images are paths ({shown(image)}), expected image_root, the "
                    "folder that they are relative to."
                )
            path = root.path_of(image)
            if path is None:
                outcome.reject(RejectReason.IMAGE_OUTSIDE_ROOT, image)
                return
            found.append(path)
        outcome.example["images"] = found

    def _image_faults(self, paths: list[str], source: int) -> dict[str, str]:
        """Path -> what is wrong with it, or an empty text; each file is looked at once in the whole run."""
        root = self.roots[source]
        # Sources with the same root share what is known of its images.
        number = self.roots.index(root)
        faults = self.state.image_faults(number, paths)
        unknown = [path for path in paths if path not in faults]
        checked = self.threads.map(lambda path: check_image(path, root, self.image_check) or "", unknown)
        new = {path: str(fault) for path, fault in zip(unknown, checked, strict=True)}
        self.state.add_image_faults(number, new)
        return faults | new

    def _count_tokens(self, outcomes: list[Outcome]) -> None:
        if self.counter is None:
            return
        alive = [(outcome, outcome.example) for outcome in outcomes if outcome.example is not None]
        counts = self.counter.count([example["messages"] for _, example in alive])
        for (outcome, example), count in zip(alive, counts, strict=True):
            example["num_tokens"] = count
            if self.max_length is not None and count > self.max_length:
                outcome.reject(RejectReason.TOO_LONG, f"{count} tokens, expected {self.max_length} at most")
