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
"""PyTorch PALO model: Transformers' Llava with PALO's projectors, released checkpoints, and a placeholder that may lie
outside the vocabulary."""

import copy
import inspect
import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModel
from transformers.cache_utils import Cache
from transformers.generation import CandidateGenerator, LogitsProcessorList, SuppressTokensLogitsProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import (
    LlavaCausalLMOutputWithPast,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaModelOutputWithPast,
    LlavaPreTrainedModel,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, logging, torch_compilable_check
from transformers.utils.generic import can_return_tuple

from .checkpoint_palo import (
    describe_unreadable,
    explain_incomplete,
    explain_partial,
    load_tower_state_dict,
    share_weights,
)
from .configuration_palo import PaloConfig
from .projectors_palo import build_projector


logger = logging.get_logger(__name__)

# What stays in the model's own precision when the language model is quantised: small, and the eyes of the model. Names
# are matched from their start: with the head, and (the last two) without.
MODULES_NOT_TO_QUANTIZE = (
    "lm_head",
    "model.vision_tower",
    "model.multi_modal_projector",
    "vision_tower",
    "multi_modal_projector",
)
# The name under which the quantisation methods of Transformers take modules to leave alone.
_SKIP_ATTRIBUTES = ("llm_int8_skip_modules", "modules_to_not_convert", "skip_modules")

_HUB_KWARGS = ("cache_dir", "local_files_only", "token", "revision", "subfolder", "proxies")


# Transformers 5.24 renamed `past_key_values` to `cache`, and returns all that the tower gave, not the features alone.
_CACHE = "cache" if "cache" in inspect.signature(LlavaModel.forward).parameters else "past_key_values"
_RETURNS_IMAGE_OUTPUTS = "image_outputs" in LlavaModelOutputWithPast.__dataclass_fields__


class PaloPreTrainedModel(LlavaPreTrainedModel):
    config: PaloConfig
    # A block adds its input to its output, so it must stay on one device.
    _no_split_modules = ["PaloLdpBlock"]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """See [`PreTrainedModel.from_pretrained`]. Also loads the released layout as it is.

        A quantisation config without a list of its own leaves tower, projector and `lm_head` alone.

        Raises:
            OSError: A weight file is not what it claims to be (pickled code, truncated, not a checkpoint), or there is
                none: of a LoRA or stage-1 output of the original, the message names the command that makes it whole.
            ValueError: A released checkpoint does not hold every weight, or holds some that belong nowhere.
        """
        if (quantization_config := kwargs.get("quantization_config")) is not None:
            kwargs["quantization_config"] = _leave_vision_alone(quantization_config)
        try:
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        except OSError as error:
            # No weights there, the base class says; it does not know what the original's training leaves instead.
            hub_kwargs = {name: kwargs[name] for name in _HUB_KWARGS if kwargs.get(name) is not None}
            hint = pretrained_model_name_or_path and explain_partial(pretrained_model_name_or_path, hub_kwargs)
            if hint:
                raise OSError(hint) from error
            raise

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """See [`PreTrainedModel.save_pretrained`]. Always writes the names of `state_dict()`.

        The base class would write the released names again, which nothing but this package and the original reads.
        """
        kwargs.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, *args, **kwargs)
        if kwargs.get("is_main_process", True):
            share_weights(save_directory)

    @staticmethod
    def _load_pretrained_model(
        model: Any,
        state_dict: dict[str, torch.Tensor] | None,
        checkpoint_files: list[str] | None,
        load_config: Any,
        expected_keys: list[str] | None = None,
    ) -> tuple[Any, Any]:
        load = LlavaPreTrainedModel._load_pretrained_model
        try:
            loading_info, offload_index = load(model, state_dict, checkpoint_files, load_config, expected_keys)
        except Exception as error:
            if (problem := describe_unreadable(checkpoint_files)) is not None:
                raise OSError(problem) from error
            raise

        released = model.config._released
        if released is None:
            return loading_info, offload_index
        prefix = "vision_tower." if model.base_model is model else f"{model.base_model_prefix}.vision_tower."
        tower_keys = {key for key in model.state_dict() if key.startswith(prefix)}
        if not tower_keys <= loading_info.missing_keys:
            return loading_info, offload_index
        # The checkpoint was saved without its tower: the weights are those of the tower that it names.
        tower = load_tower_state_dict(type(model.base_model.vision_tower), released, prefix)
        tower_info, _ = load(model, tower, None, load_config, expected_keys)
        loading_info.missing_keys -= tower_keys - tower_info.missing_keys
        loading_info.unexpected_keys |= tower_info.unexpected_keys
        loading_info.mismatched_keys |= tower_info.mismatched_keys
        return loading_info, offload_index

    @staticmethod
    def _finalize_model_loading(model: Any, load_config: Any, loading_info: Any) -> Any:
        if (released := model.config._released) is not None:
            # Before missing weights are made up at random: a released model without its projector would answer
            # nonsense, and the base class only logs a table.
            model._adjust_missing_and_unexpected_keys(loading_info)
            if (problem := explain_incomplete(model, released.folder, loading_info)) is not None:
                raise ValueError(problem)
        return LlavaPreTrainedModel._finalize_model_loading(model, load_config, loading_info)


