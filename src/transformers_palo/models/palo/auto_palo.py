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
"""Every registration with Transformers, in one place."""

import sys
from types import ModuleType
from typing import Any

import transformers as transformers_before
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.models.auto import configuration_auto, modeling_auto, tokenization_auto
from transformers.utils import logging

from .configuration_palo import PaloConfig
from .image_processing_palo import IMAGE_PROCESSORS
from .key_map_palo import released_key_mapping
from .modeling_palo import PaloForConditionalGeneration, PaloModel
from .processing_palo import PaloProcessor
from .tokenization_palo import PaloTokenizer


logger = logging.get_logger(__name__)


class AutoModelForVision2Seq(AutoModelForImageTextToText):
    """The name that [`AutoModelForImageTextToText`] had until Transformers 5, for code that still uses it."""


def register() -> bool:
    """Make Transformers' Auto classes and pipelines know PALO. Idempotent.

    Returns:
        Whether it did: if Transformers has a `palo` model of its own, that one is left in charge.
    """
    _add_to_transformers(AutoModelForVision2Seq)
    if is_native():
        logger.info("Transformers has a palo model of its own: transformers_palo does not register its classes.")
        return False
    AutoConfig.register(PaloConfig.model_type, PaloConfig, exist_ok=True)
    AutoModel.register(PaloConfig, PaloModel, exist_ok=True)
    AutoModelForImageTextToText.register(PaloConfig, PaloForConditionalGeneration, exist_ok=True)
    AutoModelForMultimodalLM.register(PaloConfig, PaloForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(PaloConfig, PaloProcessor, exist_ok=True)
    AutoImageProcessor.register(PaloConfig, image_processor_classes=dict(IMAGE_PROCESSORS), exist_ok=True)
    AutoTokenizer.register(PaloConfig, tokenizer_class=PaloTokenizer, exist_ok=True)
    _prefer_palo_tokenizer()
    _name_as_multimodal()
    _add_to_transformers(PaloConfig, PaloForConditionalGeneration, PaloModel, PaloProcessor, PaloTokenizer)
    register_checkpoint_conversion_mapping(PaloConfig.model_type, released_key_mapping(), overwrite=True)
    return True


def is_native() -> bool:
    """Whether the installed Transformers has a `palo` model of its own."""
    return PaloConfig.model_type in configuration_auto.CONFIG_MAPPING_NAMES


def _prefer_palo_tokenizer() -> None:
    # Released folders say `tokenizer_class: LlamaTokenizer`, which AutoTokenizer would believe. It keeps a list of model
    # types whose folders are known to say the wrong thing; there is no public way onto it.
    names: Any = getattr(tokenization_auto, "TOKENIZER_MAPPING_NAMES", None)
    mistaken: Any = getattr(tokenization_auto, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", None)
    if names is None or mistaken is None:
        logger.warning(
            "This version of Transformers does not let AutoTokenizer read released PALO folders; use AutoProcessor, or "
            "transformers_palo.PaloTokenizer."
        )
        return
    names[PaloConfig.model_type] = PaloTokenizer.__name__
    mistaken.add(PaloConfig.model_type)


def _name_as_multimodal() -> None:
    # `transformers serve` tells image-text models by the class names in these tables, which `register` does not touch.
    for table in ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES"):
        getattr(modeling_auto, table, {})[PaloConfig.model_type] = PaloForConditionalGeneration.__name__


def _add_to_transformers(*classes: type) -> None:
    """Make classes importable from `transformers`, unless it has something of that name itself.

    Code out there imports `AutoModelForVision2Seq`, which Transformers 5 removed; and what reads `architectures` of a
    config looks the name up there: `transformers serve`, TRL's trainers given a path, Accelerate.
    """
    # Importing its processing utilities replaces the package's module object. They are imported by now (AutoProcessor
    # needs them), so the names stay; code that imported the package earlier still holds the object before.
    modules: list[ModuleType] = [
        sys.modules["transformers"],
        transformers_before,
        sys.modules["transformers.models.auto"],
    ]
    for module in modules:
        for added in classes:
            if added.__name__ not in vars(module):
                setattr(module, added.__name__, added)
