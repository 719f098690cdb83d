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
from math import isqrt
from typing import Any

import numpy as np
import torch
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

    def _to_rgb_array(
        self, image: Any, do_convert_rgb: bool | None, do_rescale: bool | None, input_data_format: Any
    ) -> np.ndarray | None:
        """`(3, height, width)`, or `None` where the caller wants the channels as they are.

        The values are bytes; floats that are not to be rescaled stay floats, as in Transformers' own processors.
        """
        if not do_convert_rgb:
            return None
        image_type = get_image_type(image)
        if image_type == ImageType.PIL:
            return np.moveaxis(np.asarray(to_rgb(image)), -1, 0)
        if image_type == ImageType.TORCH:
            # NumPy has no bfloat16.
            image = (image.float() if image.dtype == torch.bfloat16 else image).detach().cpu().numpy()
        known = None if input_data_format is None else ChannelDimension(input_data_format) == ChannelDimension.LAST
        return array_to_rgb(image, channels_last=known, keep_floats=not do_rescale)

    def _padding_of(self, image: Any, background_color: Any) -> Any:
        """The colour in the units of the image; an error if the square would be too large."""
        height, width = image.shape[-2:]
        if height != width:
            _check_pixels(
                max(height, width) ** 2, f"A picture of {width} x {height} pixels cannot be padded to a square"
            )
        if isinstance(background_color, int) or not _is_in_unit_interval(image):
            return background_color
        # Resizing makes bytes of such values, and truncates.
        return tuple(min(1.0, (channel + 0.5) / 255) for channel in background_color)

    def resize(self, image: Any, size: SizeDict, *args: Any, **kwargs: Any) -> Any:
        """As Transformers' own, but no thin picture becomes a huge one: its shorter edge is magnified."""
        height, width = image.shape[-2:]
        if size.shortest_edge and not size.longest_edge:
            ratio = max(height, width) / min(height, width)
            _check_pixels(
                int(size.shortest_edge**2 * ratio),
                f"A picture of {width} x {height} pixels cannot be cropped at {size.shortest_edge} px",
            )
        return super().resize(image, size, *args, **kwargs)  # type: ignore[misc]


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
        array = self._to_rgb_array(image, do_convert_rgb, kwargs.get("do_rescale"), input_data_format)
        if array is not None:
            return array
        return super().process_image(image, do_convert_rgb=False, input_data_format=input_data_format, **kwargs)

    def pad_to_square(self, image: np.ndarray, background_color: Any = 0) -> np.ndarray:
        return super().pad_to_square(image, self._padding_of(image, background_color))

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
        if do_pad and do_resize and size.shortest_edge and not size.longest_edge:
            colour = background_of(image_mean)
            images = [
                pad_and_resize(image, size.shortest_edge, colour, resample) if _is_rgb_bytes(image) else image
                for image in images
            ]
        steps = {
            "do_resize": do_resize,
            "size": size,
            "resample": resample,
            "do_center_crop": do_center_crop,
            "crop_size": crop_size,
            "rescale_factor": rescale_factor,
            "image_mean": image_mean,
            "image_std": image_std,
            "do_pad": do_pad,
            **kwargs,
        }
        if not (do_rescale and do_normalize and all(map(_is_rgb_bytes, images))):
            return super()._preprocess(
                images, do_rescale=do_rescale, do_normalize=do_normalize, return_tensors=return_tensors, **steps
            )
        # A byte has 256 values, so what becomes of each is looked up: the same numbers for less work.
        sized = super()._preprocess(images, do_rescale=False, do_normalize=False, return_tensors=None, **steps)
        table = _normalized_bytes(rescale_factor, tuple(image_mean), tuple(image_std))  # type: ignore[arg-type]
        pixel_values = [
            np.stack([table[channel][pixels[channel]] for channel in range(3)]) for pixels in sized["pixel_values"]
        ]
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)


