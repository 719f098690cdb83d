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
"""The processor of PALO: image processor, tokenizer and chat template in one."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers.image_utils import get_image_size, make_flat_list_of_images, to_numpy_array
from transformers.models.auto import AutoTokenizer
from transformers.processing_utils import MultiModalData, ProcessorMixin

from .configuration_palo import PaloConfig, num_patch_tokens, num_projected_tokens
from .image_processing_palo import PaloImageProcessor
from .tokenization_palo import IMAGE_TOKEN, TEXT_MARK, check_has_tokenizer, keep_typed_control_tokens_as_text


@cache
def default_chat_template() -> str:
    """PALO's chat template (Vicuna v1), as Jinja text."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


class PaloProcessor(ProcessorMixin):
    r"""
    Turns chats or rendered prompts, with their images, into what [`PaloForConditionalGeneration`] takes.

    In chat messages text is data: a typed `<image>`, `<s>` or `</s>` stays ordinary text. In a rendered prompt
    (`processor(text=...)`) `<image>` is the placeholder, and there must be as many as images.

    Args:
        image_processor ([`PaloImageProcessor`] or [`PaloImageProcessorPil`]):
            What prepares the pictures.
        tokenizer ([`PreTrainedTokenizerFast`]):
            The tokenizer of the language model. If it lacks `<image>`, the token is added to it. It pads on the left,
            to generate from batches; training collators say `padding_side="right"`.
        patch_size (`int`, *optional*, defaults to 14):
            Side of the tower's patches in pixels.
        vision_feature_select_strategy (`"default"` or `"full"`, *optional*, defaults to `"default"`):
            As in [`PaloConfig`]: patches only, or the class token as well.
        num_additional_image_tokens (`int`, *optional*, defaults to 1):
            Tokens that the tower puts in front of the patches: 1 for CLIP's class token, 0 for SigLIP.
        projector_type (`str`, *optional*, defaults to `"mlp"`):
            As in [`PaloConfig`]: the LDP makes a quarter of the tokens.
        chat_template (`str`, *optional*, defaults to PALO's):
            Jinja text.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        patch_size: int = 14,
        vision_feature_select_strategy: str = "default",
        num_additional_image_tokens: int = 1,
        projector_type: str = "mlp",
        chat_template: str | dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.patch_size = patch_size
        self.vision_feature_select_strategy = vision_feature_select_strategy
        self.num_additional_image_tokens = num_additional_image_tokens
        self.projector_type = projector_type
        self.image_token = IMAGE_TOKEN
        if IMAGE_TOKEN not in tokenizer.get_added_vocab():
            tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, normalized=False, special=True)], special_tokens=True)
        keep_typed_control_tokens_as_text(tokenizer)
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if chat_template is None:
            chat_template = default_chat_template()
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def from_config(cls, config: PaloConfig, tokenizer: Any, **image_kwargs: Any) -> "PaloProcessor":
        """The processor that fits a model of this configuration.

        Args:
            config: The model's configuration: image size, patches and projector come from it.
            tokenizer: The language model's tokenizer.
            **image_kwargs: For the image processor, such as `do_pad`, `image_mean` and `image_std`.

        Raises:
            ValueError: The tokenizer gives the placeholder another id than the configuration.
        """
        image_size = config.vision_config.image_size
        image_kwargs = {
            "size": {"shortest_edge": image_size},
            "crop_size": {"height": image_size, "width": image_size},
            **image_kwargs,
        }
        processor = cls(PaloImageProcessor(**image_kwargs), tokenizer, **_token_count_fields(config))
        processor._check_image_token(config)
        return processor

    def _check_image_token(self, config: PaloConfig) -> None:
        if self.image_token_id != config.image_token_id:
            raise ValueError(
                f"The tokenizer gives {IMAGE_TOKEN} the id {self.image_token_id}, the model's configuration "
                f"{config.image_token_id}: set image_token_index={self.image_token_id} in the configuration."
            )

    # ---- counting image tokens

    def _num_image_tokens(self, height: int, width: int) -> int:
        if height != width:
            patches = (height // self.patch_size) * (width // self.patch_size)
        else:
            patches = num_patch_tokens(height, self.patch_size)
        features = patches + self.num_additional_image_tokens
        if self.vision_feature_select_strategy == "default":
            features -= self.num_additional_image_tokens
        return num_projected_tokens(self.projector_type, features)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The placeholders of one image: as many as the model makes tokens of it."""
        height, width = get_image_size(to_numpy_array(image_inputs["pixel_values"][image_idx]))
        return self.image_token * self._num_image_tokens(height, width)

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """Token counts of images of these `(height, width)`, for engines that plan ahead (vLLM)."""
        if image_sizes is None:
            return MultiModalData()
        crop_size = kwargs.get("crop_size") or self.image_processor.crop_size
        count = self._num_image_tokens(crop_size["height"], crop_size["width"])
        return MultiModalData(num_image_tokens=[count] * len(image_sizes), num_image_patches=[1] * len(image_sizes))

    # ---- prompts

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        images, text, *rest = super().prepare_inputs_layout(images, text, *args, **kwargs)
        adds_bos = kwargs.get("add_special_tokens", kwargs.get("text_kwargs", {}).get("add_special_tokens", True))
        if adds_bos is not False and text is not None:
            # A prompt that tokenizer.apply_chat_template rendered has its BOS written out; the tokenizer adds its own.
            text = [self._without_rendered_bos(prompt) for prompt in text]
        return (images, text, *rest)

    def _without_rendered_bos(self, prompt: Any) -> Any:
        bos = self.tokenizer.bos_token
        return prompt.removeprefix(bos + TEXT_MARK) if bos and isinstance(prompt, str) else prompt

    def validate_inputs(self, images: Any = None, text: Any = None, *args: Any, **kwargs: Any) -> None:
        """Unequal counts of images and placeholders are an error that names both."""
        if text is not None and all(isinstance(prompt, str) for prompt in text):
            placeholders = [prompt.count(self.image_token) for prompt in text]
            if _is_nested(images) and len(images) == len(text):
                for index, (count, own_images) in enumerate(zip(placeholders, images, strict=True)):
                    _check_counts(count, len(own_images), f"prompt {index}")
            else:
                num_images = 0 if images is None else len(make_flat_list_of_images(images))
                _check_counts(sum(placeholders), num_images, "all")
        super().validate_inputs(images, text, *args, **kwargs)

    def apply_chat_template(self, conversation: Any, *args: Any, tokenize: bool = False, **kwargs: Any) -> Any:
        """See [`ProcessorMixin.apply_chat_template`].

        Rendered without tokenizing, the prompt has no BOS in it, as the original's has none: the processor adds it.

        Raises:
            ValueError: A message is not shaped as messages are, or has an image part without an image; it is named.
        """
        images_elsewhere = kwargs.get("images") or (kwargs.get("processor_kwargs") or {}).get("images")
        conversation = _well_formed(conversation, needs_images=tokenize and not images_elsewhere)
        output = super().apply_chat_template(conversation, *args, tokenize=tokenize, **kwargs)
        if tokenize:
            return output
        if isinstance(output, str):
            return self._without_rendered_bos(output)
        return [self._without_rendered_bos(prompt) for prompt in output]

    # ---- reading folders

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        processor_dict, rest = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        if not processor_dict.get("processor_class"):
            # A released folder has no processor of any kind: everything follows from its configuration.
            config = PaloConfig.from_pretrained(pretrained_model_name_or_path, **_hub_kwargs(kwargs))
            processor_dict = {**_token_count_fields(config), **processor_dict}
        return processor_dict, rest

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: Any, processor_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        check_has_tokenizer(Path(pretrained_model_name_or_path, kwargs.get("subfolder") or ""))
        if (processor_dict or {}).get("processor_class"):
            return super()._get_arguments_from_pretrained(pretrained_model_name_or_path, processor_dict, **kwargs)
        hub_kwargs = _hub_kwargs(kwargs)
        config = PaloConfig.from_pretrained(pretrained_model_name_or_path, **hub_kwargs)
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, config=config, **hub_kwargs)
        processor = cls.from_released(config, tokenizer)
        return [processor.image_processor, processor.tokenizer]

    @classmethod
    def from_released(cls, config: PaloConfig, tokenizer: Any) -> "PaloProcessor":
        """The processor of a checkpoint in the released layout, which has none: everything follows from its config."""
        released = config._released
        image_kwargs: dict[str, Any] = {}
        if released is not None:
            image_kwargs = _tower_normalization(released.vision_tower)
            image_kwargs["do_pad"] = released.image_aspect_ratio in (None, "pad")
        return cls.from_config(config, tokenizer, **image_kwargs)


