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

from .checkpoint_palo import NON_LORA_FILE, PROJECTOR_FILE, describe_unreadable, load_tower_state_dict
from .configuration_palo import PaloConfig, is_released_layout, json_object
from .key_map_palo import native_name
from .processing_palo import PaloProcessor
from .tokenization_palo import PaloTokenizer, check_has_tokenizer


LORA_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
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
        replaced: Trained weights that take the place of those in the files, by native name.
        vocabulary: Rows of the embeddings in the files.
    """

    folder: Path
    kind: str
    config: PaloConfig
    language_model: Path
    adapter: "LoraAdapter | None" = None
    replaced: dict[str, torch.Tensor] = field(default_factory=dict)
    vocabulary: int = field(init=False)

    def __post_init__(self) -> None:
        # A conversion that adds rows changes the configuration.
        self.vocabulary = self.config.text_config.vocab_size

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

    def processor(self) -> PaloProcessor:
        """The source's processor; a LoRA or stage-1 output has the tokenizer of its base model."""
        if self.kind in ("native", "released"):
            return PaloProcessor.from_pretrained(self.folder)
        check_has_tokenizer(self.language_model)
        return PaloProcessor.from_released(self.config, PaloTokenizer.from_pretrained(self.language_model))

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
        ValueError: The adapter is not whole, or of a kind that cannot be merged exactly.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json(folder / ADAPTER_CONFIG_NAME)
        self.rank, self.scaling = _rank_and_scaling(self.config, folder / ADAPTER_CONFIG_NAME)
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
            check_finite(tensor, key, path)
            self.updates.setdefault(name, {})[matrix] = tensor
        self._check_whole(path)

    def _check_whole(self, path: Path) -> None:
        if not self.updates:
            raise ValueError(f"{path}: expected LoRA weights, found none.")
        for name, update in self.updates.items():
            if missing := {"A", "B"} - set(update):
                raise ValueError(
                    f"{path}: expected lora_A and lora_B for every weight, found no lora_{missing.pop()} for {name}: the "
                    "adapter is not whole. Get it again."
                )
            if tuple(update["A"].shape[:1] + update["B"].shape[1:]) != (self.rank, self.rank):
                raise ValueError(
                    f"{path}: expected updates of rank {self.rank} (r in {ADAPTER_CONFIG_NAME}), found lora_A of shape "
                    f"{tuple(update['A'].shape)} and lora_B of shape {tuple(update['B'].shape)} for {name}."
                )

    def merged_into(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """`weight` with its update added, computed in float32; unchanged if the adapter has none for it."""
        update = self.updates.get(name)
        if update is None:
            return weight
        delta = (update["B"].float() @ update["A"].float()) * self.scaling
        merged = (weight.float() + delta).to(weight.dtype)
        check_finite(merged, f"{name} as merged ({str(weight.dtype).removeprefix('torch.')})", self.folder)
        return merged

    def check_fits(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Every update has a weight of its shape among `shapes`, those of the model.

        Raises:
            ValueError: Some have none; the base model is another one.
        """
        if homeless := sorted(set(self.updates) - set(shapes)):
            raise ValueError(
                f"{self.folder}: {len(homeless)} adapter weights have no home in the base model, {homeless[0]} for one. "
                "Nothing is dropped: check --base-model."
            )
        for name, update in self.updates.items():
            shape = (update["B"].shape[0], update["A"].shape[1])
            if shape != shapes[name]:
                raise ValueError(
                    f"{self.folder}: the update of {name} has shape {shape}, the base model's weight {shapes[name]}: this "
                    "adapter belongs to another base model."
                )


def check_finite(tensor: torch.Tensor, name: str, where: Path) -> None:
    """
    Raises:
        ValueError: The tensor holds NaN or infinity.
    """
    if not torch.isfinite(tensor).all():
        raise ValueError(
            f"{where}: expected finite numbers, found NaN or infinity in {name}: the run that made it diverged, or the "
            "file is damaged. Take an earlier checkpoint, or get it again."
        )


def _rank_and_scaling(config: Any, path: Path) -> tuple[int, float]:
    """`r`, and what the product of the two matrices is multiplied by."""
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        found = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"{path}: expected a plain LoRA adapter as PALO's training writes it, found {found!r}.")
    settings = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")
    if unsupported := [key for key in settings if config.get(key)]:
        raise ValueError(
            f"{path}: expected a plain LoRA adapter as PALO's training writes it, found one with "
            f"{', '.join(unsupported)}."
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise ValueError(
            f"{path}: expected r, a whole number from 1, and lora_alpha, a number; found r {rank!r} and lora_alpha "
            f"{alpha!r}. Without them the adapter cannot be merged: get the file again."
        )
    return rank, alpha / (rank**0.5 if config.get("use_rslora") else rank)


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
    stated = read_json_object(folder / CONFIG_NAME)
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
            check_finite(tensor, name, folder / trained_file)
            trained[native] = tensor
    adapter = LoraAdapter(folder) if kind == "lora" else None
    language_model = local_folder(base_model)
    if not weight_files(language_model):
        raise ValueError(
            f"--base-model {base_model}: expected a whole language model, found no weights of one. Name the model that "
            f"{source} was trained on."
        )
    return WeightSource(folder, kind, config, language_model, adapter, trained)


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
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise TypeError(f"{path} holds no state dict")
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
    """
    Raises:
        ValueError: The file holds no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found none that can be read ({error}).") from error


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """
    Raises:
        ValueError: The file holds no JSON, or something else than an object.
    """
    return json_object(read_json(path), path)
