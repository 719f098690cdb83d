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
"""PALO model configuration, and the reading of the flat `config.json` that the released checkpoints carry."""

import math
import os
import re
from dataclasses import dataclass
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, CLIPVisionConfig, LlamaConfig, PreTrainedConfig
from transformers.models.llava.configuration_llava import LlavaConfig


# Towers whose hidden states carry no class token in front of the patches: with them there is nothing to cut off, so
# `vision_feature_select_strategy="default"` ("patches only") and `"full"` are the same thing.
TOWERS_WITHOUT_CLASS_TOKEN = frozenset({"siglip_vision_model"})

_CLIP_LARGE = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}

# Vision configs of the towers that released checkpoints name, so that reading a config asks no network.
KNOWN_VISION_TOWERS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14-336": {**_CLIP_LARGE, "image_size": 336},
    "openai/clip-vit-large-patch14": {**_CLIP_LARGE, "image_size": 224},
}

# The paper's three sizes (Section 4 and Table 1). MobileLLaMA-1.4B, Vicuna-7B-v1.5 and Vicuna-13B-v1.5.
_SIZES: dict[str, dict[str, Any]] = {
    "1.7b": {
        "projector_type": "ldp",
        "text": {
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 5632,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
        },
    },
    "7b": {
        "projector_type": "mlp",
        "text": {
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 11008,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
        },
    },
    "13b": {
        "projector_type": "mlp",
        "text": {
            "hidden_size": 5120,
            "num_hidden_layers": 40,
            "num_attention_heads": 40,
            "intermediate_size": 13824,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
        },
    },
}

# The most linear layers that a released MLP projector may have; its key map is written out up to here.
MAX_RELEASED_MLP_LAYERS = 16

# Model types under which the flat layout was released: PALO itself and the paper's two baselines.
RELEASED_MODEL_TYPES = ("palo", "llava", "mobilevlm")

# Keys of the flat `config.json` that describe neither the language model nor anything that we keep.
_RELEASED_ONLY_KEYS = frozenset(
    {
        "_name_or_path",
        "architectures",
        "freeze_mm_mlp_adapter",
        "freeze_mm_vision_resampler",
        "image_aspect_ratio",
        "image_grid_pinpoints",
        "model_type",
        "name_or_path",
        "tokenizer_model_max_length",
        "tokenizer_padding_side",
        "torch_dtype",
        "dtype",
        "transformers_version",
        "tune_mm_mlp_adapter",
        "tune_mm_vision_resampler",
        "unfreeze_mm_vision_tower",
        "use_mm_proj",
        "vision_tower_type",
    }
)
# What a tower's own config.json says about its file, not about the tower.
_NOT_OF_THE_TOWER = frozenset({"_name_or_path", "architectures", "dtype", "transformers_version"})
# What a caller may say about the whole model; everything else of the flat file belongs to the language model.
_TOP_LEVEL_KEYS = frozenset(
    {"attn_implementation", "experts_implementation", "output_attentions", "quantization_config"}
)


@dataclass(frozen=True)
class ReleasedLayout:
    """Where a configuration came from, when it was read from the original (released) layout.

    Attributes:
        folder: The checkpoint's folder or Hub id.
        vision_tower: `mm_vision_tower` as the checkpoint states it, or the folder it was resolved to. The tower's
            weights come from here when the checkpoint holds none (as after the original's FSDP runs).
        image_aspect_ratio: `"pad"`, `None` (the same), or `"crop"` and LLaVA's `"square"` (cropping); the image processor of the checkpoint follows it.
        model_max_length: `tokenizer_model_max_length`, if stated.
    """

    folder: str
    vision_tower: str
    image_aspect_ratio: str | None = None
    model_max_length: int | None = None


