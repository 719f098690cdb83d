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
"""What a run leaves behind: the adapter, the whole model, and a card."""

import importlib.metadata
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import GenerationConfig
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from ..data.collation import RowEvent
from ..data.prepared import prepared_fingerprint
from ..hub.model_card import (
    EXAMPLE_QUESTION,
    EXAMPLE_QUESTIONS,
    GENERAL_LIMITS,
    PaloModelCard,
    TrainingData,
    architecture_facts,
)
from ..models.palo.checkpoint_palo import share_weights
from ..models.palo.modeling_palo import PaloForConditionalGeneration
from .counts import SEEN, num_lost, told
from .recipe import Recipe
from .trainer import PaloSFTTrainer


MODEL, ADAPTER = "model", "adapter"
_PACKAGES = ("transformers-palo", "transformers", "trl", "peft", "accelerate", "datasets", "torch")
_TERMS = "The terms of the model that it was made from, and of the data, hold for this model as well: read them before you use it."
# Of some three hundred fields, those that somebody who repeats the run has to know.
_TOLD = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "learning_rate",
    "projector_learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "max_grad_norm",
    "max_length",
    "template",
    "train_projector",
    "train_language_model",
    "use_peft",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "lora_modules_to_save",
    "load_in_4bit",
    "dtype",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
    "mixture",
    "mixture_temperature",
    "mixture_weights",
)


def save_results(trainer: PaloSFTTrainer, recipe: Recipe, start: str, records: Mapping[str, int]) -> Path:
    """Write `OUTPUT/model` (whole, in native names) and, after LoRA, `OUTPUT/adapter`; each appears when it is whole.

    To be called by every process: parameters may be spread over them.

    Args:
        trainer: After training.
        recipe: Of the run.
        start: Folder or id of the model that training began with.
        records: Records trained on by language.

    Returns:
        The folder of the whole model.
    """
    output = Path(recipe.training.output_dir)
    adapted = isinstance(trainer.accelerator.unwrap_model(trainer.model), PeftModel)
    trained, whole = output / (ADAPTER if adapted else MODEL), output / MODEL
    card = model_card(trainer, recipe, records)
    # The trainer turns it off, and would have it saved so.
    trainer.palo_model.config.use_cache = True
    if not trained.exists():
        partial = _partial(trained)
        if not adapted and not trainer.is_sharded and isinstance(dtype := _dtype(recipe), torch.dtype):
            # What was trained is float32.
            trainer.palo_model.to(dtype)
        trainer.save_model(str(partial))
        trainer.accelerator.wait_for_everyone()
        if trainer.is_world_process_zero():
            _complete(partial, trainer, _adapter_card(card) if adapted else card)
            partial.rename(trained)
    if adapted and trainer.is_world_process_zero() and not whole.exists():
        partial = _partial(whole)
        merge_adapter(start, trained, partial, dtype=_dtype(recipe), revision=recipe.model.model_revision)
        _complete(partial, trainer, card)
        partial.rename(whole)
    trainer.accelerator.wait_for_everyone()
    return whole


def merge_adapter(
    start: str, adapter: Path, target: Path, dtype: torch.dtype | str = "auto", revision: str = "main"
) -> None:
    """Merge a LoRA into the model that it was trained on and write the whole model.

    The base is read anew, on the CPU: after QLoRA it is the base in full precision, not its 4-bit image. Each layer is
    merged in float32 and rounded once, to `dtype`.

    Args:
        start: Folder or id of the base.
        adapter: Folder of the adapter.
        target: The folder to write.
        dtype: Precision of the merged model. `"auto"`: that of the base.
        revision: Of the base, on the Hub.
    """
    # Under ZeRO-3, loading would spread the weights over processes, all of which would have to load.
    unset_hf_deepspeed_config()
    # As it is stored: rounding it first would round twice.
    base = PaloForConditionalGeneration.from_pretrained(start, dtype="auto", revision=revision)
    kept = base.dtype if dtype == "auto" else dtype
    adapted = PeftModel.from_pretrained(base, str(adapter))
    for layer in adapted.modules():
        if isinstance(layer, BaseTunerLayer):
            # One at a time: a whole model in float32 is twice its size.
            layer.to(torch.float32)
            layer.merge()
            layer.get_base_layer().to(kept)
    adapted.get_base_model().to(kept)
    adapted.unload().save_pretrained(target)


def _dtype(recipe: Recipe) -> torch.dtype | str:
    stated = recipe.model.dtype or "auto"
    return stated if stated == "auto" else getattr(torch, stated)


