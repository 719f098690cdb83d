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
"""Reading every kind of released folder, weight by weight: whole checkpoints, LoRA outputs, stage-1 projectors.

A [`WeightSource`] yields native names and tensors in the order of the files, so that nothing has to be in memory twice.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from transformers import AutoModel
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from .checkpoint_palo import describe_unreadable, load_tower_state_dict
from .configuration_palo import PaloConfig, is_released_layout
from .key_map_palo import native_name


PROJECTOR_FILE = "mm_projector.bin"
LORA_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
NON_LORA_FILE = "non_lora_trainables.bin"
# PEFT wraps the model in two objects, and its names say so.
PEFT_PREFIX = "base_model.model."

Weights = Iterator[tuple[str, torch.Tensor]]


@dataclass
class WeightSource:
    """A checkpoint to convert.

    Attributes:
        folder: Where it is.
        kind: `"native"`, `"released"`, `"stage1"` or `"lora"`.
        config: What the whole model is.
        language_model: The folder of the language model's weights: `folder`, or that of the base model.
        adapter: The LoRA to merge, if there is one.
    """

    folder: Path
    kind: str
    config: PaloConfig
    language_model: Path
    adapter: "LoraAdapter | None" = None
    replaced: dict[str, torch.Tensor] = field(default_factory=dict)

    def weights(self, merge: bool = True) -> Weights:
        """Native names and tensors. The tower comes from where the configuration says, if the files hold none."""
        tower_seen = False
        replaced = dict(self.replaced)
        for name, tensor in read_weights(self.language_model):
            native = name if self.kind == "native" else native_name(name)
            if native is None:
                continue
            tower_seen |= native.startswith("model.vision_tower.")
            if native in replaced:
                tensor = replaced.pop(native)
            if merge and self.adapter is not None:
                tensor = self.adapter.merged_into(native, tensor)
            yield native, tensor
        yield from replaced.items()
        if not tower_seen:
            yield from self._tower()
        if merge and self.adapter is not None:
            self.adapter.check_all_merged()

    def _tower(self) -> Weights:
        released = self.config._released
        if released is None:
            raise ValueError(f"{self.folder} holds no vision tower, and does not say where one is.")
        tower_class = type(AutoModel.from_config(self.config.vision_config))
        yield from load_tower_state_dict(tower_class, released, "model.vision_tower.").items()


class LoraAdapter:
    """The low-rank updates of a LoRA run of the original, by native name of the weight that they update.

    Args:
        folder: Holds `adapter_config.json` and the adapter's weights.

    Raises:
        ValueError: The adapter is of a kind that cannot be merged exactly.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json(folder / ADAPTER_CONFIG_NAME)
        unsupported = [
            key
            for key in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")
            if self.config.get(key)
        ]
        if self.config.get("peft_type") != "LORA" or unsupported:
            raise ValueError(
                f"{folder}: expected a plain LoRA adapter as PALO's training writes it, found "
                f"{self.config.get('peft_type')} with {', '.join(unsupported) or 'no special settings'}."
            )
        rank = self.config["r"]
        self.scaling = self.config["lora_alpha"] / (rank**0.5 if self.config.get("use_rslora") else rank)
        path = next((folder / name for name in LORA_WEIGHTS if (folder / name).is_file()), None)
        if path is None:
            raise ValueError(
                f"{folder}: expected {' or '.join(LORA_WEIGHTS)} beside {ADAPTER_CONFIG_NAME}, found neither."
            )
        self.updates: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in read_file(path):
            name, matrix = _lora_target(key)
            if name is None:
                raise ValueError(
                    f"{path}: {key} is no LoRA weight of a linear layer; it is not dropped, so this stops here."
                )
            self.updates.setdefault(name, {})[matrix] = tensor
        self._merged: set[str] = set()

    def merged_into(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """`weight` with its update added, computed in float32; unchanged if the adapter has none for it."""
        update = self.updates.get(name)
        if update is None:
            return weight
        self._merged.add(name)
        delta = (update["B"].float() @ update["A"].float()) * self.scaling
        if delta.shape != weight.shape:
            raise ValueError(
                f"{self.folder}: the update of {name} has shape {tuple(delta.shape)}, the base model's weight "
                f"{tuple(weight.shape)}: this adapter belongs to another base model."
            )
        return (weight.float() + delta).to(weight.dtype)

    def check_all_merged(self) -> None:
        """Every update has found its weight.

        Raises:
            ValueError: Some did not; the base model is another one.
        """
        if homeless := sorted(set(self.updates) - self._merged):
            raise ValueError(
                f"{self.folder}: {len(homeless)} adapter weights have no home in the base model, {homeless[0]} for one. "
                "Nothing is dropped: check --base-model."
            )


def _lora_target(key: str) -> tuple[str | None, str]:
    """`base_model.model.<released module>.lora_A.weight` -> (native weight, `"A"`)."""
    for matrix in ("A", "B"):
        for ending in (f".lora_{matrix}.weight", f".lora_{matrix}.default.weight"):
            if key.startswith(PEFT_PREFIX) and key.endswith(ending):
                module = key.removeprefix(PEFT_PREFIX).removesuffix(ending)
                return native_name(f"{module}.weight"), matrix
    return None, ""


def open_source(source: str, base_model: str | None = None) -> WeightSource:
    """Find out what a folder or Hub id holds.

    Args:
        source: A folder in the native or the released layout, a LoRA or a stage-1 output; or the Hub id of one.
        base_model: The language model that a LoRA or stage-1 output was trained on.

    Raises:
        ValueError: It is none of these, or the base model is missing.
    """
    folder = local_folder(source)
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"{source}: expected a checkpoint's folder, found no {CONFIG_NAME} in it.")
    stated = read_json(folder / CONFIG_NAME)
    config = PaloConfig.from_pretrained(folder)
    partial = (
        (folder / ADAPTER_CONFIG_NAME).is_file(),
        (folder / PROJECTOR_FILE).is_file() and not weight_files(folder),
    )
    if not is_released_layout(stated):
        return WeightSource(folder, "native", config, folder)
    if not any(partial):
        return WeightSource(folder, "released", config, folder)

    kind, trained_file = ("lora", NON_LORA_FILE) if partial[0] else ("stage1", PROJECTOR_FILE)
    if base_model is None:
        base = read_json(folder / ADAPTER_CONFIG_NAME).get("base_model_name_or_path") if partial[0] else None
        hint = f" (its adapter_config.json names {base!r})" if base else ""
        raise ValueError(f"{source} holds no language model: say which one it was trained on with --base-model{hint}.")
    if not (folder / trained_file).is_file():
        raise ValueError(f"{source}: expected the trained projector in {trained_file}, found no such file.")
    trained: dict[str, torch.Tensor] = {}
    for name, tensor in read_file(folder / trained_file):
        native = native_name(name.removeprefix(PEFT_PREFIX))
        if native is not None:
            trained[native] = tensor
    adapter = LoraAdapter(folder) if kind == "lora" else None
    return WeightSource(folder, kind, config, local_folder(base_model), adapter, trained)