def num_patch_tokens(image_size: int, patch_size: int) -> int:
    """Number of patches of a square image: `(image_size // patch_size) ** 2`."""
    return (image_size // patch_size) ** 2


def num_projected_tokens(projector_type: str, num_features: int) -> int:
    """Image tokens that a projector makes of `num_features` features of one image.

    The LDP halves both sides of the patch grid, rounding up (24x24 -> 12x12, 27x27 -> 14x14); all others keep the
    number.

    Raises:
        ValueError: The LDP got features that form no square grid.
    """
    if projector_type != "ldp":
        return num_features
    side = math.isqrt(num_features)
    if side * side != num_features:
        raise ValueError(
            f"The LDP projector needs a square grid of patch features, but got {num_features} per image. Use "
            "`vision_feature_select_strategy='default'`, which leaves the class token out."
        )
    return math.ceil(side / 2) ** 2


@strict
class PaloConfig(LlavaConfig):
    r"""
    Configuration of [`PaloModel`] and [`PaloForConditionalGeneration`]: a CLIP tower, a projector and a causal
    language model, as in PALO (arXiv 2402.14818). It is [`LlavaConfig`] plus the choice of projector.

    Reading a folder in the released layout (a flat `config.json` with `mm_*` keys) gives the nested configuration;
    saving always writes the nested one.

    Args:
        vision_config (`dict` or `PreTrainedConfig`, *optional*, defaults to CLIP ViT-L/14 at 336 px):
            The vision tower. Any vision model of Transformers that returns hidden states and has `image_size` and
            `patch_size`.
        text_config (`dict` or `PreTrainedConfig`, *optional*, defaults to `LlamaConfig`):
            The language model: any causal language model of Transformers.
        projector_type (`"mlp"`, `"ldp"`, `"linear"` or `"identity"`, *optional*, defaults to `"mlp"`):
            What turns patch features into language model embeddings. `"ldp"` is MobileVLM's lightweight downsample
            projector, which makes a quarter of the tokens.
        projector_num_layers (`int`, *optional*, defaults to 2):
            Linear layers of the `"mlp"` projector, with an exact (erf) GELU between them. Other projectors ignore it.
        image_token_index (`int`, *optional*, defaults to the text vocabulary's size):
            Id of the image placeholder (alias `image_token_id`). The default is the first id outside the vocabulary,
            which is what the released vocabularies of 32000 need: the id never reaches the embedding table, nor is it
            ever generated. It may also lie inside.
        image_seq_length (`int`, *optional*):
            Tokens of one image, derived from the tower and the projector: 576, or 144 with the LDP. Stated and wrong,
            it is an error.
        projector_hidden_act, multimodal_projector_bias, vision_feature_layer, vision_feature_select_strategy,
        tie_word_embeddings: as in [`LlavaConfig`].

    Raises:
        ValueError: The parts do not fit together; the message says which and how.

    Example:

    ```python
    >>> from transformers_palo import PaloConfig

    >>> config = PaloConfig.from_size("1.7b")
    >>> config.projector_type, config.image_seq_length, config.image_token_id
    ('ldp', 144, 32000)

    ```
    """

    model_type = "palo"

    projector_type: Literal["mlp", "ldp", "linear", "identity"] = "mlp"
    projector_num_layers: int = 2
    image_token_index: int | None = None
    image_seq_length: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._released: ReleasedLayout | None = kwargs.pop("_released", None)
        super().__post_init__(**kwargs)
        if self.image_token_index is None:
            self.image_token_index = self.text_config.vocab_size
        if self.vision_config.model_type in TOWERS_WITHOUT_CLASS_TOKEN:
            self.vision_feature_select_strategy = "full"
        self._check_projector()
        derived = num_projected_tokens(self.projector_type, self.num_image_features)
        if self.image_seq_length not in (None, derived):
            raise ValueError(
                f"image_seq_length is {self.image_seq_length}, but the {self.projector_type} projector makes {derived} "
                f"tokens of the {self.num_image_features} features of an image. Leave image_seq_length out: it is derived."
            )
        self.image_seq_length = derived

    def _check_projector(self) -> None:
        if self.projector_num_layers < 1:
            raise ValueError(f"projector_num_layers must be at least 1, got {self.projector_num_layers}.")
        text_width = self.text_config.hidden_size
        if self.projector_type == "ldp" and text_width % 8:
            raise ValueError(f"The LDP projector needs a text hidden size that is a multiple of 8, got {text_width}.")
        if self.projector_type == "identity" and self.vision_feature_width != text_width:
            raise ValueError(
                "The identity projector needs vision features as wide as the language model, got "
                f"{self.vision_feature_width} and {text_width}."
            )
        if self.image_token_index is not None and self.image_token_index < 0:
            raise ValueError(f"image_token_index must not be negative, got {self.image_token_index}.")

    @property
    def has_class_token(self) -> bool:
        """Whether the tower puts a class token in front of the patches."""
        return self.vision_config.model_type not in TOWERS_WITHOUT_CLASS_TOKEN

    @property
    def num_image_features(self) -> int:
        """Features of one image that enter the projector (576 for CLIP ViT-L/14 at 336 px)."""
        patches = num_patch_tokens(self.vision_config.image_size, self.vision_config.patch_size)
        keeps_class_token = self.has_class_token and self.vision_feature_select_strategy == "full"
        return patches + int(keeps_class_token)

    @property
    def vision_feature_width(self) -> int:
        """Width of the features that enter the projector: the tower's, times the number of selected layers."""
        layers = 1 if isinstance(self.vision_feature_layer, int) else len(self.vision_feature_layer)
        return self.vision_config.hidden_size * layers

    @classmethod
    def from_size(cls, size: str, **kwargs: Any) -> "PaloConfig":
        """The configuration of one of the paper's models.

        Args:
            size: `"1.7b"` (MobilePALO), `"7b"` or `"13b"`, in either case.
            **kwargs: Fields of [`PaloConfig`] that shall differ.

        Raises:
            ValueError: There is no such size.
        """
        try:
            spec = _SIZES[size.lower()]
        except KeyError:
            raise ValueError(f"Unknown PALO size {size!r}: expected one of {', '.join(_SIZES)}.") from None
        text_config = LlamaConfig(vocab_size=32000, pad_token_id=0, **spec["text"])
        vision_config = CLIPVisionConfig(**KNOWN_VISION_TOWERS["openai/clip-vit-large-patch14-336"])
        fields = {
            "vision_config": vision_config,
            "text_config": text_config,
            "projector_type": spec["projector_type"],
            **kwargs,
        }
        return cls(**fields)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if is_released_layout(config_dict):
            # A relative `mm_vision_tower` is looked for beside the folder. (AutoConfig tells `from_dict` by itself.)
            config_dict["_folder"] = str(pretrained_model_name_or_path)
        return config_dict, kwargs

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike[str]) -> dict[str, Any]:
        # The one place that knows the file's name. Transformers itself fails on a missing attribute, later.
        return json_object(super()._dict_from_json_file(json_file), json_file)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """See [`PreTrainedConfig.from_dict`]; also takes the flat dictionary of the released layout."""
        model_type = config_dict.get("model_type", cls.model_type)
        if is_released_layout(config_dict):
            folder = str(config_dict.pop("_folder", kwargs.get("name_or_path", "")))
            folder = os.path.dirname(os.path.abspath(folder)) if os.path.isfile(folder) else folder
            config_dict = nested_from_released(config_dict, folder=folder)
        elif model_type != cls.model_type:
            raise ValueError(
                f"Expected a PALO configuration (model_type {cls.model_type!r}), found model_type {model_type!r}. Load "
                "it with its own class."
            )
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        output = super().to_dict()
        # Says where this object was read from; what is saved is always the nested layout with all its weights.
        output.pop("_released", None)
        return output


