"""Pixels equal to the original's, and images of every kind taken."""

import base64
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.utils import is_torchvision_available

from transformers_palo import PaloImageProcessor, PaloImageProcessorPil
from transformers_palo.models.palo.image_loading_palo import array_to_rgb, load_image, to_rgb

from .conftest import SHARED, golden_image, read_json


IMAGES = read_json(SHARED / "images.json")
SMALL = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}


@pytest.fixture(scope="module")
def small() -> PaloImageProcessorPil:
    return PaloImageProcessorPil(**SMALL)


def bytes_of(pixel_values: torch.Tensor) -> torch.Tensor:
    """Undo normalisation: which bytes went in."""
    mean, std = torch.tensor(IMAGES["image_mean"]), torch.tensor(IMAGES["image_std"])
    return ((pixel_values * std[:, None, None] + mean[:, None, None]) * 255).round().to(torch.uint8)


# ---- the original's pixels


@pytest.mark.parametrize("name", sorted(load_file(SHARED / "pixel_values.safetensors")))
def test_pixel_values_are_exact(small, name):
    expected = load_file(SHARED / "pixel_values.safetensors")[name]
    actual = small(golden_image(name.split(".")[0]), return_tensors="pt").pixel_values[0]
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


# The original pads and crops other modes than RGB wrongly; these are its results for images converted first.
@pytest.mark.parametrize("name", [n for n in load_file(SHARED / "pixel_values_u8.safetensors") if "pad_rgb" in n])
def test_padded_bytes_are_exact(small, name):
    expected = load_file(SHARED / "pixel_values_u8.safetensors")[name]
    unconverted = Image.open(SHARED / "images" / f"{name.split('.')[0]}.png")
    assert torch.equal(bytes_of(small(unconverted, return_tensors="pt").pixel_values[0]), expected)


@pytest.mark.parametrize("name", ["landscape", "portrait"])
@pytest.mark.parametrize("option", [{"do_pad": False}, {"image_aspect_ratio": "crop"}])
def test_cropping_as_the_originals_benchmark(small, name, option):
    expected = load_file(SHARED / "pixel_values_u8.safetensors")[f"{name}.nopad_raw"]
    actual = small(golden_image(name), return_tensors="pt", **option).pixel_values[0]
    assert torch.equal(bytes_of(actual), expected)
    set_up = PaloImageProcessorPil(**SMALL, **option)
    assert torch.equal(set_up(golden_image(name), return_tensors="pt").pixel_values[0], actual)


def test_defaults_are_palo_s():
    processor = PaloImageProcessorPil()
    assert (processor.size.shortest_edge, processor.do_pad) == (336, True)
    assert tuple(int(255 * mean) for mean in processor.image_mean) == tuple(IMAGES["background_rgb"])


def test_an_unknown_aspect_ratio():
    with pytest.raises(ValueError, match="must be 'pad' or 'crop', got 'anyres'"):
        PaloImageProcessorPil(image_aspect_ratio="anyres")


def test_the_option_is_saved(tmp_path):
    PaloImageProcessorPil(**SMALL, image_aspect_ratio="crop").save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path, backend="pil").do_pad is False