_IMAGE_KEYS = ("image", "url", "path", "base64")


def _well_formed(conversation: Any, needs_images: bool) -> Any:
    """The conversation, or the list of them, without what Arrow puts where a part has no such field: `None`."""
    if not conversation:
        raise ValueError("The conversation is empty: expected a list of messages.")
    if isinstance(conversation[0], (list, tuple)):
        return [_well_formed(one, needs_images) for one in conversation]
    return [_well_formed_message(message, f"Message {i}", needs_images) for i, message in enumerate(conversation, 1)]


def _well_formed_message(message: Any, name: str, needs_images: bool) -> Any:
    if not isinstance(message, dict):
        raise ValueError(f"{name}: expected a dictionary with a role and a content, found {type(message).__name__}.")
    content = message.get("content")
    name = f"{name} ({message.get('role')})"
    if content is None or isinstance(content, str):
        return message
    if not isinstance(content, (list, tuple)):
        raise ValueError(f"{name}: expected a string or a list of parts as content, found {type(content).__name__}.")
    parts = []
    for part in content:
        if not isinstance(part, dict) or "type" not in part:
            raise ValueError(
                f"{name}: expected parts such as {{'type': 'text', 'text': 'What is it?'}}, found {str(part)[:80]!r}."
            )
        part = {key: value for key, value in part.items() if value is not None}
        given = [key for key in _IMAGE_KEYS if key in part]
        if needs_images and part.get("type") == "image" and len(given) != 1:
            raise ValueError(
                f"{name}: expected an image part to have one of {', '.join(_IMAGE_KEYS)}, found "
                f"{' and '.join(given) or 'none of them'}."
            )
        parts.append(part)
    return {**message, "content": parts}


