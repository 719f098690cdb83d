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
"""A recipe on paper: what `palo train --dry-run` shows."""

from dataclasses import dataclass
from pathlib import Path

from ..data.mixture import expected_mixture
from .arguments import DataArguments
from .dataset import load_training_data, mixture_strategy
from .estimate import (
    A100_FLOPS,
    GIB,
    MODEL_FLOPS_UTILISATION,
    Memory,
    architecture,
    empty_model,
    memory_per_gpu,
    mixture_rows,
    num_steps,
    training_flops,
)
from .parameters import PartSize, count_parameters
from .recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to.

    Attributes:
        recipe: It.
        sizes: Parameters by part.
        declared: Whether the records were counted (`False`) or are the recipe's word for it.
        mixture: `(language, records, records an epoch, share)`.
        steps: Optimizer steps.
        memory: On one GPU.
        flops: Of the whole run; `None` if the length of records is not declared.
    """

    recipe: Recipe
    sizes: list[PartSize]
    declared: bool
    mixture: list[tuple[str, int, int, float]]
    steps: int
    memory: Memory
    flops: float | None


def plan(recipe: Recipe) -> Plan:
    """Work a recipe out. Neither weights nor network are needed, nor the data, if the recipe declares its records.

    Raises:
        ValueError: The architecture or the number of records is not known, or nothing would be trained.
    """
    training, data = recipe.training, recipe.data
    config = architecture(recipe.model)
    model = empty_model(config, recipe.peft_config, training)
    sizes = count_parameters(model)
    if not any(size.trainable for size in sizes):
        raise ValueError(
            "Nothing would be trained: every parameter is frozen. Set train_projector, train_language_model or use_peft."
        )
    counts, drawn, declared = _records(data)
    steps = num_steps(sum(drawn.values()), training, data.declared_num_gpus)
    memory = memory_per_gpu(
        sizes, config, training, recipe.model, data.declared_sharding, data.declared_num_gpus, recipe.checkpointing
    )
    flops = None
    if data.declared_tokens_per_record:
        batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * data.declared_num_gpus
        flops = training_flops(
            model, config, steps * batch, data.declared_tokens_per_record, checkpointing=recipe.checkpointing
        )
    return Plan(recipe, sizes, declared, mixture_rows(counts, drawn), steps, memory, flops)


def _records(data: DataArguments) -> tuple[dict[str, int], dict[str, int], bool]:
    if data.dataset is not None and Path(data.dataset).is_dir():
        loaded = load_training_data(data)
        return loaded.counts, loaded.drawn, False
    if isinstance(data.declared_records, dict) and data.declared_records:
        counts = {code: int(number) for code, number in data.declared_records.items()}
        return counts, expected_mixture(counts, mixture_strategy(data)), True
    raise ValueError(
        f"--dry-run needs to know the records: dataset is {data.dataset!r}, which is no folder here, and the recipe has no "
        "declared_records, such as {en: 665000, hi: 150000}."
    )


def format_plan(plan: Plan) -> str:
    """The plan as text for a terminal."""
    return "\n\n".join((_parameters(plan), _mixture(plan), _steps(plan), _memory(plan)))


def _parameters(plan: Plan) -> str:
    lines = [f"{'part':<16}{'parameters':>18}{'trained':>18}"]
    lines += [f"{size.part:<16}{size.total:>18,}{size.trainable:>18,}" for size in plan.sizes]
    total, trained = sum(s.total for s in plan.sizes), sum(s.trainable for s in plan.sizes)
    lines.append(f"{'all':<16}{total:>18,}{trained:>18,}  ({trained / total:.2%})")
    return "\n".join(lines)


def _mixture(plan: Plan) -> str:
    source = "declared in the recipe, not counted" if plan.declared else f"counted in {plan.recipe.data.dataset}"
    lines = [f"Records ({source})", f"{'language':<16}{'records':>18}{'an epoch':>18}{'share':>10}"]
    lines += [f"{code:<16}{records:>18,}{drawn:>18,}{share:>10.1%}" for code, records, drawn, share in plan.mixture]
    records, drawn = sum(row[1] for row in plan.mixture), sum(row[2] for row in plan.mixture)
    lines.append(f"{'all':<16}{records:>18,}{drawn:>18,}{1:>10.1%}")
    return "\n".join(lines)


def _steps(plan: Plan) -> str:
    training, gpus = plan.recipe.training, plan.recipe.data.declared_num_gpus
    per_gpu, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    warmup = training.get_warmup_steps(plan.steps)
    rate = training.learning_rate
    projector = rate if training.projector_learning_rate is None else training.projector_learning_rate
    rates = []
    if any(size.trainable for size in plan.sizes if size.part == "language model"):
        rates.append(f"language model {rate:g}")
    if training.train_projector:
        rates.append(f"projector {projector:g}")
    return "\n".join(
        (
            f"{'steps':<16}{plan.steps:,} of {per_gpu * accumulation * gpus} records ({per_gpu} a GPU x {accumulation} "
            f"accumulated x {gpus} GPUs)",
            f"{'learning rate':<16}{', '.join(rates)}; {_value(training.lr_scheduler_type)}, {warmup:,} steps of warm-up, "
            f"weight decay {training.weight_decay:g}",
        )
    )


def _memory(plan: Plan) -> str:
    memory, data = plan.memory, plan.recipe.data
    parts = ("weights", "gradients", "optimizer", "activations", "overhead")
    shown = ", ".join(f"{name} {getattr(memory, name) / GIB:.1f}" for name in parts)
    lines = [
        f"{'memory a GPU':<16}{memory.total / GIB:.1f} GiB estimated, sharding {data.declared_sharding} over "
        f"{data.declared_num_gpus}: {shown}"
    ]
    if plan.flops is not None:
        hours = plan.flops / (data.declared_num_gpus * A100_FLOPS * MODEL_FLOPS_UTILISATION) / 3600
        lines.append(
            f"{'arithmetic':<16}{plan.flops:.2e} FLOP at {data.declared_tokens_per_record:g} tokens a record (declared): "
            f"{hours:.1f} h on {data.declared_num_gpus} A100 at {MODEL_FLOPS_UTILISATION:.0%} of 312 TFLOP/s"
        )
    else:
        lines.append(f"{'arithmetic':<16}not estimated: the recipe has no declared_tokens_per_record")
    return "\n".join(lines)


def _value(option: object) -> str:
    return str(getattr(option, "value", option))