# ---- properties


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"]),
    seed=st.integers(0, 1000),
)
def test_any_size_and_mode(width, height, mode, seed):
    image = random_image(width, height, mode, seed)
    pixel_values = PaloImageProcessorPil(**SMALL)(image, return_tensors="pt").pixel_values
    assert pixel_values.shape == (1, 3, 56, 56)
    assert pixel_values.isfinite().all()


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 120), height=st.integers(1, 120), seed=st.integers(0, 1000))
def test_the_fast_path_is_llavas_slow_one(width, height, seed):
    """Transformers' own processor, padded, is the yardstick: the same pixels from the same steps."""
    image = random_image(width, height, "RGB", seed)
    stock = LlavaImageProcessorPil(**SMALL, do_pad=True)(image, return_tensors="pt").pixel_values
    assert torch.equal(PaloImageProcessorPil(**SMALL)(image, return_tensors="pt").pixel_values, stock)


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 56), height=st.integers(1, 56), seed=st.integers(0, 1000))
def test_padding_loses_no_pixel(width, height, seed):
    image = random_image(width, height, "RGB", seed)
    side = max(width, height)
    processor = PaloImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    pixels = bytes_of(processor(image, return_tensors="pt").pixel_values[0]).numpy()
    top, left = (side - height) // 2, (side - width) // 2
    inside = pixels[:, top : top + height, left : left + width]
    assert np.array_equal(inside, np.moveaxis(np.asarray(image), -1, 0))
    outside = np.ones((side, side), dtype=bool)
    outside[top : top + height, left : left + width] = False
    assert (np.array(IMAGES["background_rgb"]) == pixels[:, outside].T).all()


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 80), st.integers(1, 80)), min_size=2, max_size=5), seed=st.integers(0, 99)
)
def test_pixels_do_not_depend_on_the_batch(sizes, seed):
    processor = PaloImageProcessorPil(**SMALL)
    images = [random_image(width, height, "RGB", seed + i) for i, (width, height) in enumerate(sizes)]
    together = processor(images, return_tensors="pt").pixel_values
    for image, pixels in zip(images, together, strict=True):
        assert torch.equal(processor(image, return_tensors="pt").pixel_values[0], pixels)


def random_image(width: int, height: int, mode: str, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    if mode in ("LAB", "HSV", "YCbCr", "LA", "RGBA", "CMYK", "P", "1", "L", "I", "F"):
        return image.convert("L").convert(mode) if mode in ("I", "F", "LA") else convert(image, mode)
    return image


def convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", image.split())
    return image.convert(mode)


# ---- sources


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_every_source_gives_the_same_pixels(small, tmp_path):
    image = golden_image("landscape")
    path = tmp_path / "a picture.png"
    path.write_bytes(png(image))
    array = np.asarray(image)
    encoded = base64.b64encode(png(image)).decode()
    expected = small(image, return_tensors="pt").pixel_values
    for source in (
        str(path),
        path,
        png(image),
        encoded,
        f"data:image/png;base64,{encoded}",
        array,
        np.moveaxis(array, -1, 0),
        array.astype(np.float32) / 255,
        torch.from_numpy(array.copy()),
        torch.from_numpy(np.moveaxis(array, -1, 0).copy()),
    ):
        assert torch.equal(small(source, return_tensors="pt").pixel_values, expected)


def test_sources_inside_a_chat(processor, tmp_path):
    path = tmp_path / "picture.png"
    golden_image("square").save(path)
    by_path, by_image = (
        processor.apply_chat_template(
            [{"role": "user", "content": [content, {"type": "text", "text": "What?"}]}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).pixel_values
        for content in (
            {"type": "image", "path": str(path)},
            {"type": "image", "image": golden_image("square")},
        )
    )
    assert torch.equal(by_path, by_image)


def test_exif_orientation_is_applied(small):
    image = golden_image("landscape")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    turned = Image.open(io.BytesIO(buffer.getvalue()))
    expected = small(image.rotate(270, expand=True), return_tensors="pt").pixel_values
    assert torch.equal(small(turned, return_tensors="pt").pixel_values, expected)
    assert torch.equal(small(buffer.getvalue(), return_tensors="pt").pixel_values, expected)


def test_16_bit_grey_is_scaled_not_clipped():
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sixteen = Image.fromarray(eight.astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(to_rgb(sixteen))[..., 0], eight)
    reopened = Image.open(io.BytesIO(png(sixteen)))
    assert np.array_equal(np.asarray(to_rgb(reopened))[..., 0], eight)


def test_the_first_frame_of_an_animation(small):
    frames = [golden_image("square"), golden_image("square").rotate(90)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    assert torch.equal(
        small(buffer.getvalue(), return_tensors="pt").pixel_values, small(frames[0], return_tensors="pt").pixel_values
    )


def test_transparency_is_dropped_as_the_original_drops_it():
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert to_rgb(image).getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (37, 1), (3, 3), (2, 3), (3, 4)])
def test_tiny_images_are_not_mistaken_for_channels(small, shape):
    height, width = shape
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = small(Image.fromarray(pixels), return_tensors="pt").pixel_values
    assert torch.equal(small(Image.fromarray(pixels).convert("RGBA"), return_tensors="pt").pixel_values, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_of_one_to_four_channels(channels):
    array = np.random.default_rng(0).integers(0, 256, (8, 9, channels), dtype=np.uint8)
    for form in (array, np.moveaxis(array, -1, 0)):
        rgb = array_to_rgb(form)
        assert rgb.shape == (3, 8, 9)
        assert np.array_equal(rgb[0], array[..., 0])


# ---- what cannot be read


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("no/such/picture.png", "No image at 'no/such/picture.png': expected the path of a file"),
        (b"this is no image", "Cannot read the image 16 bytes: expected a picture"),
        (b"", "Cannot read the image 0 bytes"),
    ],
)
def test_what_is_no_image(small, source, complaint):
    with pytest.raises(ValueError, match=complaint):
        small(source)