class PaloModel(PaloPreTrainedModel, LlavaModel):
    """The PALO model without a language modelling head: tower, projector and language model."""

    # A whole checkpoint loads into the headless model without a warning.
    _keys_to_ignore_on_load_unexpected = {r"^lm_head\."}

    def __init__(self, config: PaloConfig) -> None:
        # Past LlavaModel's own __init__, which would build Llava's projector only for it to be thrown away.
        LlavaPreTrainedModel.__init__(self, config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.multi_modal_projector = build_projector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    @property
    def image_token_is_outside_vocabulary(self) -> bool:
        """Whether the placeholder's id has no row in the embedding table (as in the released vocabularies)."""
        return self.config.image_token_id >= self.get_input_embeddings().num_embeddings

    def get_placeholder_mask(
        self,
        input_ids: torch.LongTensor | None,
        inputs_embeds: torch.Tensor,
        image_features: torch.Tensor,
    ) -> torch.Tensor:
        """Where the rows of `image_features` go.

        Args:
            input_ids: `(batch, length)`, or `None` to find the placeholder by its embedding.
            inputs_embeds: `(batch, length, width)`.
            image_features: `(image tokens, width)`.

        Returns:
            A boolean mask `(batch, length, 1)`.

        Raises:
            ValueError: The counts of placeholders and image tokens differ; the message names both. Or there are only
                embeddings, and the placeholder has none.
        """
        if input_ids is None:
            if self.image_token_is_outside_vocabulary:
                raise ValueError(
                    "Images cannot be placed into `inputs_embeds`: the image placeholder's id "
                    f"({self.config.image_token_id}) lies outside the vocabulary and so has no embedding to look for. "
                    "Pass `input_ids`, or put the output of `get_image_features` into `inputs_embeds` yourself."
                )
            token = torch.full((), self.config.image_token_id, dtype=torch.long, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(token)).all(-1)
        else:
            mask = input_ids == self.config.image_token_id

        num_placeholders = mask.sum()
        num_image_tokens = image_features.numel() // image_features.shape[-1]
        torch_compilable_check(
            num_placeholders == num_image_tokens,
            lambda: (
                f"The prompt holds {int(num_placeholders)} image placeholders, but the images make {num_image_tokens} "
                f"image tokens ({self.config.image_seq_length} each). Prepare text and images together with the processor."
            ),
        )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    def _embed(self, input_ids: torch.LongTensor) -> torch.Tensor:
        """Embed `(batch, length)` ids. A placeholder outside the vocabulary never reaches the table."""
        if self.image_token_is_outside_vocabulary:
            # Whatever stands there is overwritten by image features: forward() has made sure that there are some.
            input_ids = cast(torch.LongTensor, input_ids.masked_fill(input_ids == self.config.image_token_id, 0))
        return self.get_input_embeddings()(input_ids)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_sizes: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | LlavaModelOutputWithPast:
        """Differs from Llava's only in the embedding of a placeholder that lies outside the vocabulary.

        The cache is `past_key_values`, or from Transformers 5.24 on `cache`: both names are taken there.
        """
        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if pixel_values is not None and mm_encoder_outputs is not None:
            raise ValueError("You cannot specify both pixel_values and mm_encoder_outputs at the same time")

        images = None if mm_encoder_outputs is None else mm_encoder_outputs.get("image")
        if images is None and pixel_values is not None:
            images = self.get_image_features(
                pixel_values=pixel_values,
                vision_feature_layer=vision_feature_layer,
                vision_feature_select_strategy=vision_feature_select_strategy,
                image_sizes=image_sizes,
                return_dict=True,
            )

        if inputs_embeds is None:
            self._check_images_for_placeholders(cast(torch.LongTensor, input_ids), has_images=images is not None)
            inputs_embeds = self._embed(cast(torch.LongTensor, input_ids))

        image_features = None
        if images is not None:
            image_features = torch.cat(list(images.pooler_output), dim=0).to(inputs_embeds.device, inputs_embeds.dtype)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds=inputs_embeds, image_features=image_features)
            inputs_embeds = inputs_embeds.masked_scatter(mask, image_features)

        if past_key_values is not None:
            kwargs[_CACHE] = past_key_values
        outputs = super().forward(
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        if _RETURNS_IMAGE_OUTPUTS:
            outputs.image_outputs = images
        else:
            outputs.image_hidden_states = image_features
        return outputs

    def _check_images_for_placeholders(self, input_ids: torch.LongTensor, has_images: bool) -> None:
        """A prompt with placeholders needs images. One-token inputs are decoding steps and hold none: no check there."""
        if has_images or input_ids.shape[-1] == 1 or not self.image_token_is_outside_vocabulary:
            return
        num_placeholders = (input_ids == self.config.image_token_id).sum()
        torch_compilable_check(
            num_placeholders == 0,
            lambda: (
                f"The prompt holds {int(num_placeholders)} image placeholders, but no images were passed: pass the "
                "processor's `pixel_values` along."
            ),
        )


class PaloForConditionalGeneration(PaloPreTrainedModel, LlavaForConditionalGeneration):
    """PALO with its language modelling head: answers questions about images."""

    def __init__(self, config: PaloConfig) -> None:
        # Past Llava's own __init__, which would build LlavaModel.
        LlavaPreTrainedModel.__init__(self, config)
        self.model = PaloModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        image_sizes: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | LlavaCausalLMOutputWithPast:
        r"""
        Args:
            input_ids: `(batch, length)`, with `config.image_token_id` once for every token of every image.
            pixel_values: `(images, 3, size, size)`, in the order of the placeholders.
            labels: `(batch, length)`; -100 is not supervised, nor is a placeholder outside the vocabulary.
            logits_to_keep: Compute the logits of the last so many positions only (0: of all).

        Example:

        ```python
        >>> from transformers import AutoModelForImageTextToText, AutoProcessor
        >>> import transformers_palo

        >>> model = AutoModelForImageTextToText.from_pretrained("MBZUAI/PALO-7B")  # doctest: +SKIP
        >>> processor = AutoProcessor.from_pretrained("MBZUAI/PALO-7B")  # doctest: +SKIP

        ```
        """
        if labels is not None and self.model.image_token_is_outside_vocabulary:
            # There is no such row to predict. `labels = input_ids.clone()` is common, and would fail in the loss.
            labels = cast(torch.LongTensor, labels.masked_fill(labels == self.config.image_token_id, -100))
        if past_key_values is not None:
            kwargs[_CACHE] = past_key_values
        return super().forward(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            vision_feature_layer=vision_feature_layer,
            vision_feature_select_strategy=vision_feature_select_strategy,
            labels=labels,
            logits_to_keep=logits_to_keep,
            image_sizes=image_sizes,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )

    def _get_logits_processor(
        self,
        generation_config: Any,
        input_ids_seq_length: int | None = None,
        encoder_input_ids: torch.LongTensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> LogitsProcessorList:
        """Processors look up scores by prompt id, which a placeholder outside the vocabulary has none of."""
        if encoder_input_ids is not None and self.model.image_token_is_outside_vocabulary:
            encoder_input_ids = _without_placeholder(encoder_input_ids, self.config.image_token_id)
        processors = super()._get_logits_processor(
            generation_config, input_ids_seq_length, encoder_input_ids, *args, **kwargs
        )
        if not self.model.image_token_is_outside_vocabulary:
            # A placeholder with a row of its own could be emitted. It never is. First in the list: where top-p or top-k
            # had kept nothing else, nothing would be left.
            processors.insert(0, SuppressTokensLogitsProcessor([self.config.image_token_id], device=self.device))
        return processors

    def _expand_multimodal_outputs(
        self,
        input_ids: torch.LongTensor,
        mm_encoder_output: dict[str, BaseModelOutputWithPooling],
        expand_size: int = 1,
        inputs_embeds: torch.Tensor | None = None,
    ) -> dict[str, BaseModelOutputWithPooling]:
        """Repeat every prompt's images for each of its beams, as a group: [A, B] -> [A, B, A, B].

        Transformers 5.18 repeats them one by one (A, A, B, B), which gives beams each other's images.
        """
        images = mm_encoder_output.get("image")
        if images is None or input_ids is None or input_ids.numel() == 0:
            return super()._expand_multimodal_outputs(input_ids, mm_encoder_output, expand_size, inputs_embeds)
        features = list(images.pooler_output)
        expanded: list[torch.Tensor] = []
        start = 0
        for num_placeholders in (input_ids == self.config.image_token_id).sum(-1).tolist():
            end = start + num_placeholders // features[0].shape[0]
            expanded += features[start:end] * expand_size
            start = end
        images.pooler_output = expanded
        return mm_encoder_output

    def _get_candidate_generator(self, *args: Any, **kwargs: Any) -> CandidateGenerator:
        candidate_generator = super()._get_candidate_generator(*args, **kwargs)
        if self.model.image_token_is_outside_vocabulary:
            return _PlaceholderFreeCandidates(candidate_generator, self.config.image_token_id)
        return candidate_generator


class _PlaceholderFreeCandidates(CandidateGenerator):
    """Shows a candidate generator (prompt lookup, a draft model) a prompt without ids that lie outside the vocabulary.

    Candidates come back with the prompt as it was. What the draft makes of the gap only affects how many of its
    candidates are accepted, never which tokens are generated.
    """

    def __init__(self, candidate_generator: CandidateGenerator, image_token_id: int) -> None:
        self.candidate_generator = candidate_generator
        self.image_token_id = image_token_id

    def get_candidates(self, input_ids: torch.LongTensor, **kwargs: Any) -> tuple[torch.LongTensor, Any]:
        visible = _without_placeholder(input_ids, self.image_token_id)
        candidate_ids, candidate_logits = self.candidate_generator.get_candidates(visible, **kwargs)
        new_ids = candidate_ids[:, input_ids.shape[1] :].to(input_ids.device)
        return cast(torch.LongTensor, torch.cat([input_ids, new_ids], dim=1)), candidate_logits

    def update_candidate_strategy(self, input_ids: torch.LongTensor, scores: torch.Tensor, num_matches: int) -> None:
        visible = _without_placeholder(input_ids, self.image_token_id)
        self.candidate_generator.update_candidate_strategy(visible, scores, num_matches)


def _without_placeholder(input_ids: torch.LongTensor, image_token_id: int) -> torch.LongTensor:
    return cast(torch.LongTensor, input_ids.masked_fill(input_ids == image_token_id, 0))


def _leave_vision_alone(quantization_config: Any) -> Any:
    """The same quantisation config, with tower, projector and head exempt unless it says itself what is."""
    if isinstance(quantization_config, Mapping):
        if any(quantization_config.get(name) is not None for name in _SKIP_ATTRIBUTES):
            return quantization_config
        # A dictionary becomes a config object inside Transformers, which ignores keys that its method does not have.
        from transformers.quantizers import AutoQuantizationConfig

        quantization_config = AutoQuantizationConfig.from_dict(dict(quantization_config))
    for name in _SKIP_ATTRIBUTES:
        if hasattr(quantization_config, name):
            if getattr(quantization_config, name) is None:
                quantization_config = copy.deepcopy(quantization_config)
                setattr(quantization_config, name, list(MODULES_NOT_TO_QUANTIZE))
            break
    return quantization_config


__all__ = ["PaloForConditionalGeneration", "PaloModel", "PaloPreTrainedModel"]