def _check_counts(num_placeholders: int, num_images: int, where: str) -> None:
    if num_placeholders != num_images:
        raise ValueError(
            f"The number of {IMAGE_TOKEN} tokens in the prompts should be the same as the number of images passed. Found "
            f"{num_placeholders} {IMAGE_TOKEN} tokens and {num_images} images in {where}. Write one {IMAGE_TOKEN} for "
            "every image, or pass chat messages to apply_chat_template."
        )


def _is_nested(images: Any) -> bool:
    return isinstance(images, (list, tuple)) and len(images) > 0 and all(isinstance(i, (list, tuple)) for i in images)


def _token_count_fields(config: PaloConfig) -> dict[str, Any]:
    return {
        "patch_size": config.vision_config.patch_size,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        "num_additional_image_tokens": int(config.has_class_token),
        "projector_type": config.projector_type,
    }


def _hub_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    names = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "proxies")
    return {name: kwargs[name] for name in names if kwargs.get(name) is not None}


def _tower_normalization(vision_tower: str) -> dict[str, Any]:
    """Mean and deviation with which a tower was trained, if its folder says so; CLIP's otherwise."""
    path = os.path.join(vision_tower, "preprocessor_config.json")
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as reader:
        stated = json.load(reader)
    return {name: stated[name] for name in ("image_mean", "image_std") if name in stated}


__all__ = ["PaloProcessor"]
