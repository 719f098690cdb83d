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
"""Images as users have them (files, URLs, bytes, arrays, any mode of Pillow), made upright RGB pictures of 8 bits."""

import base64
import binascii
import os
import struct
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from transformers.image_utils import is_valid_image
from transformers.image_utils import load_image as load_image_from_url


ImageSource = Any  # str, os.PathLike, bytes, PIL.Image.Image, numpy.ndarray or torch.Tensor

# What Pillow's decoders raise over damaged files.
DAMAGE = (
    OSError,
    SyntaxError,
    EOFError,
    RuntimeError,
    ValueError,
    struct.error,
    TypeError,  # a fraction as the width of a TIFF, for one
    LookupError,
    ArithmeticError,
)

_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


def load_image(source: ImageSource) -> Any:
    """Open what points to an image; pass on what is one.

    Args:
        source: A path, an http(s) URL, a base64 string or data URI, the bytes of an image file, or an image
            (`PIL.Image.Image`, `numpy.ndarray`, `torch.Tensor`), which is returned as it is.

    Returns:
        An upright RGB `PIL.Image.Image`, or `source` itself if it is an image already.

    Raises:
        ValueError: There is no image there, or none that can be read; the message names it.
    """
    if isinstance(source, (bytes, bytearray)):
        return _decode(BytesIO(source), f"{len(source):,} bytes")
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        if not is_valid_image(source):
            raise ValueError(
                f"Cannot use {type(source).__name__} as an image: expected a path, a URL, bytes, a Pillow image, a NumPy "
                "array or a tensor."
            )
        return source
    if source.startswith(("http://", "https://")):
        return load_image_from_url(source)
    if os.path.isfile(source):
        return _decode(source, source)
    payload = source.split(",", 1)[1] if source.startswith("data:image/") and "," in source else source
    try:
        content = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        # Long enough for any path; base64 data is longer.
        shown = source if len(source) <= 300 else f"{source[:77]}..."
        raise ValueError(
            f"No image at {shown!r}: expected the path of a file, an http(s) URL, or base64 data, and found none of them."
        )
    return _decode(BytesIO(content), "the base64 data")


def _decode(file: Any, name: str) -> Image.Image:
    try:
        with Image.open(file) as image:
            return to_rgb(image, name)
    except UnidentifiedImageError:
        raise ValueError(
            f"Cannot read the image {name}: expected a picture in a format of Pillow (PNG, JPEG, WebP, ...), found none."
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"Refused to decode the image {name}: {error}") from None
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        # A file that is cut within its first bytes.
        raise ValueError(
            f"Cannot read the image {name}: the file is truncated or damaged ({error}). Get it again, or leave it out."
        ) from error


def to_rgb(image: Image.Image, name: str | None = None) -> Image.Image:
    """An upright 8-bit RGB copy of any Pillow image.

    The EXIF orientation is applied and the first frame of an animation is taken. Transparency is dropped as the
    original drops it: the colours stored under transparent pixels show. Grey images of 16 or 32 bits are scaled down,
    where Pillow's own conversion would clip them to white.

    Raises:
        ValueError: The file behind the image is truncated or damaged.
    """
    name = name or getattr(image, "filename", None) or "that was passed"
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in _WIDE_MODES:
            image = _to_8_bits(image)
        return image if image.mode == "RGB" else image.convert("RGB")
    except DAMAGE as error:
        raise ValueError(
            f"Cannot read the image {name}: the file is truncated or damaged ({error}). Get it again, or leave it out."
        ) from error


def _to_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    # Pillow opens 16-bit files in several modes; a 32-bit image that needs no more than 8 bits is one of 8 bits.
    if image.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def array_to_rgb(array: np.ndarray, channels_last: bool | None = None) -> np.ndarray:
    """Bring an array with 1 to 4 channels (grey, grey-alpha, RGB, RGBA) to `(3, height, width)` uint8.

    Args:
        array: `(height, width)`, `(height, width, channels)` or `(channels, height, width)`; integers in 0..255, or
            floats in 0..1.
        channels_last: Where the channels are; `None` to find out.

    Raises:
        ValueError: The array is no image.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim != 3:
        raise ValueError(f"Expected an image of 2 or 3 dimensions, got an array of shape {array.shape}.")
    else:
        first, last = array.shape[0] in (1, 2, 3, 4), array.shape[-1] in (1, 2, 3, 4)
        if not first and not last:
            raise ValueError(
                f"Expected an image of 1 to 4 channels, first or last, got an array of shape {array.shape}."
            )
        if channels_last is None:
            # Of two candidates, three channels are likelier than one; then channels come first, as in a tensor.
            channels_last = last and (not first or (array.shape[-1] == 3 and array.shape[0] != 3))
        if channels_last:
            array = np.moveaxis(array, -1, 0)
    if array.shape[0] in (1, 2):
        array = np.broadcast_to(array[:1], (3, *array.shape[1:]))
    array = array[:3]
    if np.issubdtype(array.dtype, np.floating):
        scale = 255.0 if array.max(initial=0.0) <= 1.0 else 1.0
        array = np.rint(array.astype(np.float64) * scale)
    elif array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype == np.uint16:
        array = array / 257
    return np.clip(array, 0, 255).astype(np.uint8)
