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
"""What a recipe will cost, on paper: parameters, steps, mixture, memory, arithmetic. Needs no weights, data or network."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import get_peft_model
from torch import nn

from ..models.palo.configuration_palo import PaloConfig
from ..models.palo.modeling_palo import PaloForConditionalGeneration
from .arguments import ModelArguments, PaloSFTConfig
from .parameters import PROJECTOR, PartSize, check_adapter, freeze, keep_lora_in_language_model, part_of


GIB = 2**30
# NVIDIA's figure for bfloat16 on an A100, and a share of it that training reaches: only for the line on hours.
A100_FLOPS = 312e12
MODEL_FLOPS_UTILISATION = 0.4
# TRL's loss projects this many positions at once.
_LOSS_CHUNK = 1024
# NF4, with its constants.
_BYTES_IN_4_BIT = 0.55
_BYTES_IN_8_BIT = 1
# CUDA context, kernels, fragmentation.
_OVERHEAD = 2 * GIB


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, part by part."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    overhead: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.overhead


def empty_model(config: PaloConfig, peft_config: Any, training: PaloSFTConfig) -> nn.Module:
    """The model as it will be trained, frozen and adapted, without memory for its weights.

    Raises:
        ValueError: The adapter would train the vision tower.
    """
    with torch.device("meta"):
        model: nn.Module = PaloForConditionalGeneration(config)
        freeze(model, training.train_projector, training.train_language_model and peft_config is None)
        if peft_config is not None:
            model = get_peft_model(
                model,
                keep_lora_in_language_model(peft_config, training.train_projector),
                autocast_adapter_dtype=False,
                low_cpu_mem_usage=True,
            )
            check_adapter(model)
    return model


def num_steps(records_per_epoch: int, training: PaloSFTConfig, num_processes: int) -> int:
    """Optimizer steps of the run, as Transformers' Trainer counts them."""
    if training.max_steps > 0:
        return training.max_steps
    per_process = math.ceil(math.ceil(records_per_epoch / training.per_device_train_batch_size) / num_processes)
    per_epoch = max(math.ceil(per_process / training.gradient_accumulation_steps), 1)
    return math.ceil(per_epoch * training.num_train_epochs)


def memory_per_gpu(
    sizes: Iterable[PartSize],
    config: PaloConfig,
    training: PaloSFTConfig,
    model: ModelArguments,
    sharding: str,
    num_processes: int,
    checkpointing: bool,
) -> Memory:
    """An estimate for mixed precision with AdamW; what a run really needs is measured on the GPU.

    What is frozen is held in `model.dtype` (the language model's linear layers in 4 or 8 bit under QLoRA). What is trained is
    held in float32, with a gradient and AdamW's two states; DeepSpeed holds it in `model.dtype` with a float32 copy, 16
    bytes a parameter either way. ZeRO-2 shards gradients and states, ZeRO-3 and FSDP2 the weights too. Activations are
    those of the longest batch.
    """
    width: float = 4 if model.dtype in (None, "auto", "float32") else 2
    quantised = _BYTES_IN_4_BIT if model.load_in_4bit else _BYTES_IN_8_BIT if model.load_in_8bit else width
    frozen = trained = 0.0
    for size in sizes:
        still = size.total - size.trainable
        frozen += still * (quantised if size.part == "language model" else width)
        trained += size.trainable
    by_deepspeed = sharding in ("zero2", "zero3") and width == 2
    per_weight, per_gradient, per_state = (2, 2, 12) if by_deepspeed else (4, 4, 8)
    weights, gradients, states = frozen + trained * per_weight, trained * per_gradient, trained * per_state
    if sharding in ("zero2", "zero3"):
        gradients, states = gradients / num_processes, states / num_processes
    if sharding == "zero3":
        weights /= num_processes
    return Memory(weights, gradients, states, _activations(config, training, checkpointing), _OVERHEAD)


def _activations(config: PaloConfig, training: PaloSFTConfig, checkpointing: bool) -> float:
    """Bytes that the backward pass needs of the forward pass, in bfloat16, without a matrix of attention weights."""
    text = config.text_config
    tokens = training.per_device_train_batch_size * (training.max_length or text.max_position_embeddings)
    # Of one block: two norms, q, k, v, attention's output, the residual stream, and the gated MLP's three products.
    block = tokens * 2 * (8 * text.hidden_size + 4 * text.intermediate_size)
    stream = tokens * 2 * text.hidden_size
    blocks = stream * text.num_hidden_layers + block if checkpointing else block * text.num_hidden_layers
    loss = _LOSS_CHUNK * text.vocab_size * 4 * 2
    return blocks + loss


def training_flops(
    model: nn.Module,
    config: PaloConfig,
    records: float,
    tokens_per_record: float,
    checkpointing: bool,
) -> float:
    """Floating point operations of the run: two for every weight and token, forward; as many again for each of the two
    halves of the backward pass that is needed; and the forward pass once more with checkpointing.

    Every record is taken to have one image. Attention's own products are left out: at these lengths they are a few per
    cent.
    """
    linear: dict[str, list[float]] = {"language_model": [0, 0], PROJECTOR: [0, 0], "vision_tower": [0, 0]}
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or "embed_tokens" in name or ".original_module." in name:
            continue
        counted = linear[part_of(name)]
        counted[0] += parameter.numel()
        counted[1] += parameter.numel() * parameter.requires_grad
    everything, trained = linear["language_model"]
    # Gradients reach through the language model to the projector even where it is frozen itself.
    passes = 2 + 2 + (2 if checkpointing else 0)
    language = tokens_per_record * (passes * everything + 2 * trained)
    patches = config.num_image_features
    tower = patches * 2 * linear["vision_tower"][0]
    projector = patches * 6 * linear[PROJECTOR][0]
    return records * (language + tower + projector)


def mixture_rows(counts: Mapping[str, int], drawn: Mapping[str, int]) -> list[tuple[str, int, int, float]]:
    """`(language, records, records an epoch, share of the epoch)`, the largest first."""
    total = sum(drawn.values()) or 1
    rows = [(code, int(counts.get(code, 0)), int(number), number / total) for code, number in drawn.items()]
    return sorted(rows, key=lambda row: -row[2])


def architecture(model: ModelArguments) -> PaloConfig:
    """The configuration to compute with: the declared size's, or the model's own if it is at hand.

    Raises:
        ValueError: Neither is known.
    """
    if model.model_size is not None:
        return PaloConfig.from_size(model.model_size)
    if model.model_name_or_path is not None:
        return PaloConfig.from_pretrained(model.model_name_or_path, revision=model.model_revision)
    raise ValueError("--dry-run needs to know the architecture: set model_size to 1.7b, 7b or 13b in the recipe.")