def test_a_truncated_file_is_named(small, tmp_path):
    path = tmp_path / "half.png"
    path.write_bytes(png(golden_image("big"))[:4000])
    with pytest.raises(ValueError, match=r"half\.png: the file is truncated or damaged"):
        small(str(path))
    with pytest.raises(ValueError, match=r"half\.png: the file is truncated or damaged"):
        small(Image.open(path))


def test_a_decompression_bomb_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "bomb.png"
    golden_image("big").save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"Refused to decode the image .*bomb\.png"):
            load_image(str(path))


def test_something_that_is_no_image_at_all(small):
    with pytest.raises(ValueError, match="Cannot use int as an image: expected a path, a URL"):
        small(3)


# ---- backends


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
def test_without_torchvision_the_pil_backend_stands_in():
    assert PaloImageProcessor is PaloImageProcessorPil


@pytest.mark.skipif(not is_torchvision_available(), reason="torchvision is not installed")
@settings(max_examples=20, deadline=None)
@given(width=st.integers(2, 300), height=st.integers(2, 300), seed=st.integers(0, 99))
def test_the_torchvision_backend_is_close(width, height, seed):
    image = random_image(width, height, "RGB", seed)
    ours = PaloImageProcessor(**SMALL)(image, return_tensors="pt").pixel_values
    exact = PaloImageProcessorPil(**SMALL)(image, return_tensors="pt").pixel_values
    # One step of a byte is 0.015 after normalisation.
    torch.testing.assert_close(ours, exact, atol=0.04, rtol=0)


@pytest.mark.parametrize(("format", "length"), [("JPEG", 30), ("WEBP", 20), ("PNG", 20)])
def test_a_file_that_is_cut_in_its_first_bytes_is_named(tmp_path, image, format, length):
    path = tmp_path / "cut.img"
    image.save(path, format)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"cut\.img"):
        load_image(str(path))


def test_a_damaged_exif_tag_is_a_damaged_image(tmp_path, image):
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "tag.jpg", exif=exif)
    content = (tmp_path / "tag.jpg").read_bytes()
    # The count and type of the orientation tag, overwritten: Pillow raises struct.error.
    start = content.index(b"Exif")
    failures = 0
    for offset in range(start + 6, start + 40):
        for value in (0x00, 0x05, 0xFF):
            damaged = content[:offset] + bytes([value]) + content[offset + 1 :]
            try:
                load_image(damaged)
            except ValueError:
                failures += 1
    assert failures > 0
