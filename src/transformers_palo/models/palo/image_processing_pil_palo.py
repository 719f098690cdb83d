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
"""Image processor of PALO, Pillow backend: exactly the original's pixels."""

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image
from transformers.image_processing_base import BatchFeature
from transformers.image_transforms import normalize, rescale
from transformers.image_utils import ChannelDimension, ImageType, PILImageResampling, SizeDict, get_image_type
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import TensorType

from .image_loading_palo import array_to_rgb, load_image, to_rgb


class PaloImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """
    image_aspect_ratio (`"pad"` or `"crop"`, *optional*):
        What makes an image square, under the original's name: `"pad"` is `do_pad=True`, `"crop"` is `do_pad=False`.
    """

    image_aspect_ratio: str | None


class PaloImageProcessingMixin:
    """What both backends share: the defaults, and which images they take."""

    valid_kwargs: Any = PaloImageProcessorKwargs
    size = {"shortest_edge": 336}
    crop_size = {"height": 336, "width": 336}
    do_pad = True

    def _standardize_kwargs(self, image_aspect_ratio: str | None = None, **kwargs: Any) -> dict[str, Any]:
        if image_aspect_ratio is not None:
            if image_aspect_ratio not in ("pad", "crop"):
                raise ValueError(f"image_aspect_ratio must be 'pad' or 'crop', got {image_aspect_ratio!r}.")
            kwargs["do_pad"] = image_aspect_ratio == "pad"
        return super()._standardize_kwargs(**kwargs)  # type: ignore[misc]

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open paths, URLs, bytes and base64 data, in lists of any depth; see [`load_image`]."""
        if isinstance(image_url_or_urls, (list, tuple)):
            return [self.fetch_images(item) for item in image_url_or_urls]
        return load_image(image_url_or_urls)

    def _to_rgb_array(self, image: Any, do_convert_rgb: bool | None, input_data_format: Any) -> np.ndarray | None:
        """`(3, height, width)` uint8, or `None` where the caller wants the channels as they are."""
        if not do_convert_rgb:
            return None
        image_type = get_image_type(image)
        if image_type == ImageType.PIL:
            return np.moveaxis(np.asarray(to_rgb(image)), -1, 0)
        if image_type == ImageType.TORCH:
            image = image.detach().cpu().numpy()
        known = None if input_data_format is None else ChannelDimension(input_data_format) == ChannelDimension.LAST
        return array_to_rgb(image, channels_last=known)


class PaloImageProcessorPil(PaloImageProcessingMixin, LlavaImageProcessorPil):
    r"""
    Prepares images as PALO was trained: pad to a square with CLIP's mean colour, resize (bicubic) to 336, normalise.

    `do_pad=False` (or `image_aspect_ratio="crop"`) is what the original's benchmark script does instead: the shorter
    edge to 336 and the centre cut out, which loses the rest. Keep it to reproduce published scores.

    Returns `pixel_values` of shape `(images, 3, 336, 336)`.

    Example:

    ```python
    >>> from PIL import Image
    >>> from transformers_palo import PaloImageProcessorPil

    >>> image = Image.new("RGB", (640, 480), "navy")
    >>> PaloImageProcessorPil()(image, return_tensors="pt").pixel_values.shape
    torch.Size([1, 3, 336, 336])

    ```
    """

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        **kwargs: Unpack[ImagesKwargs],
    ) -> np.ndarray:
        array = self._to_rgb_array(image, do_convert_rgb, input_data_format)
        if array is not None:
            return array
        return super().process_image(image, do_convert_rgb=False, input_data_format=input_data_format, **kwargs)

    def _preprocess(
        self,
        images: list[np.ndarray],
        do_resize: bool,
        size: SizeDict,
        resample: PILImageResampling | None,
        do_center_crop: bool,
        crop_size: SizeDict,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: float | list[float] | None,
        image_std: float | list[float] | None,
        do_pad: bool | None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        square: int = size.shortest_edge
        fits = do_pad and do_resize and do_center_crop and (crop_size.height, crop_size.width) == (square, square)
        usual_images = all(image.dtype == np.uint8 and image.shape[0] == 3 for image in images)
        if not (fits and do_rescale and do_normalize and usual_images):
            return super()._preprocess(
                images,
                do_resize=do_resize,
                size=size,
                resample=resample,
                do_center_crop=do_center_crop,
                crop_size=crop_size,
                do_rescale=do_rescale,
                rescale_factor=rescale_factor,
                do_normalize=do_normalize,
                image_mean=image_mean,
                image_std=image_std,
                do_pad=do_pad,
                return_tensors=return_tensors,
                **kwargs,
            )
        # The usual case, with the same pixels: a byte has 256 values, so what becomes of each is looked up, and the
        # picture goes through Pillow once.
        table = _normalized_bytes(rescale_factor, tuple(image_mean), tuple(image_std))  # type: ignore[arg-type]
        colour = tuple(int(value * 255) for value in image_mean)  # type: ignore[union-attr]
        pixel_values = [
            np.stack([table[channel][pixels[..., channel]] for channel in range(3)])
            for pixels in (_pad_and_resize(image, square, colour, resample) for image in images)
        ]
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)


@lru_cache(maxsize=8)
def _normalized_bytes(rescale_factor: float, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """What rescaling and normalising make of every byte, per channel: `(3, 256)`."""
    every_byte = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 1, 256), (3, 1, 256))
    first = ChannelDimension.FIRST
    values = normalize(
        rescale(every_byte, rescale_factor, input_data_format=first), mean, std, input_data_format=first
    )
    return np.ascontiguousarray(values[:, 0])


def _pad_and_resize(image: np.ndarray, side: int, colour: tuple[int, ...], resample: Any) -> np.ndarray:
    """`(3, height, width)` uint8 -> `(side, side, 3)` uint8, padded to a square first."""
    _, height, width = image.shape
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    if width > height:
        # Pillow resizes rows first, rounds to bytes, then columns. A row of padding stays what it is, so the rows can be
        # resized before the padding comes: the same pixels for less work.
        picture = picture.resize((side, height), resample=resample)
        picture = _on_canvas(picture, (side, width), (0, (width - height) // 2), colour)
    elif height > width:
        picture = _on_canvas(picture, (height, height), ((height - width) // 2, 0), colour)
    return np.asarray(picture.resize((side, side), resample=resample))


def _on_canvas(
    picture: Image.Image, size: tuple[int, int], position: tuple[int, int], colour: tuple[int, ...]
) -> Image.Image:
    canvas = Image.new("RGB", size, colour)
    canvas.paste(picture, position)
    return canvas


__all__ = ["PaloImageProcessorPil"]
