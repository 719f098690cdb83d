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
"""PALO, the vision-language model that answers in ten languages, as a native Transformers model.

Importing this package registers PALO with Transformers' Auto classes and pipelines.
"""

from .languages import LANGUAGES, Language, get_language
from .models.palo.auto_palo import AutoModelForVision2Seq, register
from .models.palo.configuration_palo import PaloConfig
from .models.palo.image_processing_palo import PaloImageProcessor
from .models.palo.image_processing_pil_palo import PaloImageProcessorPil
from .models.palo.modeling_palo import PaloForConditionalGeneration, PaloModel, PaloPreTrainedModel
from .models.palo.processing_palo import PaloProcessor
from .models.palo.tokenization_palo import PaloTokenizer


__version__ = "0.1.0.dev0"

__all__ = [
    "LANGUAGES",
    "AutoModelForVision2Seq",
    "Language",
    "PaloConfig",
    "PaloForConditionalGeneration",
    "PaloImageProcessor",
    "PaloImageProcessorPil",
    "PaloModel",
    "PaloPreTrainedModel",
    "PaloProcessor",
    "PaloTokenizer",
    "get_language",
    "register",
]

register()