def _partial(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _complete(folder: Path, trainer: PaloSFTTrainer, card: PaloModelCard) -> None:
    """What belongs to a model beside its weights, and nothing else: Trainer pickles its arguments there."""
    (folder / "training_args.bin").unlink(missing_ok=True)
    trainer.processing_class.save_pretrained(folder)
    generation_config: GenerationConfig = trainer.palo_model.generation_config
    generation_config.save_pretrained(folder)
    share_weights(folder)
    card.to_card().save(folder / "README.md")


def model_card(trainer: PaloSFTTrainer, recipe: Recipe, records: Mapping[str, int]) -> PaloModelCard:
    """The card of a model that `palo train` made: data, recipe, versions, metrics."""
    settings = recipe.settings()
    source = recipe.model.model_name_or_path or recipe.model.language_model
    on_hub = source is not None and "/" in source and not Path(source).exists()
    name = Path(recipe.training.output_dir).resolve().name
    return PaloModelCard(
        name=name,
        summary=(
            f"A PALO vision-language model, trained with `palo train` from {_origin(recipe)} on {_amount(trainer)} from a data set "
            f"of {sum(records.values()):,} records in {len(records)} language{'s' if len(records) != 1 else ''}."
        ),
        base_model=source if on_hub else None,
        base_model_relation="finetune" if on_hub else None,
        languages=sorted(records),
        facts=architecture_facts(trainer.palo_model.config, _num_parameters(trainer)),
        data=[_data(recipe, records)],
        records_by_language=dict(records),
        # Of no record: a card is published, the data need not be.
        example_question=EXAMPLE_QUESTIONS.get(max(records, key=lambda code: records[code]), EXAMPLE_QUESTION),
        how_trained=_what_became_of_records(trainer),
        limits=[*GENERAL_LIMITS, _TERMS],
        recipe={name: settings[name] for name in _told(settings)}
        | {"processes": trainer.args.world_size, "global batch size": _global_batch(trainer)},
        metrics=_last_metrics(trainer.state.log_history),
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
    )


def _data(recipe: Recipe, records: Mapping[str, int]) -> TrainingData:
    folder = Path(str(recipe.data.dataset))
    # Tells this data set from another one of the same name.
    note = f"fingerprint {prepared_fingerprint(folder)[:12]}"
    return TrainingData(name=folder.name, records=sum(records.values()), note=note)


def _global_batch(trainer: PaloSFTTrainer) -> int:
    arguments = trainer.args
    return arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size


def _amount(trainer: PaloSFTTrainer) -> str:
    return f"{trainer.state.global_step:,} batches of {_global_batch(trainer):,} records"


def _what_became_of_records(trainer: PaloSFTTrainer) -> str:
    """How many records were left out, and why; how many were cut."""
    sentences = []
    for mode, drawn in (
        ("train", "drawn in training (a record counts in each epoch)"),
        ("eval", "held out for evaluation"),
    ):
        if counts := trainer.record_counts.totals[mode]:
            lost, cut = num_lost(counts), counts.get(RowEvent.TRUNCATED, 0)
            sentences.append(
                f"Of {counts[SEEN]:,} records {drawn}, {lost:,} {'was' if lost == 1 else 'were'} left out"
                f"{f' ({told(counts)})' if lost else ''} and {cut:,} cut at {trainer.args.max_length} tokens."
            )
    return " ".join(sentences)


def _num_parameters(trainer: PaloSFTTrainer) -> int:
    """Of the whole model: without an adapter's matrices, and what PEFT keeps of modules that it trains whole."""
    model = trainer.palo_model
    of_peft = [
        parameter.numel()
        for name, parameter in model.named_parameters()
        if "lora_" in name or "original_module" in name.split(".")
    ]
    return model.num_parameters() - sum(of_peft)


def _told(settings: Mapping[str, Any]) -> list[str]:
    """Settings that say something about this run."""
    untold = {"num_train_epochs"} if settings["max_steps"] > 0 else {"max_steps"}
    if not settings["use_peft"]:
        untold |= {name for name in _TOLD if name.startswith("lora_")}
    return [name for name in _TOLD if settings.get(name) is not None and name not in untold]


def _adapter_card(card: PaloModelCard) -> PaloModelCard:
    return replace(
        card,
        name=f"{card.name} (adapter)",
        summary=f"{card.summary} This is the LoRA adapter with the trained projector; it needs the model that it was made from.",
        base_model_relation="adapter" if card.base_model else None,
        tags=(*card.tags, "lora", "peft"),
    )


def _origin(recipe: Recipe) -> str:
    """What training began with."""
    model = recipe.model
    if model.model_name_or_path is not None:
        at = f" at `{model.model_revision}`" if model.model_revision != "main" else ""
        return _shown(model.model_name_or_path) + at
    return f"{_shown(str(model.language_model))} and {_shown(str(model.vision_tower))}"


def _shown(source: str) -> str:
    """A folder's own name says enough; its path is nobody else's business."""
    return f"`{Path(source).name}`" if Path(source).exists() else f"`{source}`"


def _last_metrics(history: list[dict[str, Any]]) -> dict[str, float]:
    """The last logged value of everything that is a result. A mean over the run is none: it would be of the part since it
    went on from a checkpoint."""
    metrics: dict[str, float] = {}
    for entry in history:
        for name, value in entry.items():
            if name.startswith(("loss", "eval_loss", "token_accuracy", "eval_token_accuracy")):
                metrics[name] = round(float(value), 4)
    return dict(sorted(metrics.items()))


def remove_partial(output_dir: str | Path) -> None:
    """Take away what an interrupted run left of its results; they are written anew."""
    for name in (MODEL, ADAPTER):
        partial = _partial(Path(output_dir) / name)
        if partial.exists():
            shutil.rmtree(partial)