def _is_rgb_bytes(image: np.ndarray) -> bool:
    return image.dtype == np.uint8 and image.shape[0] == 3


def _is_in_unit_interval(image: Any) -> bool:
    is_float = (
        image.is_floating_point() if isinstance(image, torch.Tensor) else np.issubdtype(image.dtype, np.floating)
    )
    return bool(is_float and image.min() >= 0 and image.max() <= 1)


def background_of(image_mean: Any) -> tuple[int, ...]:
    """The colour of the padding, in bytes, as the original computes it."""
    return tuple(int(value * 255) for value in image_mean)


# An image larger than this is not made in one piece.
_MOST_PIXELS = 2**26


def exceeds_limit(num_pixels: int) -> bool:
    """Whether an image of so many pixels is too large to be made in one piece."""
    return num_pixels > _MOST_PIXELS


def _check_pixels(num_pixels: int, complaint: str) -> None:
    if exceeds_limit(num_pixels):
        raise ValueError(
            f"{complaint}: that would make {num_pixels:,} pixels, more than {_MOST_PIXELS:,}. Cut it into pieces."
        )


@lru_cache(maxsize=8)
def _normalized_bytes(rescale_factor: float, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """What rescaling and normalising make of every byte, per channel: `(3, 256)`."""
    every_byte = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 1, 256), (3, 1, 256))
    first = ChannelDimension.FIRST
    values = normalize(
        rescale(every_byte, rescale_factor, input_data_format=first), mean, std, input_data_format=first
    )
    return np.ascontiguousarray(values[:, 0])


# A square of padding beyond this is refused; until then it is made in strips, which bounds memory but not time.
_MOST_PADDED_PIXELS = 2**30
_STRIP_PIXELS = 2**22


def pad_and_resize(image: np.ndarray, side: int, colour: tuple[int, ...], resample: Any) -> np.ndarray:
    """Pad to a square, then resize with Pillow, never holding the whole square.

    Pillow resizes the rows first, rounds them to bytes, then the columns. So the rows can be resized a strip at a time,
    and rows of padding, which stay what they are, not at all.

    Args:
        image: `(3, height, width)` uint8.
        side: Of the square that is returned, in pixels.
        colour: Of the padding, in bytes.
        resample: A filter of Pillow's.

    Returns:
        `(3, side, side)` uint8.

    Raises:
        ValueError: The square would have more than 2**30 pixels.
    """
    _, height, width = image.shape
    if max(height, width) ** 2 > _MOST_PADDED_PIXELS:
        raise ValueError(
            f"A picture of {width} x {height} pixels cannot be padded to a square: expected a longer side of at most "
            f"{isqrt(_MOST_PADDED_PIXELS):,} pixels. Cut it into pieces."
        )
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    if width > height:
        picture = picture.resize((side, height), resample=resample)
        picture = _on_canvas(picture, (side, width), (0, (width - height) // 2), colour)
    elif height > width:
        picture = _resize_padded_rows(picture, side, colour, resample)
    return np.moveaxis(np.asarray(picture.resize((side, side), resample=resample)), -1, 0)


def _resize_padded_rows(picture: Image.Image, side: int, colour: tuple[int, ...], resample: Any) -> Image.Image:
    width, height = picture.size
    resized = Image.new("RGB", (side, height))
    step = max(1, _STRIP_PIXELS // height)
    for top in range(0, height, step):
        rows = picture.crop((0, top, width, min(top + step, height)))
        strip = _on_canvas(rows, (height, rows.height), ((height - width) // 2, 0), colour)
        resized.paste(strip.resize((side, rows.height), resample=resample), (0, top))
    return resized


def _on_canvas(
    picture: Image.Image, size: tuple[int, int], position: tuple[int, int], colour: tuple[int, ...]
) -> Image.Image:
    canvas = Image.new("RGB", size, colour)
    canvas.paste(picture, position)
    return canvas


__all__ = ["PaloImageProcessorPil"]
