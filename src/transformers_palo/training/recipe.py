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
"""Reading a recipe: a YAML file over TRL's configuration classes, any field of which the command line may set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from trl import TrlParser, get_quantization_config

from .arguments import CHECKPOINTING_FIELD, DataArguments, ModelArguments, PaloSFTConfig
from .parameters import language_model_lora
from .refused import check_fields


@dataclass(frozen=True)
class Recipe:
    """What is trained, how, and on what."""

    model: ModelArguments
    training: PaloSFTConfig
    data: DataArguments

    @property
    def peft_config(self) -> Any:
        """The LoRA that the recipe asks for, or `None`."""
        model = self.model
        if not model.use_peft:
            return None
        targets: Any = model.lora_target_modules
        if isinstance(targets, str) and targets.isidentifier():
            # trl.ModelConfig takes one suffix out of its list; PEFT would read it as a regular expression of whole paths.
            targets = [targets]
        chosen: dict[str, Any] = {"target_modules": targets} if targets else {}
        if model.lora_modules_to_save:
            chosen["modules_to_save"] = list(model.lora_modules_to_save)
        return language_model_lora(
            r=model.lora_r,
            lora_alpha=model.lora_alpha,
            lora_dropout=model.lora_dropout,
            use_rslora=model.use_rslora,
            use_dora=model.use_dora,
            train_projector=self.training.train_projector,
            # Of the base, for whoever loads the adapter.
            revision=None if model.model_revision == "main" else model.model_revision,
            **chosen,
        )

    @property
    def quantization_config(self) -> Any:
        """For QLoRA, or `None`."""
        return get_quantization_config(self.model)

    @property
    def checkpointing(self) -> bool:
        """Whether activations are computed twice to save memory."""
        return bool(getattr(self.training, CHECKPOINTING_FIELD))

    def settings(self) -> dict[str, Any]:
        """Every field that decides what the weights become, as plain values."""
        fields = {**asdict(self.model), **asdict(self.data), **self.training.to_dict()}
        return {name: value for name, value in sorted(fields.items()) if name not in _OF_NO_CONSEQUENCE}


# What may change between a run and its continuation.
_OF_NO_CONSEQUENCE = {
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "dataset_num_proc",
    "declared_num_gpus",
    "declared_records",
    "declared_sharding",
    "declared_tokens_per_record",
    "disable_tqdm",
    "local_rank",
    "log_level",
    "log_level_replica",
    "logging_dir",
    "logging_first_step",
    "logging_steps",
    "logging_strategy",
    "max_reject_share",
    "model_size",
    "output_dir",
    "project",
    "report_to",
    "run_name",
    "save_steps",
    "save_strategy",
    "save_total_limit",
}


class _Parser(TrlParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print the usage of some three hundred fields and exit.
        raise ValueError(message)


def read_recipe(arguments: Sequence[str]) -> Recipe:
    """Parse `--config FILE [--field value ...]`; what the command line sets wins over the file.

    Raises:
        ValueError: A field or a value is not known; the message names it.
        OSError: There is no such file.
    """
    arguments = list(arguments)
    if "--config" in arguments:
        _check_file(arguments[arguments.index("--config") + 1 :])
    parser = _Parser((ModelArguments, PaloSFTConfig, DataArguments))
    try:
        recipe = Recipe(*parser.parse_args_and_config(arguments))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"The recipe cannot be read: {error}") from error
    check_fields(recipe.model, recipe.training)
    if recipe.model.use_peft and not recipe.training.train_language_model:
        raise ValueError(
            "use_peft: a LoRA is on the language model, and train_language_model is false: leave out one of them."
        )
    return recipe


def _check_file(rest: list[str]) -> None:
    if not rest:
        raise ValueError("--config: expected the path of a recipe (YAML), found nothing behind it.")
    path = Path(rest[0])
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a recipe (YAML), found no such file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML, found {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected fields with values, one a line, found {type(content).__name__}.")
    known = {name for kind in (ModelArguments, PaloSFTConfig, DataArguments) for name in kind.__dataclass_fields__}
    if unknown := sorted(set(content) - known - {"env"}):
        raise ValueError(
            f"{path}: no such field{'s' if len(unknown) > 1 else ''}: {', '.join(map(str, unknown))}. Fields are those of "
            "trl.SFTConfig and trl.ModelConfig, and PALO's own (docs/training.md)."
        )
