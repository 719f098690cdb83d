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
"""The released checkpoints' key names, and how they become native ones.

The map is data: (pattern, replacement) pairs of regular expressions that Transformers applies while loading. It goes
one way only. What this package saves carries the native names.
"""

from transformers.core_model_loading import WeightRenaming

from .configuration_palo import MAX_RELEASED_MLP_LAYERS


_LDP_BLOCK_PARTS = (
    (r"block\.0\.0\.", "depthwise."),
    (r"block\.0\.1\.", "depthwise_norm."),
    (r"block\.1\.", "squeeze_excitation."),
    (r"block\.2\.0\.", "pointwise."),
    (r"block\.2\.1\.", "pointwise_norm."),
)

RELEASED_KEY_MAP: tuple[tuple[str, str], ...] = (
    # Vision tower, as LLaVA nested it: a wrapper around CLIPVisionModel around its transformer.
    (r"^model\.vision_tower\.vision_tower\.vision_model\.", "model.vision_tower."),
    (r"^model\.vision_tower\.vision_tower\.", "model.vision_tower."),
    # LDP projector.
    *(
        (rf"^model\.mm_projector\.model\.mlp\.{2 * i - 1}\.", f"model.multi_modal_projector.linear_{i}.")
        for i in (1, 2)
    ),
    *(
        (
            rf"^model\.mm_projector\.model\.mb_block\.{block}\.{released}",
            f"model.multi_modal_projector.blocks.{block - 1}.{ours}",
        )
        for block in (1, 2)
        for released, ours in _LDP_BLOCK_PARTS
    ),
    # MLP projector: released layers are numbered 0, 2, 4, ... (activations take the odd places), ours 1, 2, 3, ... Then
    # the linear one, whose keys have no number.
    *(
        (rf"^model\.mm_projector\.{2 * i}\.", f"model.multi_modal_projector.linear_{i + 1}.")
        for i in range(MAX_RELEASED_MLP_LAYERS)
    ),
    (r"^model\.mm_projector\.(?=weight|bias)", "model.multi_modal_projector.linear_1."),
    # Language model.
    (r"^model\.layers\.", "model.language_model.layers."),
    (r"^model\.embed_tokens\.", "model.language_model.embed_tokens."),
    (r"^model\.norm\.", "model.language_model.norm."),
)


def released_key_mapping() -> list[WeightRenaming]:
    """The released key map as Transformers takes it."""
    return [WeightRenaming(source_patterns=old, target_patterns=new) for old, new in RELEASED_KEY_MAP]
