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
"""The fields of a recipe: TRL's own configuration classes, with what PALO needs beside them."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import TrainingArguments
from trl import ModelConfig, SFTConfig

from .values import check_values


CHECKPOINTING_FIELD = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")  # Transformers 5.23 has renamed it.
    if name in TrainingArguments.__dataclass_fields__
)


_MAIN = ModelConfig.__dataclass_fields__["model_revision"].default


@dataclass
class PaloSFTConfig(SFTConfig):
    """[`trl.SFTConfig`] with PALO's defaults, a learning rate for the projector, and what is to be trained.

    Other defaults than TRL's: only answers are supervised, 2048 tokens, batches of one modality and similar length, bf16
    only where there is a GPU, columns of the data set are kept (the language is one).
    """

    projector_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Peak learning rate of the projector. Default: learning_rate, as for the rest."},
    )
    train_projector: bool = field(
        default=True, metadata={"help": "Train the projector, in full, with or without LoRA."}
    )
    train_language_model: bool = field(
        default=True,
        metadata={
            "help": "Train the language model (in full, or its LoRA with use_peft). false is the paper's stage 1."
        },
    )
    max_length: int | None = field(
        default=2048,
        metadata={"help": "Longest sequence in tokens, image tokens included. Longer text is cut and counted."},
    )
    max_reject_share: float = field(
        default=0.05,
        metadata={
            "help": "The run fails if more than this share of the records had to be left out: a picture that cannot be "
            "opened, or nothing to learn within max_length."
        },
    )
    assistant_only_loss: bool = field(default=True, metadata={"help": "Supervise only what the assistant says."})
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": "group_by_length (of one modality and similar length), random or sequential."},
    )
    length_column_name: str = field(
        default="num_tokens", metadata={"help": "Column with the lengths in tokens; computed if it is missing."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave this off: the language is a column."})
    dataloader_num_workers: int = field(default=2, metadata={"help": "Processes that open and prepare images."})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "Default: where there is a GPU."}
    )
    bf16: bool | None = field(default=None, metadata={"help": "Default: on a GPU that has it, unless fp16 is set."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Every trained parameter takes part in every batch, also of text alone."}
    )
    dataset_kwargs: dict[str, Any] | None = field(
        default_factory=lambda: {"skip_prepare_dataset": True}, metadata={"help": "Leave this as it is."}
    )

    def __post_init__(self) -> None:
        check_values(self)
        if self.bf16 is None and not self.fp16:
            self.bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        if getattr(self, CHECKPOINTING_FIELD) is None:
            # TRL sets the old name by default, and Transformers warns of it.
            setattr(self, CHECKPOINTING_FIELD, self.gradient_checkpointing)
        super().__post_init__()
        if self.max_steps <= 0 and self.num_train_epochs <= 0:
            raise ValueError(f"num_train_epochs: expected more than 0, found {self.num_train_epochs}.")


@dataclass
class ModelArguments(ModelConfig):
    """[`trl.ModelConfig`], and for stage 1 the parts that a new PALO is put together from.

    Either `model_name_or_path` is a PALO model (native or as released), or `language_model` and `vision_tower` name the
    parts, and the projector is new.
    """

    language_model: str | None = field(
        default=None, metadata={"help": "Language model to build a PALO around (Llama)."}
    )
    vision_tower: str | None = field(default=None, metadata={"help": "CLIP model to build a PALO around."})
    projector_type: str = field(
        default="mlp",
        metadata={"help": "Projector of a model that is put together: mlp or ldp.", "choices": ["mlp", "ldp"]},
    )
    projector: str | None = field(
        default=None, metadata={"help": "mm_projector.bin of a first stage. Default: a new projector."}
    )
    model_size: str | None = field(
        default=None,
        metadata={"help": "1.7b, 7b or 13b: the architecture that --dry-run computes with; nothing has to be loaded."},
    )

    def __post_init__(self) -> None:
        check_values(self)
        super().__post_init__()
        parts = (self.language_model, self.vision_tower)
        if (self.model_name_or_path is None) == (parts == (None, None)):
            raise ValueError(
                "Expected either model_name_or_path (a PALO model), or language_model and vision_tower (to put one together); "
                f"found {'both' if self.model_name_or_path else 'neither'}."
            )
        if self.model_name_or_path is None and None in parts:
            missing = "language_model" if self.language_model is None else "vision_tower"
            raise ValueError(f"A new PALO needs language_model and vision_tower; {missing} is missing.")
        if self.model_name_or_path is None and self.model_revision != _MAIN:
            raise ValueError(
                f"model_revision: {self.model_revision!r} is of model_name_or_path; the parts of a new PALO are taken as they "
                "are: name folders of the revisions that you want."
            )
        if (self.load_in_4bit or self.load_in_8bit) and not self.use_peft:
            name = "load_in_4bit" if self.load_in_4bit else "load_in_8bit"
            raise ValueError(
                f"{name}: quantised weights cannot be trained; set use_peft, to train a LoRA beside them."
            )


@dataclass
class DataArguments:
    """Which records a run sees, and how they are rendered."""

    dataset: str | None = field(default=None, metadata={"help": "Folder that `palo data prepare` wrote."})
    eval_dataset: str | None = field(default=None, metadata={"help": "The same, held out."})
    eval_records: int = field(
        default=0, metadata={"help": "Without eval_dataset: hold out so many records, drawn by the data seed."}
    )
    template: Literal["chat", "caption"] = field(
        default="chat",
        metadata={
            "help": "chat, or caption: image, answer and line break alone, as in the paper's stage 1.",
            "choices": ["chat", "caption"],
        },
    )
    mixture: Literal["proportional", "temperature", "weights"] | None = field(
        default=None,
        metadata={
            "help": "Shares of the languages. Default: as the data set says.",
            "choices": ["proportional", "temperature", "weights"],
        },
    )
    mixture_temperature: float | None = field(
        default=None, metadata={"help": "Of mixture=temperature: a language is drawn by its share to the power 1 / T."}
    )
    mixture_weights: dict[str, Any] | str | None = field(
        default=None, metadata={"help": 'Of mixture=weights, by language code: {"en": 2, "hi": 1}.'}
    )
    declared_records: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Records by language, for --dry-run without the data."},
    )
    declared_tokens_per_record: float | None = field(
        default=None,
        metadata={"help": "Mean tokens of a record, image tokens included, for --dry-run without the data."},
    )
    declared_num_gpus: int = field(default=8, metadata={"help": "GPUs that --dry-run computes with."})
    declared_sharding: Literal["none", "zero2", "zero3"] = field(
        default="none",
        metadata={
            "help": "What --dry-run shards over them: none (DDP), zero2, or zero3 (FSDP2 as well).",
            "choices": ["none", "zero2", "zero3"],
        },
    )

    def __post_init__(self) -> None:
        for name in ("mixture_weights", "declared_records"):
            setattr(self, name, _mapping(name, getattr(self, name)))
        check_values(self)
        for name, strategy in (("mixture_temperature", "temperature"), ("mixture_weights", "weights")):
            if getattr(self, name) is not None and self.mixture != strategy:
                raise ValueError(f"{name} has an effect with mixture: {strategy} only; mixture is {self.mixture!r}.")


def _mapping(name: str, value: Any) -> Any:
    """On the command line a mapping is JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f'{name}: expected JSON such as {{"hi": 1}}, found {value!r} ({error}).') from None
