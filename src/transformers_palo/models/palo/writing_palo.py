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
"""Writing checkpoint files so that what is there is whole: shards of a limited size, a folder that appears at the end."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tqdm.auto import tqdm
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .checkpoint_palo import share_weights
from .conversion_palo import Weights


logger = logging.getLogger(__name__)

# What is written in another precision than it was read in is in memory until its file is full.
MAX_SHARD_BYTES = 10**9


@contextmanager
def whole_or_nothing(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes `target` at the end, or never does.

    Raises:
        OSError: `target` exists already.
    """
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{target.name}.partial-"
    for left in target.parent.glob(f"{prefix}*"):
        logger.warning(
            "%s is what an interrupted conversion left, or another one at work: remove it if none is.", left
        )
    # Of this run alone: another one may be writing the same target, and a folder with such a name may be the user's.
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    partial.chmod(0o777 & ~_umask())
    try:
        yield partial
        for folder in (partial, *filter(Path.is_dir, partial.rglob("*"))):
            share_weights(folder)
        refuse_existing(target)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def refuse_existing(target: Path) -> None:
    """Raises:
    FileExistsError: `target` exists already.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already: choose another folder, or remove it first.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever stops the writing of `path` (a full disk, a quota) is said in one line.

    Raises:
        OSError: The file could not be written. The libraries that write have errors of their own for that.
    """
    try:
        yield
    except Exception as error:
        # Of safetensors, of PyTorch, and (a bare Exception) of tokenizers.
        if not isinstance(error, (OSError, SafetensorError, RuntimeError)) and type(error) is not Exception:
            raise
        reason = str(error).strip().splitlines()[0]
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            f"{path} could not be written ({reason}; {free:,} bytes were free there). The conversion leaves nothing "
            "behind: make room or choose another place, and run it again."
        ) from error


class ShardWriter:
    """Collects tensors into safetensors files of a limited size, and writes the index at the end."""

    def __init__(self, folder: Path, max_shard_bytes: int, rename_to: Callable[[str], str] = str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.max_shard_bytes = max_shard_bytes
        self.rename_to = rename_to
        self.shard: dict[str, torch.Tensor] = {}
        self.shard_bytes = 0
        self.total_bytes = 0
        self.shards: list[list[str]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        if self.shard and self.shard_bytes + tensor.nbytes > self.max_shard_bytes:
            self._flush()
        self.shard[self.rename_to(name)] = tensor.contiguous()
        self.shard_bytes += tensor.nbytes
        self.total_bytes += tensor.nbytes

    def _flush(self) -> None:
        path = self.folder / f"shard-{len(self.shards)}"
        with writing(path):
            save_file(self.shard, path, metadata={"format": "pt"})
        self.shards.append(list(self.shard))
        self.shard, self.shard_bytes = {}, 0

    def close(self) -> None:
        self._flush()
        if len(self.shards) == 1:
            (self.folder / "shard-0").rename(self.folder / SAFE_WEIGHTS_NAME)
            return
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self.shards):
            file = f"model-{number + 1:05}-of-{len(self.shards):05}.safetensors"
            (self.folder / f"shard-{number}").rename(self.folder / file)
            weight_map |= dict.fromkeys(names, file)
        write_json(
            self.folder / SAFE_WEIGHTS_INDEX_NAME,
            {"metadata": {"total_size": self.total_bytes}, "weight_map": weight_map},
        )


def with_progress(weights: Weights, expected: dict[str, tuple[int, ...]]) -> Weights:
    """Pass weights on, and show how many of the expected parameters came."""
    total = sum(torch.Size(shape).numel() for shape in expected.values())
    with tqdm(total=total, unit=" parameters", unit_scale=True, desc="Converting") as bar:
        for name, tensor in weights:
            yield name, tensor
            bar.update(tensor.numel())


def write_json(path: Path, content: Any) -> None:
    """One key a line, in order, so that the same content gives the same file."""
    with writing(path):
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
