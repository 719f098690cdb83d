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
"""What is trained: freezing, LoRA on the language model alone, optimizer groups, and a count of it all."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig
from torch import nn


# Names of linear layers like q_proj also end names of CLIP's; the whole path tells them apart.
LANGUAGE_MODEL_LINEARS = r"(.*\.)?language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
VISION_MODULES = r"(.*\.)?(vision_tower|multi_modal_projector)\..*"
PROJECTOR = "multi_modal_projector"

PARTS = {"vision_tower": "vision tower", PROJECTOR: "projector", "language_model": "language model"}


def language_model_lora(
    r: int = 128, lora_alpha: int = 256, train_projector: bool = True, **kwargs: Any
) -> LoraConfig:
    """A LoRA on every linear layer of the language model's blocks, with the projector beside it trained in full.

    Rank and alpha are those of the original's released script; the paper's text says alpha 128. The script's dropout of
    0.05, which the recipes have, is `lora_dropout`.

    Args:
        r: Rank.
        lora_alpha: Scale times the rank.
        train_projector: Train the projector and save it with the adapter.
        kwargs: Other fields of [`peft.LoraConfig`].
    """
    kwargs.setdefault("target_modules", LANGUAGE_MODEL_LINEARS)
    saved = {*(kwargs.pop("modules_to_save", None) or ()), *([PROJECTOR] if train_projector else ())}
    kwargs["modules_to_save"] = sorted(saved) or None
    kwargs.setdefault("task_type", "CAUSAL_LM")
    return LoraConfig(r=r, lora_alpha=lora_alpha, **kwargs)


def keep_lora_in_language_model(config: Any, train_projector: bool) -> Any:
    """Make a user's own LoRA keep to the language model, whatever suffixes it names.

    Raises:
        ValueError: Its regular expression reaches into the vision tower, or it excludes by a list of its own.
    """
    if not isinstance(config, LoraConfig):
        return config
    if config.target_modules is None or config.target_modules == "all-linear":
        config.target_modules = LANGUAGE_MODEL_LINEARS
    elif config.exclude_modules is None:
        config.exclude_modules = VISION_MODULES
    saved = set(config.modules_to_save or ())
    if train_projector and PROJECTOR not in saved:
        config.modules_to_save = sorted({*saved, PROJECTOR})
    return config


def check_adapter(model: nn.Module) -> None:
    """Make sure that an adapted model leaves the vision tower as it is.

    Raises:
        ValueError: Parameters of the tower would be trained.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad and "vision_tower" in name.split(".")]
    if names:
        raise ValueError(
            f"The adapter trains {len(names)} parameters of the vision tower, such as {names[0]}: PALO's tower stays as it is. "
            "Make the adapter with transformers_palo.training.language_model_lora."
        )


def freeze(model: nn.Module, train_projector: bool, train_language_model: bool) -> None:
    """Set what learns. The vision tower never does."""
    for name, parameter in model.named_parameters():
        part = part_of(name)
        if part == "vision_tower":
            parameter.requires_grad_(False)
        elif not parameter.is_floating_point():
            continue  # quantised: PEFT trains beside it
        elif part == PROJECTOR:
            parameter.requires_grad_(train_projector)
        else:
            parameter.requires_grad_(train_language_model)


def part_of(name: str) -> str:
    """`vision_tower`, `multi_modal_projector` or `language_model` (its head included), by a parameter's name."""
    names = name.split(".")
    return next((part for part in ("vision_tower", PROJECTOR) if part in names), "language_model")


def decay_parameter_names(model: nn.Module) -> list[str]:
    """Parameters with weight decay, as in the original: all but biases and those of `nn.LayerNorm`.

    Llama's RMSNorm is no `nn.LayerNorm`, so its weights do decay; later versions of Transformers leave them out.
    """
    return [
        f"{module_name}.{name}" if module_name else name
        for module_name, module in model.named_modules()
        if not isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
        if "bias" not in name
    ]


def split_off_projector(
    groups: Iterable[dict[str, Any]], projector: Iterable[nn.Parameter], learning_rate: float
) -> list[dict[str, Any]]:
    """{decay, no decay} -> {rest, projector} x {decay, no decay}, the projector's groups with their own rate."""
    own = {id(parameter) for parameter in projector}
    groups = list(groups)
    rest = [{**group, "params": [p for p in group["params"] if id(p) not in own]} for group in groups]
    projected = [
        {**group, "lr": learning_rate, "params": [p for p in group["params"] if id(p) in own]} for group in groups
    ]
    return rest + projected


@dataclass(frozen=True)
class PartSize:
    """Parameters of one part of the model."""

    part: str
    total: int
    trainable: int


def count_parameters(model: nn.Module) -> list[PartSize]:
    """Sizes by part; adapters belong to the part that they adapt. The copy that PEFT keeps of a module that it trains in
    full is not counted."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, parameter in model.named_parameters():
        if ".original_module." in name:
            continue
        sizes = totals[part_of(name)]
        # Under ZeRO-3 a process holds none of a parameter until it is used.
        size = getattr(parameter, "ds_numel", None) or parameter.numel()
        sizes[0] += size
        sizes[1] += size * parameter.requires_grad
    return [PartSize(label, *totals[part]) for part, label in PARTS.items()]