def json_object(content: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """What was read from a `config.json`, if it can be one.

    Raises:
        ValueError: It is a list, a string, a number or nothing.
    """
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected a JSON object of settings, found {type(content).__name__}. Get the file again."
        )
    return content


def is_released_layout(config_dict: dict[str, Any]) -> bool:
    """Whether this is the flat `config.json` of the original code (PALO, LLaVA-1.5 or MobileVLM)."""
    return (
        config_dict.get("model_type") in RELEASED_MODEL_TYPES
        and "vision_config" not in config_dict
        and "mm_vision_tower" in config_dict
    )


def parse_projector_name(name: str) -> tuple[str, int]:
    """Translate the original's `mm_projector_type` into `(projector_type, projector_num_layers)`.

    Raises:
        ValueError: The name is none that the original had. It silently builds its first LDP for any name that begins
            with `ldpnet`; we do not.
    """
    if name in ("linear", "identity"):
        return name, 2
    if name == "ldpnet":
        return "ldp", 2
    match = re.fullmatch(r"mlp(\d+)x_gelu", name)
    if match and 1 <= int(match.group(1)) <= MAX_RELEASED_MLP_LAYERS:
        return "mlp", int(match.group(1))
    raise ValueError(
        f"Unknown mm_projector_type {name!r}: expected 'linear', 'identity', 'ldpnet' or 'mlpNx_gelu' with a "
        f"number N from 1 to {MAX_RELEASED_MLP_LAYERS}."
    )


