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
"""Image processor of PALO: torchvision where it is installed (also on a GPU), Pillow where it is not."""

from typing import Any

import numpy as np
import torch
from transformers.image_processing_base import BatchFeature
from transformers.image_utils import ChannelDimension, SizeDict, torch_pil_interpolation_mapping
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import is_torchvision_available

from .image_processing_pil_palo import (
    PaloImageProcessingMixin,
    PaloImageProcessorKwargs,
    PaloImageProcessorPil,
    background_of,
    exceeds_limit,
    pad_and_resize,
)


# Backend name -> class, as AutoImageProcessor takes them.
IMAGE_PROCESSORS: dict[str, type] = {"pil": PaloImageProcessorPil}

if is_torchvision_available():
    from transformers.models.llava.image_processing_llava import LlavaImageProcessor

    class PaloImageProcessor(PaloImageProcessingMixin, LlavaImageProcessor):
        """
        As [`PaloImageProcessorPil`], with torchvision instead of Pillow. Padding is the same to the pixel; torchvision's
        bicubic filter rounds otherwise than Pillow's.
        """

        valid_kwargs = PaloImageProcessorKwargs

        def process_image(
            self,
            image: Any,
            do_convert_rgb: bool | None = None,
            input_data_format: str | ChannelDimension | None = None,
            device: torch.device | None = None,
            **kwargs: Unpack[ImagesKwargs],
        ) -> torch.Tensor:
            array = self._to_rgb_array(image, do_convert_rgb, kwargs.get("do_rescale"), input_data_format)
            if array is None:
                return super().process_image(
                    image, do_convert_rgb=False, input_data_format=input_data_format, device=device, **kwargs
                )
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        def pad_to_square(self, images: torch.Tensor, background_color: Any = 0) -> torch.Tensor:
            return super().pad_to_square(images, self._padding_of(images, background_color))

        def _preprocess(
            self,
            images: list[torch.Tensor],
            do_resize: bool,
            size: SizeDict,
            resample: Any,
            do_pad: bool | None,
            image_mean: float | list[float] | None,
            **kwargs: Any,
        ) -> BatchFeature:
            if do_pad and do_resize and size.shortest_edge and not size.longest_edge:
                images = [
                    self._pad_with_pillow(image, size.shortest_edge, background_of(image_mean), resample)
                    if image.dtype == torch.uint8 and exceeds_limit(max(image.shape[-2:]) ** 2)
                    else image
                    for image in images
                ]
            return super()._preprocess(
                images,
                do_resize=do_resize,
                size=size,
                resample=resample,
                do_pad=do_pad,
                image_mean=image_mean,
                **kwargs,
            )

        def _pad_with_pillow(
            self, image: torch.Tensor, side: int, colour: tuple[int, ...], resample: Any
        ) -> torch.Tensor:
            # torchvision would hold the whole square.
            resample = torch_pil_interpolation_mapping.get(resample, resample)
            pixels = pad_and_resize(image.cpu().numpy(), side, colour, resample)
            return torch.from_numpy(np.ascontiguousarray(pixels)).to(image.device)

    IMAGE_PROCESSORS["torchvision"] = PaloImageProcessor
else:
    PaloImageProcessor = PaloImageProcessorPil  # type: ignore[misc]


__all__ = ["PaloImageProcessor"]
