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
"""A run from its recipe to its results: what `palo train` does."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import AutoProcessor

from ..data.prepared import prepared_fingerprint
from ..models.palo.assembly_palo import assemble_checkpoint
from ..models.palo.modeling_palo import PaloForConditionalGeneration
from .base import base_identity
from .checkpoints import last_whole_checkpoint, set_broken_aside
from .dataset import TrainingData, load_training_data
from .finish import MODEL, remove_partial, save_results
from .lock import locked
from .recipe import Recipe
from .templates import chat_template
from .trainer import PaloSFTTrainer


logger = logging.getLogger(__name__)

RECIPE_FILE = "recipe.json"
# The model that a run puts together from its parts, before training.
UNTRAINED = "untrained"
# In the claim of the folder: what the model to begin with is known by.
BASE = "base model (its weights)"


def train(recipe: Recipe) -> Path:
    """Train as the recipe says, or go on from the last whole checkpoint of the same recipe and data.

    Returns:
        The folder of the whole, trained model: `output_dir/model`.

    Raises:
        ValueError: The output folder belongs to another recipe, other data, another base or another process; nothing would be trained; or
            too many records had to be left out.
    """
    state = PartialState()
    with locked(Path(recipe.training.output_dir), only=state.is_main_process):
        return _train(recipe, state)


def _train(recipe: Recipe, state: PartialState) -> Path:
    output = Path(recipe.training.output_dir)
    settings = _settings(recipe, state.num_processes)
    _check_claim(output, settings)
    if (output / MODEL).is_dir():
        logger.warning("%s is finished: nothing is left to do. Choose another output_dir to train again.", output)
        return output / MODEL

    data = load_training_data(recipe.data)
    with state.main_process_first():
        start = _starting_model(recipe, output)
    settings[BASE] = base_identity(start, _loading(recipe)["revision"])
    _check_base(output, start, settings)
    trainer = _trainer(recipe, start, data)
    with state.main_process_first():
        if state.is_main_process:
            # Only now: a start that failed has no say about the folder.
            _claim(output, settings)
    checkpoint = last_whole_checkpoint(output)
    if checkpoint is not None:
        logger.warning("Going on from %s.", checkpoint)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if data.eval is not None:
        trainer.evaluate()
    trainer.save_state()
    return save_results(trainer, recipe, start, data.counts)


def _trainer(recipe: Recipe, start: str, data: TrainingData) -> PaloSFTTrainer:
    kwargs = _loading(recipe)
    processor = AutoProcessor.from_pretrained(start, revision=kwargs["revision"])
    if recipe.training.eval_strategy == "no" and data.eval is not None:
        logger.info("eval_strategy is 'no': the held-out records are looked at once, at the end.")
    model = PaloForConditionalGeneration.from_pretrained(start, **kwargs)
    # TRL would warn that it does not use them.
    recipe.training.model_init_kwargs = None
    return PaloSFTTrainer(
        model=model,
        args=recipe.training,
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=processor,
        peft_config=recipe.peft_config,
        chat_template=chat_template(recipe.data.template, processor),
        epoch_indices=data.epoch_indices,
    )


def _loading(recipe: Recipe) -> dict[str, Any]:
    """How the model is loaded; `model_init_kwargs` have the last word."""
    model = recipe.model
    kwargs: dict[str, Any] = {"dtype": model.dtype or "auto", "revision": model.model_revision}
    if model.attn_implementation:
        kwargs["attn_implementation"] = model.attn_implementation
    if (quantization_config := recipe.quantization_config) is not None:
        kwargs["quantization_config"] = quantization_config
        if torch.cuda.is_available():
            # Each process has the whole model on its own GPU.
            kwargs["device_map"] = {"": PartialState().local_process_index}
    return kwargs | dict(recipe.training.model_init_kwargs or {})


def _starting_model(recipe: Recipe, output: Path) -> str:
    """A PALO model to begin with; one that is put together is kept in the output folder."""
    model = recipe.model
    if model.model_name_or_path is not None:
        if model.model_revision != "main" and Path(model.model_name_or_path).is_dir():
            raise ValueError(
                f"model_revision: {model.model_name_or_path} is a folder here, which has no revision "
                f"{model.model_revision!r}."
            )
        return model.model_name_or_path
    folder = output / UNTRAINED
    if not folder.is_dir():
        assemble_checkpoint(
            str(model.language_model),
            str(model.vision_tower),
            folder,
            projector_type=model.projector_type,
            projector=model.projector,
            seed=recipe.training.seed,
        )
    return str(folder)


def _settings(recipe: Recipe, num_processes: int) -> dict[str, Any]:
    """What a run and its continuation have to agree on: the recipe, and the records."""
    settings = {**recipe.settings(), "num_processes": num_processes}
    for name in ("dataset", "eval_dataset"):
        if (folder := getattr(recipe.data, name)) is not None:
            settings[f"{name} (its records)"] = prepared_fingerprint(folder)
    return json.loads(json.dumps(settings, default=str))


def _check_claim(output: Path, settings: dict[str, Any]) -> None:
    """Make sure that the folder is this recipe's."""
    path = output / RECIPE_FILE
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    # The base has yet to be put together or found; a finished run does without it.
    changed = sorted(name for name in {*before, *settings} - {BASE} if before.get(name) != settings.get(name))
    if changed:
        name = changed[0]
        raise ValueError(
            f"{output} holds a run of another recipe or of other data: {', '.join(changed)} "
            f"differ{'s' if len(changed) == 1 else ''} "
            f"({name} was {before.get(name)!r}, is {settings.get(name)!r}). Choose another output_dir, or remove this one."
        )


def _check_base(output: Path, start: str, settings: dict[str, Any]) -> None:
    """Make sure that a run goes on with the model that it began with."""
    path = output / RECIPE_FILE
    if path.is_file() and (before := json.loads(path.read_text(encoding="utf-8")).get(BASE)) != settings[BASE]:
        raise ValueError(
            f"{output} holds a run on another base: weights or configuration of {start} have changed ({BASE} was "
            f"{before!r}, is {settings[BASE]!r}). Bring back the model that it began with, choose another output_dir, or "
            "remove this one."
        )


def _claim(output: Path, settings: dict[str, Any]) -> None:
    """Make the folder this recipe's, and whole checkpoints all that is in it."""
    output.mkdir(parents=True, exist_ok=True)
    temporary = (output / RECIPE_FILE).with_suffix(".partial")
    temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(output / RECIPE_FILE)
    set_broken_aside(output)
    remove_partial(output)
