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
"""Parameter names: of the released checkpoints, of llava-hf, and native ones.

The maps are data: (pattern, replacement) pairs of regular expressions, the first that matches counts. Loading uses them
one way only. What this package saves carries the native names.
"""

import re

from transformers.core_model_loading import WeightRenaming

from .configuration_palo import MAX_RELEASED_MLP_LAYERS


KeyMap = tuple[tuple[str, str], ...]

# Our names of the LDP's parts -> the released ones, inside a block.
_LDP_BLOCK_PARTS = (
    ("depthwise.", "block.0.0."),
    ("depthwise_norm.", "block.0.1."),
    ("squeeze_excitation.", "block.1."),
    ("pointwise.", "block.2.0."),
    ("pointwise_norm.", "block.2.1."),
)

_LDP_NAMES = (
    *((f"linear_{i}.", f"model.mlp.{2 * i - 1}.") for i in (1, 2)),
    *(
        (f"blocks.{block - 1}.{ours}", f"model.mb_block.{block}.{released}")
        for block in (1, 2)
        for ours, released in _LDP_BLOCK_PARTS
    ),
)
# Released layers are numbered 0, 2, 4, ... (activations take the odd places), ours 1, 2, 3, ...
_MLP_NAMES = tuple((f"linear_{i + 1}.", f"{2 * i}.") for i in range(MAX_RELEASED_MLP_LAYERS))
# The linear projector is a layer without a number.
_LINEAR_NAMES = (("linear_1.weight", "weight"), ("linear_1.bias", "bias"))
_PROJECTOR_NAMES = {"ldp": _LDP_NAMES, "mlp": _MLP_NAMES, "linear": _LINEAR_NAMES, "identity": ()}

_LANGUAGE_MODEL_NAMES = ("layers.", "embed_tokens.", "norm.")


def _pattern(name: str) -> str:
    return "^" + re.escape(name)


RELEASED_KEY_MAP: KeyMap = (
    # Vision tower, as LLaVA nested it: a wrapper around CLIPVisionModel around its transformer.
    (_pattern("model.vision_tower.vision_tower.vision_model."), "model.vision_tower."),
    (_pattern("model.vision_tower.vision_tower."), "model.vision_tower."),
    *(
        (_pattern(f"model.mm_projector.{released}"), f"model.multi_modal_projector.{ours}")
        for names in (_LDP_NAMES, _MLP_NAMES, _LINEAR_NAMES)
        for ours, released in names
    ),
    *((_pattern(f"model.{name}"), f"model.language_model.{name}") for name in _LANGUAGE_MODEL_NAMES),
)

# What the released files hold besides weights: a buffer that is computed.
IGNORED_RELEASED_KEYS = re.compile(r"\.rotary_emb\.inv_freq$|\.position_ids$")

# The names of llava-hf's repositories, which every version of Transformers and every engine reads.
LLAVA_HF_KEY_MAP: KeyMap = (
    (_pattern("lm_head."), "language_model.lm_head."),
    (_pattern("model.language_model."), "language_model.model."),
    (_pattern("model.vision_tower."), "vision_tower.vision_model."),
    (_pattern("model.multi_modal_projector."), "multi_modal_projector."),
)


def released_key_mapping() -> list[WeightRenaming]:
    """The released key map as Transformers takes it."""
    return [WeightRenaming(source_patterns=old, target_patterns=new) for old, new in RELEASED_KEY_MAP]


def rename(name: str, key_map: KeyMap) -> str:
    """The name that a map gives to `name`, or `name` itself if no pattern matches."""
    for pattern, replacement in key_map:
        renamed, count = re.subn(pattern, replacement, name, count=1)
        if count:
            return renamed
    return name


def native_name(released: str) -> str | None:
    """The native name of a released parameter, or `None` for what is no parameter."""
    return None if IGNORED_RELEASED_KEYS.search(released) else rename(released, RELEASED_KEY_MAP)


def released_projector_name(native: str, projector_type: str) -> str:
    """The released name of a projector's parameter (the other direction needs to know which projector it is)."""
    name = native.removeprefix("model.multi_modal_projector.")
    for ours, released in _PROJECTOR_NAMES[projector_type]:
        if name.startswith(ours):
            return f"model.mm_projector.{released}{name.removeprefix(ours)}"
    raise KeyError(native)
