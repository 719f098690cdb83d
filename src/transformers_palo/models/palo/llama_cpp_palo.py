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
"""Writing what llama.cpp's converters for LLaVA-1.5 and MobileVLM read, and saying what they cannot."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from .configuration_palo import PaloConfig
from .conversion_palo import Weights, WeightSource, read_json
from .key_map_palo import released_projector_name
from .projectors_palo import PaloLdpBlock
from .writing_palo import ShardWriter, with_progress, write_json, writing


# Written into its graph for the LDP, whatever the image size says.
LDP_GRID = 24


def check_llama_cpp_can_express(config: PaloConfig) -> None:
    """
    Raises:
        ValueError: The model has something that llama.cpp does not compute, or computes otherwise.
    """
    if obstacles := list(_obstacles(config)):
        raise ValueError(
            f"llama.cpp cannot run this model: it has {'; and '.join(obstacles)}. The palo format can hold it."
        )


def _obstacles(config: PaloConfig) -> Iterator[str]:
    """What is not as `convert_image_encoder_to_gguf.py` and the graph `clip_graph_llava` of llama.cpp take it."""
    text, vision = config.text_config, config.vision_config
    if text.model_type != "llama":
        yield f"a language model of type {text.model_type!r}, expected 'llama'"
    if vision.model_type != "clip_vision_model":
        yield f"a vision tower of type {vision.model_type!r}, expected CLIP"
    elif vision.hidden_act not in ("quick_gelu", "gelu"):
        yield f"a vision tower with the activation {vision.hidden_act!r}, expected quick_gelu or gelu"
    if not isinstance(config.vision_feature_layer, int):
        yield f"features of the layers {config.vision_feature_layer} side by side, expected one layer"
    if config.vision_feature_select_strategy != "default":
        yield "the class token among the image features, expected patches alone"
    yield from _projector_obstacles(config)


def _projector_obstacles(config: PaloConfig) -> Iterator[str]:
    if config.projector_type == "ldp":
        side = config.vision_config.image_size // config.vision_config.patch_size
        if side != LDP_GRID:
            yield f"an LDP projector over {side} x {side} patches, expected {LDP_GRID} x {LDP_GRID}"
        # One eps serves its norms of tower and projector.
        if config.vision_config.layer_norm_eps != PaloLdpBlock.norm_eps:
            yield (
                f"an LDP projector under a tower with layer_norm_eps {config.vision_config.layer_norm_eps}, expected "
                f"{PaloLdpBlock.norm_eps}"
            )
    elif config.projector_type != "mlp":
        yield f"a projector of type {config.projector_type!r}, expected 'mlp' or 'ldp'"
    elif config.projector_num_layers != 2:
        yield f"an MLP projector of {config.projector_num_layers} layers, expected 2"
    elif config.projector_hidden_act != "gelu" or not config.multimodal_projector_bias:
        yield "an MLP projector without bias or with another activation than GELU"


def write_llama_cpp(
    folder: Path,
    source: WeightSource,
    config: PaloConfig,
    weights: Callable[[], Weights],
    expected: dict[str, tuple[int, ...]],
    max_shard_bytes: int,
) -> None:
    """Three parts under the original names, as llama.cpp's converters for LLaVA-1.5 and MobileVLM take them."""
    processor = source.processor()
    tokenizer_model = next(
        (path for path in (source.folder, source.language_model) if (path / "tokenizer.model").is_file()), None
    )
    if tokenizer_model is None:
        raise ValueError(
            f"{source.folder}: llama.cpp needs the SentencePiece file tokenizer.model, which is not there."
        )

    language_model = ShardWriter(
        folder / "language_model", max_shard_bytes, lambda name: name.replace("model.language_model.", "model.", 1)
    )
    tower = ShardWriter(
        folder / "vision_tower", max_shard_bytes, lambda name: name.replace("model.vision_tower.", "vision_model.", 1)
    )
    projector: dict[str, torch.Tensor] = {}
    for name, tensor in with_progress(weights(), expected):
        if name.startswith("model.multi_modal_projector."):
            projector[released_projector_name(name, config.projector_type)] = tensor.float()
        else:
            (tower if name.startswith("model.vision_tower.") else language_model).add(name, tensor)
    language_model.close()
    tower.close()
    path = folder / "llava.projector"
    with writing(path):
        torch.save(projector, path)

    text_config, vision_config = config.text_config, config.vision_config
    text_config.architectures = ["LlamaForCausalLM"]
    vision_config.architectures = ["CLIPVisionModel"]
    with writing(language_model.folder / "config.json"):
        text_config.save_pretrained(language_model.folder)
        for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
            if (tokenizer_model / name).is_file():
                shutil.copyfile(tokenizer_model / name, language_model.folder / name)
    with writing(tower.folder / "config.json"):
        vision_config.save_pretrained(tower.folder)
        processor.image_processor.save_pretrained(tower.folder)
    stated = read_json(tower.folder / "config.json")
    # The converter of the image encoder reads here which layer's features to take.
    write_json(tower.folder / "config.json", {**stated, "mm_vision_select_layer": config.vision_feature_layer})
