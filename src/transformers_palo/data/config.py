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
"""What `palo data prepare` reads from its YAML file."""

import difflib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError

from ..languages import get_language
from .mixture import MixtureStrategy


DETECT = "detect"

T = TypeVar("T")


@strict
@dataclass
class SourceConfig:
    """One source of records.

    Attributes:
        path: A file: one JSON array, JSON lines or parquet. Either this or `dataset`.
        dataset: A data set id of the Hub, or the folder of one: what `datasets.load_dataset` takes.
        subset: Configuration of the data set.
        split: Split of the data set.
        revision: Commit, tag or branch of the data set.
        name: What the records' `source` says; the file's or data set's name if not given.
        language: Code of the records' language, or `detect`.
        language_field: Field of a record that names its language, by code or name. Where it is absent, `language` holds.
        image_root: The folder that image paths are relative to; that of the file if not given.
        linked_roots: Other folders that links under `image_root` may lead to.
        weight: How often an epoch sees the records of this source (see [`mixture_indices`]).
        limit: The most records to keep: the first ones.
        duplicate_ids: `reject` all but the first record of an id, or `number` them: LLaVA-Instruct calls several
            conversations by the id of their image.
    """

    path: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    name: str = ""
    language: str = DETECT
    language_field: str | None = None
    image_root: str | None = None
    linked_roots: list[str] = field(default_factory=list)
    weight: float | int = 1
    limit: int | None = None
    duplicate_ids: Literal["reject", "number"] = "reject"

    def __post_init__(self) -> None:
        if not self.name:
            self.name = Path(self.path or self.dataset or "").name.split(".")[0]
        if self.language != DETECT:
            self.language = get_language(self.language).code

    def validate_place(self) -> None:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("expected either path (a file) or dataset (a Hub id)")
        for folder in [self.image_root, *self.linked_roots]:
            if folder is not None and not Path(folder).is_dir():
                raise ValueError(f"expected a folder of images, found none at {folder}")

    def validate_amounts(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight has to be 0 or above, found {self.weight}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit has to be 1 or above, found {self.limit}")


@strict
@dataclass
class PreparationConfig:
    """A data set to prepare.

    Attributes:
        output_dir: The folder to write; it must not exist yet.
        sources: Where records come from, in the order in which they are written.
        mixture: Shares of the languages, kept beside the data for training.
        seed: Seed of the mixture, kept beside the data for training.
        tokenizer: Folder or Hub id of a model or tokenizer to count tokens with.
        max_length: Reject records of more tokens, image tokens included. Needs `tokenizer`.
        check_images: `existence`, `header` or `full`: see [`ImageCheck`].
        embed_images: Write the image files' bytes into the data set, not their paths.
        max_reject_share: Fail if more than this share of the records is rejected.
    """

    output_dir: str
    sources: list[SourceConfig]
    mixture: MixtureStrategy = field(default_factory=MixtureStrategy)
    seed: int = 0
    tokenizer: str | None = None
    max_length: int | None = None
    check_images: Literal["existence", "header", "full"] = "header"
    embed_images: bool = False
    max_reject_share: float | int = 0.05

    def validate_sources(self) -> None:
        names = [source.name for source in self.sources]
        if not names:
            raise ValueError("sources is empty: name at least one")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several sources are called {', '.join(repeated)}: give each a name of its own")

    def validate_amounts(self) -> None:
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"max_reject_share has to be from 0 to 1, found {self.max_reject_share}")
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length has to be 1 or above, found {self.max_length}")


def load_config(path: str | Path, **overrides: Any) -> PreparationConfig:
    """Read and check a YAML file; nothing that it names is opened yet.

    Args:
        path: The file. Paths in it are relative to the working directory.
        **overrides: Fields to set instead of the file's.

    Raises:
        OSError: There is no such file.
        ValueError: A field is missing, unknown or of a wrong value; the message names it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a YAML file that names sources and output_dir, found none.")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected fields such as sources and output_dir, found {str(content)[:60]!r}.")
    content |= overrides
    if isinstance(content.get("sources"), list):
        content["sources"] = [
            _build(SourceConfig, source, f"{path}: sources[{number}]")
            for number, source in enumerate(content["sources"])
        ]
    if "mixture" in content:
        content["mixture"] = _build(MixtureStrategy, content["mixture"], f"{path}: mixture")
    return _build(PreparationConfig, content, str(path))


def _build(cls: type[T], values: Any, where: str) -> T:
    names = [item.name for item in fields(cls)]  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected fields ({', '.join(names)}), found {str(values)[:60]!r}.")
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}."
            raise ValueError(f"{where}: unknown field {name!r}: {hint}")
    try:
        return cls(**values)
    except StrictDataclassError as error:
        # The library's first line only names the check that complained.
        raise ValueError(f"{where}: {str(error).splitlines()[-1].strip().split(': ', 1)[-1]}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {str(error).removeprefix(f'{cls.__name__}.__init__() ')}") from error