def local_folder(name: str) -> Path:
    """The folder itself, or the downloaded files of a Hub id: configuration, tokenizer and one form of the weights."""
    path = Path(name)
    if path.is_dir():
        return path
    try:
        small = Path(
            snapshot_download(name, ignore_patterns=["*.bin", "*.safetensors", "*.msgpack", "*.h5", "*.gguf"])
        )
        weights = ["*.safetensors"] if (small / SAFE_WEIGHTS_INDEX_NAME).is_file() else ["*.safetensors", "*.bin"]
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.model", "*.jinja", *weights]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            f"{name}: expected a folder or a Hub id, found no such folder, and on the Hub: {reason}"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """A checkpoint's weight files, safetensors if there is a choice; in the order of their names."""
    for index_name, single in ((SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME), (WEIGHTS_INDEX_NAME, WEIGHTS_NAME)):
        if (folder / index_name).is_file():
            return [folder / name for name in sorted(set(read_json(folder / index_name)["weight_map"].values()))]
        if (folder / single).is_file():
            return [folder / single]
    return []


def read_weights(folder: Path) -> Weights:
    """Every tensor of a checkpoint's files, one after the other.

    Raises:
        ValueError: There are no weight files.
        OSError: One of them is not what its name says.
    """
    files = weight_files(folder)
    if not files:
        raise ValueError(
            f"{folder}: expected {SAFE_WEIGHTS_NAME} or {WEIGHTS_NAME}, whole or in shards, found neither."
        )
    for path in files:
        yield from read_file(path)


def read_file(path: Path) -> Weights:
    """The tensors of one file, without having them all in memory where the file allows that."""
    if not path.is_file():
        raise OSError(describe_unreadable([str(path)]))
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as content:
                for name in content.keys():  # noqa: SIM118 - not a mapping
                    yield name, content.get_tensor(name)
            return
        state = _load_bin(path)
    except Exception as error:
        if (problem := describe_unreadable([str(path)])) is not None:
            raise OSError(problem) from error
        raise
    while state:
        # Taken out one by one: what was handed on can be freed.
        name = next(iter(state))
        yield name, state.pop(name)


def _load_bin(path: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        # Files of PyTorch before 1.6 are no zip archives, and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True)


def read_json(path: str | os.PathLike[str]) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
