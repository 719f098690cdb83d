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
"""What can be wrong with a checkpoint's files, said in one line; and the tower of a checkpoint that lacks its own."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.utils import ADAPTER_CONFIG_NAME, cached_file

from .configuration_palo import ReleasedLayout


# What the original's training leaves: of stage 1, and of LoRA beside the adapter.
PROJECTOR_FILE = "mm_projector.bin"
NON_LORA_FILE = "non_lora_trainables.bin"
_CONFIGS = ("config.json", "adapter_config.json")


def share_weights(folder: str | os.PathLike[str]) -> None:
    """Give weight files the permissions of the configuration beside them.

    safetensors 0.8 writes files that nobody but their owner may read, whatever the umask says: on a machine that a group
    shares, nobody else could load the model.
    """
    for weights in Path(folder).glob("*.safetensors"):
        config = next((path for name in _CONFIGS if (path := weights.with_name(name)).is_file()), None)
        if config is not None:
            weights.chmod(config.stat().st_mode)


def describe_unreadable(checkpoint_files: Iterable[str] | None) -> str | None:
    """The first of the files that does not hold what its name says, and what to do about it; `None` if all do."""
    for path in checkpoint_files or ():
        if not os.path.isfile(path):
            return f"{path}: expected a weight file, found nothing. Download the checkpoint again; a shard is missing."
        try:
            if path.endswith(".safetensors"):
                with safe_open(path, framework="pt"):
                    pass
            else:
                content = torch.load(path, map_location="meta", weights_only=True, mmap=None)
                if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
                    return f"{path}: expected a state dict of tensors, found {type(content).__name__}."
        except Exception as error:
            return _explain(path, error)
    return None


def _explain(path: str, error: Exception) -> str:
    size = os.path.getsize(path)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, SafetensorError):
        return (
            f"{path} ({size:,} bytes): expected a whole safetensors file, found a truncated or damaged one ({reason}). "
            "Download it again."
        )
    if "weights_only" in str(error) or "Unsupported" in str(error) or "GLOBAL" in str(error):
        return (
            f"{path}: expected tensors, found pickled Python code, which is refused because loading it would run it. "
            "Get the checkpoint from its publisher, as safetensors if there is a choice."
        )
    return (
        f"{path} ({size:,} bytes): expected a whole PyTorch weight file, found a truncated or damaged one ({reason}). "
        "Download it again."
    )


def explain_partial(name: str | os.PathLike[str], hub_kwargs: dict[str, Any]) -> str | None:
    """What to do with a folder or Hub id that holds only what the original's training added to a language model.

    `None` if it holds neither a LoRA nor a projector by itself.
    """
    kinds = {NON_LORA_FILE: "a LoRA", PROJECTOR_FILE: "the projector of a first stage"}
    for file, kind in kinds.items():
        try:
            if cached_file(name, file, _raise_exceptions_for_missing_entries=False, **hub_kwargs) is None:
                continue
            adapter = cached_file(name, ADAPTER_CONFIG_NAME, _raise_exceptions_for_missing_entries=False, **hub_kwargs)
        except (OSError, ValueError):
            return None
        return (
            f"{name} holds {kind} and no language model. Make a whole model of it: palo convert {name} NEW_FOLDER "
            f"--base-model {_stated_base(adapter) or 'LANGUAGE_MODEL'} (the language model that it was trained on)"
        )
    return None


def _stated_base(adapter_config: str | None) -> str | None:
    if adapter_config is None:
        return None
    try:
        with open(adapter_config, encoding="utf-8") as reader:
            return json.load(reader).get("base_model_name_or_path")
    except (ValueError, AttributeError):
        return None


def explain_incomplete(model: PreTrainedModel, folder: str, loading_info: Any) -> str | None:
    """What a released checkpoint lacks, has too much of, or has in another shape; `None` if it fits exactly."""
    tied = set(model.all_tied_weights_keys)
    problems = []
    if missing := sorted(set(loading_info.missing_keys) - tied):
        problems.append(f"lacks {_some(missing)}")
    if unexpected := sorted(loading_info.unexpected_keys):
        problems.append(f"has {_some(unexpected)}, which belong nowhere in this model")
    if mismatched := sorted(loading_info.mismatched_keys):
        name, found, expected = mismatched[0]
        problems.append(f"has {name} of shape {tuple(found)}, expected {tuple(expected)}")
    if not problems:
        return None
    return f"{folder} does not fit its config.json: it {'; it '.join(problems)}."


def _some(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more weights"


def load_tower_state_dict(
    tower_class: type[PreTrainedModel], released: ReleasedLayout, prefix: str
) -> dict[str, torch.Tensor]:
    """The weights of the tower that a released checkpoint names, under `prefix`.

    `tower_class` loads the vision half alone, also from a checkpoint of a whole CLIP.

    Raises:
        OSError: They cannot be had.
    """
    try:
        tower, info = tower_class.from_pretrained(released.vision_tower, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise OSError(
            f"{released.folder} holds no vision tower; its weights are those of {released.vision_tower!r}, which could "
            f"not be loaded ({str(error).strip().splitlines()[0]}). Put that model beside the checkpoint, or go online."
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise ValueError(
            f"{released.vision_tower}: expected a whole vision tower, found no {_some(missing)}. They would be random: get the "
            "tower again."
        )
    return {f"{prefix}{name}": tensor for name, tensor in tower.state_dict().items()}
