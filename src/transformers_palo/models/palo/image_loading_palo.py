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
from huggingface_hub.utils import httpx
from PIL import ExifTags, Image, UnidentifiedImageError
from transformers.image_utils import ChannelDimension, infer_channel_dimension_format, is_valid_image


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
# Pillow converts images with premultiplied alpha to nothing but their plain sisters.
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}

# A server that keeps silent for so long, in seconds, is taken for dead.
_PATIENCE = 30.0


def load_image(source: ImageSource) -> Any:
    """Open what points to an image; pass on what is one.

    Args:
        source: A path, an http(s) URL, a base64 string or data URI, the bytes of an image file, or an image
            (`PIL.Image.Image`, `numpy.ndarray`, `torch.Tensor`), which is returned as it is.

    Returns:
        An upright RGB `PIL.Image.Image`, or `source` itself if it is an image already; a grey array `(height, width)`
        gets a dimension for its channel.

    Raises:
        ValueError: There is no image there, or none that can be read; the message names it.
    """
    if isinstance(source, (bytes, bytearray)):
        return _decode(BytesIO(source), f"{len(source):,} bytes")
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        return _checked(source)
    if _begins_with(source, "http://", "https://"):
        content, content_type = _download(source)
        return _decode(BytesIO(content), _shown(source), found=f"what its server calls {content_type}")
    if os.path.isfile(source):
        return _decode(source, source)
    # The media type of a data URI is often a guess: the bytes decide.
    payload = source.split(",", 1)[1] if _begins_with(source, "data:") and "," in source else source
    try:
        # Encoders break their output into lines.
        content = base64.b64decode("".join(payload.split()), validate=True)
        return _decode(BytesIO(content), "in the base64 data")
    except (binascii.Error, UnicodeError, _NoPictureError):
        # Many a mistyped path, such as images/cat12, can be read as base64.
        raise ValueError(
            f"No image at {_shown(source)!r}: expected the path of a file, an http(s) URL, or the base64 data of a "
            "picture, and found none of them."
        ) from None


def _begins_with(source: str, *schemes: str) -> bool:
    return source[: max(map(len, schemes))].lower().startswith(schemes)


def _checked(image: Any) -> Any:
    if not is_valid_image(image):
        raise ValueError(
            f"Cannot use {type(image).__name__} as an image: expected a path, a URL, bytes, a Pillow image, a NumPy "
            "array or a tensor."
        )
    if isinstance(image, Image.Image):
        return image
    if "complex" in str(image.dtype):
        raise ValueError(f"Expected an image of real numbers, got an array of {image.dtype}.")
    if image.ndim not in (2, 3, 4):
        raise ValueError(f"Expected an image of 2 or 3 dimensions, got an array of shape {tuple(image.shape)}.")
    return image[None] if image.ndim == 2 else image


def _shown(source: str) -> str:
    # Long enough for any path; base64 data is longer.
    return source if len(source) <= 300 else f"{source[:77]}..."


def _download(url: str) -> tuple[bytes, str]:
    """What a URL leads to, and what its server calls it."""
    try:
        response = httpx.get(url, timeout=_PATIENCE, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"Cannot get the image {_shown(url)}: {reason}. Check the address, or get the file and give its path."
        ) from error
    if not response.is_success:
        raise ValueError(
            f"Cannot get the image {_shown(url)}: the server answered {response.status_code} {response.reason_phrase}."
        )
    if not response.content:
        raise ValueError(f"Cannot get the image {_shown(url)}: the server answered with an empty file.")
    return response.content, response.headers.get("content-type", "nothing").split(";")[0]


def _decode(file: Any, name: str, found: str = "none") -> Image.Image:
    try:
        with Image.open(file) as image:
            return to_rgb(image, name)
    except UnidentifiedImageError:
        raise _NoPictureError(
            f"Cannot read the image {name}: expected a picture in a format of Pillow (PNG, JPEG, WebP, ...), found "
            f"{found}."
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"Refused to decode the image {name}: {error}") from None
    except (FileNotFoundError, UnusableImageError):
        raise
    except DAMAGE as error:
        # A file that is cut within its first bytes.
        raise _damaged(name, error) from error


class UnusableImageError(ValueError):
    """What is wrong with an image is told already."""


class _NoPictureError(ValueError):
    """No format of Pillow's begins as these bytes do."""


def _damaged(name: str, error: Exception) -> UnusableImageError:
    # Of an image whose file is closed, Pillow says so or finds an assertion of its own broken.
    if isinstance(error, AssertionError) or (isinstance(error, ValueError) and "closed" in str(error)):
        return UnusableImageError(f"Cannot read the image {name}: it is closed. Open it again, or pass its path.")
    return UnusableImageError(
        f"Cannot read the image {name}: the file is truncated or damaged ({error}). Get it again, or leave it out."
    )