def nested_from_released(flat: dict[str, Any], folder: str) -> dict[str, Any]:
    """Turn the flat `config.json` of a released checkpoint into [`PaloConfig`]'s nested dictionary.

    Args:
        flat: The parsed file.
        folder: The checkpoint's folder or Hub id; a relative `mm_vision_tower` may be relative to its parent's parent.

    Raises:
        ValueError: The checkpoint needs something that this package does not do.
    """
    for key, meaning in (
        ("mm_use_im_start_end", "image start and end tokens around every image"),
        ("mm_use_im_patch_token", "an image patch token in its vocabulary"),
    ):
        if flat.get(key):
            raise ValueError(
                f"{folder or 'This checkpoint'} was trained with {meaning} ({key}: true), which is not supported: no "
                "released PALO, LLaVA-1.5 or MobileVLM checkpoint uses it."
            )
    aspect_ratio = flat.get("image_aspect_ratio")
    if aspect_ratio not in (None, "pad", "crop", "square"):
        # LLaVA-1.6's tiles ("anyres"): cropping instead would only make answers worse, without a word.
        raise ValueError(
            f"{folder or 'This checkpoint'}: expected image_aspect_ratio 'pad', 'crop' or 'square', found "
            f"{aspect_ratio!r}: PALO shows its tower a whole image once, and cannot run a model that was trained otherwise."
        )
    projector_type, projector_num_layers = parse_projector_name(flat.get("mm_projector_type", "linear"))
    tower, vision_config = resolve_vision_tower(flat["mm_vision_tower"], folder)
    feature = flat.get("mm_vision_select_feature", "patch")
    if feature not in ("patch", "cls_patch"):
        raise ValueError(f"Unknown mm_vision_select_feature {feature!r}: expected 'patch' or 'cls_patch'.")

    text_config: dict[str, Any] = {
        key: value
        for key, value in flat.items()
        if not key.startswith("mm_") and key not in _RELEASED_ONLY_KEYS and key not in _TOP_LEVEL_KEYS
    }
    nested: dict[str, Any] = {
        "model_type": PaloConfig.model_type,
        "architectures": ["PaloForConditionalGeneration"],
        "text_config": {"model_type": "llama", **text_config},
        "vision_config": vision_config,
        "projector_type": projector_type,
        "projector_num_layers": projector_num_layers,
        "vision_feature_layer": flat.get("mm_vision_select_layer", -2),
        "vision_feature_select_strategy": "default" if feature == "patch" else "full",
        "tie_word_embeddings": flat.get("tie_word_embeddings", False),
        "_released": ReleasedLayout(
            folder=folder,
            vision_tower=tower,
            image_aspect_ratio=aspect_ratio,
            model_max_length=flat.get("tokenizer_model_max_length"),
        ),
    }
    dtype = flat.get("dtype") or flat.get("torch_dtype")
    if dtype is not None:
        nested["dtype"] = dtype
    nested.update({key: flat[key] for key in _TOP_LEVEL_KEYS if key in flat})
    return nested


def resolve_vision_tower(name: str, folder: str) -> tuple[str, dict[str, Any]]:
    """Find a tower that a released checkpoint names.

    Known Hub ids come from a table and ask no network; then a folder, relative to the working directory or to the
    parent of the checkpoint's parent; then the Hub.

    Returns:
        The folder or Hub id of the tower, and its vision config as a dictionary with `model_type`.

    Raises:
        ValueError: There is no such tower anywhere.
    """
    if name in KNOWN_VISION_TOWERS:
        return name, dict(KNOWN_VISION_TOWERS[name])
    candidates = [name]
    if folder and not os.path.isabs(name):
        candidates.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(folder))), name))
    location = next((path for path in candidates if os.path.isfile(os.path.join(path, "config.json"))), name)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(location)
    except (OSError, ValueError) as error:
        looked = " and ".join(repr(path) for path in candidates)
        raise ValueError(
            f"Cannot find the vision tower {name!r} that {folder or 'this checkpoint'} names (mm_vision_tower): no folder "
            f"{looked} with a config.json, and it could not be read from the Hub ({str(error).splitlines()[0]})."
        ) from error
    vision_config = getattr(config, "vision_config", config)
    fields = {key: value for key, value in vision_config.to_dict().items() if key not in _NOT_OF_THE_TOWER}
    return location, {**fields, "model_type": vision_config.model_type}


__all__ = ["PaloConfig"]
