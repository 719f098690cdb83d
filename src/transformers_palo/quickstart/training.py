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
"""The stages of the small model's training: Transformers' Trainer for the tower, PALO's own for all that is chat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..models.palo.processing_palo import PaloProcessor
from ..training import PaloSFTConfig, PaloSFTTrainer
from .conversations import Chat


@dataclass(frozen=True)
class Stage:
    """How long, and how fast, one stage learns.

    Attributes:
        name: What its progress bar and its curve are called.
        steps: Optimizer steps.
        batch_size: Examples a step.
        learning_rate: Its peak: it rises over the first 5 % of the steps and falls along a cosine.
        answers_only: Of a chat, whether only what the assistant says is learnt, or every word.
        projector: Whether the projector learns.
        language_model: Whether the language model learns.
    """

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    answers_only: bool = True
    projector: bool = True
    language_model: bool = True

    @property
    def num_examples(self) -> int:
        """How many examples the stage sees."""
        return self.steps * self.batch_size


@dataclass
class LossCurve:
    """The training loss of one stage, `(step, loss)`."""

    stage: str
    points: list[tuple[int, float]] = field(default_factory=list)


class _LabelledProgress(ProgressCallback):
    """A progress bar with the stage's name and its loss, in place of a line of figures every few steps."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_begin(*args, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description(self.name)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.3f}")


def _arguments(stage: Stage, output_dir: Path, seed: int) -> dict[str, Any]:
    return {
        "output_dir": str(output_dir),
        "max_steps": stage.steps,
        "per_device_train_batch_size": stage.batch_size,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "adam_beta2": 0.99,
        "weight_decay": 0.01,
        "logging_steps": max(1, stage.steps // 60),
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "dataloader_pin_memory": False,
        "seed": seed,
        # Two million parameters keep no accelerator busy, and what a CPU computes can be repeated exactly.
        "use_cpu": True,
        "bf16": False,
    }


def _run(trainer: Trainer, stage: Stage) -> LossCurve:
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(_LabelledProgress(stage.name))
    trainer.train()
    points = [(int(log["step"]), float(log["loss"])) for log in trainer.state.log_history if "loss" in log]
    return LossCurve(stage.name, points)


def train_classifier(
    model: nn.Module, dataset: torch.utils.data.Dataset, stage: Stage, output_dir: Path, seed: int
) -> LossCurve:
    """Train a module whose `forward` returns a loss."""
    arguments = TrainingArguments(**_arguments(stage, output_dir, seed), remove_unused_columns=False)
    return _run(Trainer(model=model, args=arguments, train_dataset=dataset), stage)


def train_on_chats(
    model: PreTrainedModel, processor: PaloProcessor, dataset: Dataset, stage: Stage, output_dir: Path, seed: int
) -> LossCurve:
    """Train on chats, as `palo train` does."""
    arguments = PaloSFTConfig(
        **_arguments(stage, output_dir, seed),
        train_projector=stage.projector,
        train_language_model=stage.language_model,
        assistant_only_loss=stage.answers_only,
        max_length=None,
        # Chats are written and drawn when they are asked for: their lengths are not known before, and hardly differ.
        train_sampling_strategy="random",
        dataloader_num_workers=0,
        gradient_checkpointing=False,
    )
    trainer = PaloSFTTrainer(model, arguments, train_dataset=dataset, processing_class=processor)
    return _run(trainer, stage)


def chat_dataset(
    items: Sequence[Any], chat: Callable[[Any], Chat], image: Callable[[Any], Image.Image] | None = None
) -> Dataset:
    """Chats in TRL's shape, written and drawn when they are asked for: the pictures are not kept twice.

    Args:
        items: What the examples are about.
        chat: The messages about an item.
        image: The picture of an item; `None` for text alone.
    """

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [items[index] for index in batch["item"]]
        return {
            "messages": [chat(item) for item in chosen],
            "images": [[image(item)] if image else [] for item in chosen],
        }

    return Dataset.from_dict({"item": range(len(items))}).with_transform(rows)