def to_rgb(image: Image.Image, name: str | None = None) -> Image.Image:
    """An upright 8-bit RGB copy of any Pillow image; `image` itself stays as it is.

    The EXIF orientation is applied; where the EXIF data cannot be read, the picture is taken as it is stored. Of an
    animation the frame is taken that the image stands at: the first, unless its owner has sought another. Transparency
    is dropped as the original drops it: the colours stored under transparent pixels show. Images of more than 8 bits
    are scaled (see [`array_to_rgb`]), where Pillow's own conversion would clip them; of mode `I` they are taken for 16
    bits wherever a value is above 255, for 8 bits otherwise.

    Raises:
        ValueError: The file behind the image is truncated, damaged or closed, or its values are no colours.
    """
    name = name or getattr(image, "filename", None) or "that was passed"
    try:
        return _upright_to_rgb(_upright(image))
    except UnusableImageError as error:
        raise UnusableImageError(f"Cannot use the image {name}: {error}") from None
    except (*DAMAGE, AssertionError) as error:
        raise _damaged(name, error) from error


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where Pillow looks for an orientation.
_ORIENTED_BY = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


def _upright(image: Image.Image) -> Image.Image:
    """A copy as it is to be seen, which tells no orientation any more.

    `ImageOps.exif_transpose` refuses a sound picture over a garbled tag, be it one that has nothing to do with this.
    """
    image.load()
    try:
        method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGE:
        method = None
    upright = image.copy() if method is None else image.transpose(method)
    for name in _ORIENTED_BY:
        upright.info.pop(name, None)
    return upright


def _upright_to_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise UnusableImageError(f"Expected an image with pixels, got one of {image.width} x {image.height}.")
    if image.mode in _WIDE_MODES:
        values = np.asarray(image)
        is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and values.max() > 255)
        image = Image.fromarray(_to_bytes(values, is_16_bit))
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    return image if image.mode == "RGB" else image.convert("RGB")


def array_to_rgb(array: np.ndarray, channels_last: bool | None = None, keep_floats: bool = False) -> np.ndarray:
    """Bring an array with 1 to 4 channels (grey, grey-alpha, RGB, RGBA) to `(3, height, width)`.

    Args:
        array: `(height, width)`, `(height, width, channels)` or `(channels, height, width)`. Integers are in 0..255,
            those of `uint16` in 0..65535; floats are in 0..1 or in 0..255.
        channels_last: Where the channels are; `None` to find out, as Transformers does.
        keep_floats: Leave the values of floats as they are, instead of making them bytes.

    Returns:
        `uint8`, or floats that were to be kept.

    Raises:
        ValueError: The array is no image.
    """
    array = _channels_first(np.asarray(array), channels_last)
    if array.shape[0] in (1, 2):
        array = np.broadcast_to(array[:1], (3, *array.shape[1:]))
    array = array[:3]
    return array if keep_floats and np.issubdtype(array.dtype, np.floating) else _to_bytes(array)


def _channels_first(array: np.ndarray, channels_last: bool | None) -> np.ndarray:
    if array.ndim == 2:
        array, channels_last = array[None], False
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"Expected an image of 2 or 3 dimensions with pixels, got an array of shape {array.shape}.")
    if channels_last is None:
        channels_last = _are_channels_last(array)
    if channels_last:
        array = np.moveaxis(array, -1, 0)
    if array.shape[0] not in (1, 2, 3, 4):
        raise ValueError(f"Expected an image of 1 to 4 channels, got {array.shape[0]}.")
    return array


def _are_channels_last(array: np.ndarray) -> bool:
    try:
        # Where both ends could be channels, it takes the first and says so.
        return infer_channel_dimension_format(array, num_channels=(1, 3, 4)) == ChannelDimension.LAST
    except ValueError:
        first, last = array.shape[0] == 2, array.shape[-1] == 2
    if first == last:
        raise ValueError(
            f"Expected an image of 1 to 4 channels, first or last, got an array of shape {array.shape}; if that is one, "
            "say input_data_format='channels_first' or 'channels_last'."
        )
    return last


def _to_bytes(values: np.ndarray, is_16_bit: bool = False) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values * np.uint8(255)
    lowest, highest = values.min(), values.max()
    if is_16_bit or (values.dtype.kind == "u" and values.dtype.itemsize == 2):
        _check_range(lowest >= 0 and highest <= 65535, lowest, highest, "between 0 and 65535")
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not np.issubdtype(values.dtype, np.floating):
        _check_range(lowest >= 0 and highest <= 255, lowest, highest, "between 0 and 255")
        return values.astype(np.uint8)
    # Half a byte beyond is what rounding leaves. Floats that end a little above 1 are neither: a filter overshot.
    in_unit = lowest >= -0.5 / 255 and highest <= 1 + 0.5 / 255
    in_bytes = lowest >= -0.5 and 2 <= highest <= 255.5
    _check_range(in_unit or in_bytes, lowest, highest, "between 0 and 1 or between 0 and 255")
    values = values.astype(np.float32) if values.dtype.itemsize < 4 else values
    return np.clip(np.rint(values * 255.0 if in_unit else values), 0, 255).astype(np.uint8)


def _check_range(is_inside: bool, lowest: Any, highest: Any, expected: str) -> None:
    if not is_inside:
        raise UnusableImageError(
            f"Expected the values of an image {expected}, found {lowest:g} to {highest:g}: scale or clip them first."
        )
