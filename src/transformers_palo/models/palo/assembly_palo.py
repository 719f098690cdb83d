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
"""Putting a new PALO together from a language model and a vision tower: where the paper's first stage begins."""

from pathlib import Path

import torch
from transformers.utils import CONFIG_NAME

from .checkpoint_palo import PROJECTOR_FILE
from .configuration_palo import PaloConfig
from .conversion_palo import WeightSource, local_folder, read_file, read_json
from .export_palo import write_checkpoint
from .key_map_palo import native_name
from .projectors_palo import build_projector
from .writing_palo import MAX_SHARD_BYTES


# Our name -> that of the original's configuration.
PROJECTORS = {"mlp": "mlp2x_gelu", "ldp": "ldpnet"}


def assemble_checkpoint(
    language_model: str,
    vision_tower: str,
    target: str | Path,
    *,
    projector_type: str = "mlp",
    projector: str | Path | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Put a PALO together from a language model and a vision tower.

    The paper's models are Vicuna 1.5 or MobileLLaMA around CLIP ViT-L/14 at 336 pixels.

    Args:
        language_model: Folder or Hub id of a Llama.
        vision_tower: Folder or Hub id of a CLIP vision model, or of a whole CLIP.
        target: The folder to write, in the native layout; it must not exist yet.
        projector_type: `"mlp"` (two layers, PALO-7B and 13B) or `"ldp"` (MobilePALO).
        projector: The `mm_projector.bin` of a first stage (LLaVA's or the original's). `None`: it has learnt nothing yet.
        seed: Of a new projector's weights, drawn as the original draws them (PyTorch's own initialisation).
        dtype: Precision to write; `None` keeps that of every weight.
        max_shard_bytes: The most bytes of one weight file.

    Returns:
        The folder.

    Raises:
        ValueError: One of the parts is not what was expected.
        OSError: A file is not what its name says, or the target exists.
    """
    if projector_type not in PROJECTORS:
        raise ValueError(f"projector_type: expected {' or '.join(PROJECTORS)}, found {projector_type!r}.")
    folder = local_folder(language_model)
    stated = read_json(folder / CONFIG_NAME)
    if stated.get("model_type") != "llama":
        raise ValueError(
            f"{language_model}: expected a Llama (Vicuna, MobileLLaMA) to build PALO around, found "
            f"model_type {stated.get('model_type')!r}."
        )
    released = {
        **stated,
        "model_type": "palo",
        "mm_projector_type": PROJECTORS[projector_type],
        "mm_vision_tower": vision_tower,
    }
    config = PaloConfig.from_dict(released, name_or_path=str(folder))
    weights = _new_projector(config, seed) if projector is None else _read_projector(Path(projector))
    opened = WeightSource(folder, "stage1", config, folder, replaced=weights)
    return write_checkpoint(opened, target, dtype=dtype, max_shard_bytes=max_shard_bytes)


def _new_projector(config: PaloConfig, seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projector = build_projector(config)
    return {f"model.multi_modal_projector.{name}": tensor for name, tensor in projector.state_dict().items()}


def _read_projector(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the {PROJECTOR_FILE} of a first stage, found no such file.")
    native = {native_name(name): tensor for name, tensor in read_file(path)}
    foreign = [name for name in native if not (name or "").startswith("model.multi_modal_projector.")]
    if foreign:
        raise ValueError(f"{path}: expected weights of a projector alone, found {foreign[0]} among them.")
    return {str(name): tensor for name, tensor in native.items()}
