"""Pixels equal to the original's, and images of every kind taken."""

import base64
import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from safetensors.torch import load_file
from transformers import AutoImageProcessor
from transformers.image_utils import infer_channel_dimension_format
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.utils import is_torchvision_available

from transformers_palo import PaloImageProcessor, PaloImageProcessorPil
from transformers_palo.data.images import ImageCheck, check_image
from transformers_palo.data.records import RejectReason
from transformers_palo.models.palo import image_processing_pil_palo
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


# ---- floats


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("values", ["unit", "bytes", "black and white"])
@pytest.mark.parametrize("options", [{}, {"do_normalize": False}, {"do_resize": False, "do_center_crop": False}])
def test_without_rescaling_floats_are_what_llavas_processor_makes_of_them(channels, values, options):
    generator = np.random.default_rng(0)
    array = generator.random((channels, 60, 80), dtype=np.float32)
    array = {"unit": array, "bytes": np.rint(array * 255), "black and white": np.rint(array)}[values]
    # Before Transformers 5.23 its processor does not make three channels of one.
    in_colour = np.ascontiguousarray(np.broadcast_to(array, (3, 60, 80)))
    stock = LlavaImageProcessorPil(**SMALL)
    for form in (array, torch.from_numpy(array), np.moveaxis(array, 0, -1)):
        actual = PaloImageProcessorPil(**SMALL)(
            form, do_rescale=False, do_pad=False, return_tensors="pt", **options
        ).pixel_values
        assert torch.equal(actual, stock(in_colour, do_rescale=False, return_tensors="pt", **options).pixel_values)
    square = array[:, :60, :60]
    padded = PaloImageProcessorPil(**SMALL)(square, do_rescale=False, return_tensors="pt", **options).pixel_values
    expected = stock(
        in_colour[:, :60, :60], do_rescale=False, do_pad=True, return_tensors="pt", **options
    ).pixel_values
    assert torch.equal(padded, expected)


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_without_rescaling_bytes_stay_bytes(kind):
    array = np.random.default_rng(0).integers(0, 256, (3, 40, 70)).astype(kind)
    for pad in (False, True):
        options = {"do_rescale": False, "do_pad": pad, "return_tensors": "pt"}
        actual = PaloImageProcessorPil(**SMALL)(array, **options).pixel_values
        assert torch.equal(actual, LlavaImageProcessorPil(**SMALL)(array.astype(np.uint8), **options).pixel_values)


@pytest.mark.parametrize("height", [33, 56, 90])
def test_without_rescaling_the_padding_is_in_the_units_of_the_picture(small, height):
    """Transformers' own processor pads floats of 0..1 with 122 and refuses the result; as bytes there is no such trap."""
    picture = np.random.default_rng(0).integers(0, 256, (height, 56, 3), dtype=np.uint8)
    # A little above each byte, so that truncating gives the byte.
    floats = (picture.astype(np.float32) + 0.25) / 256 * (256 / 255)
    expected = small(Image.fromarray(picture), return_tensors="pt").pixel_values
    actual = small(floats.clip(0, 1), do_rescale=False, return_tensors="pt").pixel_values
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_any_width_are_pictures(small, kind):
    tensor = torch.rand(3, 40, 56)
    actual = small(tensor.to(kind), return_tensors="pt").pixel_values
    expected = small(tensor, return_tensors="pt").pixel_values
    # bfloat16 has 8 bits: the last bit of a byte is lost.
    torch.testing.assert_close(actual, expected, atol=0.04, rtol=0)
    assert torch.equal(small(tensor * 255, return_tensors="pt").pixel_values, expected)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([-1.0, 1.0]), "-1 to 1"),
        (np.array([0.0, 1.2]), "0 to 1.2"),
        (np.array([0.0, 300.0]), "0 to 300"),
        (np.array([0.5, np.nan]), "nan to nan"),
        (np.array([-1, 255]), "-1 to 255"),
        (np.array([0, 256]), "0 to 256"),
    ],
)
def test_values_that_are_no_colours_are_refused(small, values, found):
    array = np.broadcast_to(values[:, None, None], (2, 5, 3))
    with pytest.raises(ValueError, match=f"Expected the values of an image between .*, found {found}: scale or clip"):
        small(array)


def test_what_rounding_leaves_is_no_reason_to_refuse():
    array = np.array([[[-1e-7, 0.5, 1 + 1e-6]]], dtype=np.float32)
    assert array_to_rgb(array, channels_last=True)[:, 0, 0].tolist() == [0, 128, 255]


def test_an_unknown_aspect_ratio():
    with pytest.raises(ValueError, match="must be 'pad' or 'crop', got 'anyres'"):
        PaloImageProcessorPil(image_aspect_ratio="anyres")


def test_the_option_is_saved(tmp_path):
    PaloImageProcessorPil(**SMALL, image_aspect_ratio="crop").save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path, backend="pil").do_pad is False


# ---- properties

MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
MODES += ["I", "F", "I;16", "I;16L", "I;16B", "I;16N"]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    mode=st.sampled_from(MODES),
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
@given(width=st.integers(1, 56), height=st.integers(1, 56), mode=st.sampled_from(MODES), seed=st.integers(0, 1000))
def test_padding_loses_no_pixel(width, height, mode, seed):
    image = random_image(width, height, mode, seed)
    side = max(width, height)
    processor = PaloImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    pixels = bytes_of(processor(image, return_tensors="pt").pixel_values[0]).numpy()
    top, left = (side - height) // 2, (side - width) // 2
    inside = pixels[:, top : top + height, left : left + width]
    assert np.array_equal(inside, np.moveaxis(np.asarray(to_rgb(image)), -1, 0))
    outside = np.ones((side, side), dtype=bool)
    outside[top : top + height, left : left + width] = False
    assert (np.array(IMAGES["background_rgb"]) == pixels[:, outside].T).all()


@settings(max_examples=20, deadline=None)
@given(
    pictures=st.lists(
        st.tuples(st.integers(1, 80), st.integers(1, 80), st.sampled_from(MODES)), min_size=2, max_size=5
    ),
    pad=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pixels_do_not_depend_on_the_batch(pictures, pad, seed):
    processor = PaloImageProcessorPil(**SMALL, do_pad=pad)
    images = [random_image(width, height, mode, seed + i) for i, (width, height, mode) in enumerate(pictures)]
    together = processor(images, return_tensors="pt").pixel_values
    for image, pixels in zip(images, together, strict=True):
        assert torch.equal(processor(image, return_tensors="pt").pixel_values[0], pixels)


@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 60), height=st.integers(1, 60), rows=st.integers(1, 7), seed=st.integers(0, 99))
def test_strips_are_no_other_pixels_than_the_whole_square(width, height, rows, seed):
    image = random_image(width, height, "RGB", seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_processing_pil_palo, "_STRIP_PIXELS", rows * height)
        in_strips = PaloImageProcessorPil(**SMALL)(image, return_tensors="pt").pixel_values
    assert torch.equal(
        in_strips, LlavaImageProcessorPil(**SMALL, do_pad=True)(image, return_tensors="pt").pixel_values
    )


def test_a_thin_picture_needs_no_square_in_memory():
    """In a process of its own, whose peak can be told: the square would be 576 MB."""
    script = (
        "import resource; from PIL import Image; from transformers_palo import PaloImageProcessorPil as P;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;"
        "P()(Image.new('RGB', (64, 48)), return_tensors='pt'); before = peak();"
        "[P()(Image.new('RGB', size, 'red')) for size in ((1, 12_000), (12_000, 1))]; print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 150


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, r"2 x 33000 pixels cannot be padded to a square: expected a longer side of at most 32,768"),
        ({"do_resize": False}, r"2 x 33000 pixels cannot be padded to a square: that would make 1,089,000,000 pixels"),
        (
            {"do_pad": False, "size": 70},
            r"2 x 33000 pixels cannot be cropped at 70 px: that would make 80,850,000 pixels",
        ),
    ],
)
def test_pictures_too_thin_to_square_are_refused(small, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        small(Image.new("RGB", (2, 33_000)), **options)


def random_image(width: int, height: int, mode: str, seed: int) -> Image.Image:
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode.startswith("I;16"):
        grey = np.asarray(image)[..., 0].astype(np.uint16) * 257
        return Image.frombytes(mode, image.size, grey.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "LAB":
        return Image.merge("LAB", image.split())
    for step in {"I": "L", "F": "L", "LA": "L", "La": "LA", "PA": "P", "RGBa": "RGBA"}.get(mode, ""), mode:
        image = image.convert(step) if step else image
    return image


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


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_every_mode_of_16_bits_is_scaled_however_dark_it_is(mode):
    grey = np.array([[0, 128, 129, 255, 257]], dtype=np.uint16)
    image = Image.frombytes(mode, (5, 1), grey.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("F", [0.0, 0.5, 1.0], [0, 128, 255]),
        ("F", [0.0, 128.4, 255.0], [0, 128, 255]),
        ("I", [0, 128, 255], [0, 128, 255]),
        ("I", [0, 32896, 65535], [0, 128, 255]),
    ],
)
def test_wide_modes_are_scaled_by_what_they_hold(mode, values, expected):
    image = Image.new(mode, (3, 1))
    image.putdata(values)
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("mode", "value", "found"),
    [("F", -5, "-5 to 0"), ("F", 1000, "0 to 1000"), ("I", -1, "-1 to 0"), ("I", 70000, "0 to 70000")],
)
def test_wide_modes_that_hold_no_colours_are_refused(small, tmp_path, mode, value, found):
    image = Image.new(mode, (2, 1))
    image.putpixel((0, 0), value)
    path = tmp_path / "depth.tiff"
    image.save(path)
    for source in (image, path):
        with pytest.raises(
            ValueError, match=f"Cannot use the image .*found {found}: scale or clip them first"
        ) as failure:
            small(source)
    assert "depth.tiff" in str(failure.value)


def test_an_image_without_pixels_is_refused(small):
    for empty in (Image.new("RGB", (0, 5)), np.zeros((0, 5, 3), dtype=np.uint8)):
        with pytest.raises(ValueError, match=r"Expected an image .*with pixels"):
            small(empty)


def test_an_animation_is_taken_at_the_frame_where_it_stands(small):
    """So that frames can be looked at one by one; a file that has just been opened stands at its first."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    animation = Image.open(buffer)
    seen = []
    for index, frame in enumerate(ImageSequence.Iterator(animation)):
        seen.append(np.asarray(to_rgb(frame))[0, 0].tolist())
        assert animation.tell() == index and animation.n_frames == 3
    assert seen == [[255, 0, 0], [0, 128, 0], [0, 0, 255]]
    animation.seek(2)
    by_object = small(animation, return_tensors="pt").pixel_values
    assert torch.equal(by_object, small(frames[2], return_tensors="pt").pixel_values)
    assert animation.tell() == 2, "the caller's object stays as it is"
    by_file = small(buffer.getvalue(), return_tensors="pt").pixel_values
    assert torch.equal(by_file, small(frames[0], return_tensors="pt").pixel_values)


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


@pytest.mark.parametrize(
    ("shape", "height", "width"),
    [((2, 9, 4), 2, 9), ((2, 9, 3), 2, 9), ((4, 9, 2), 9, 2), ((9, 2, 4), 9, 2), ((5, 9, 2), 5, 9), ((2, 5, 9), 5, 9)],
)
def test_two_is_no_count_of_channels_beside_one_that_is(shape, height, width):
    assert array_to_rgb(np.zeros(shape, dtype=np.uint8)).shape == (3, height, width)


@pytest.mark.parametrize("shape", [(3, 9, 4), (4, 9, 3), (1, 9, 3), (3, 9, 3), (1, 9, 4)])
def test_where_both_ends_could_be_channels_it_is_as_in_transformers(small, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = infer_channel_dimension_format(array, num_channels=(1, 3, 4))
    said = small(array, input_data_format=expected, return_tensors="pt").pixel_values
    assert torch.equal(small(array, return_tensors="pt").pixel_values, said)
    last = small(array, input_data_format="channels_last", return_tensors="pt").pixel_values
    assert not torch.equal(last, said)


@pytest.mark.parametrize("shape", [(2, 9, 2), (5, 6, 7), (9, 9, 5)])
def test_shapes_that_say_nothing_are_refused(small, shape):
    with pytest.raises(
        ValueError, match=r"1 to 4 channels, first or last, got an array of shape .* input_data_format="
    ):
        small(np.zeros(shape, dtype=np.uint8))


def test_a_stated_format_that_does_not_fit_is_refused(small):
    with pytest.raises(ValueError, match="Expected an image of 1 to 4 channels, got 9"):
        small(np.zeros((3, 8, 9), dtype=np.uint8), input_data_format="channels_last")


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_grey_arrays_need_no_channel(small, processor, kind):
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    expected = small(Image.fromarray(grey), return_tensors="pt").pixel_values
    assert torch.equal(small(kind(grey), return_tensors="pt").pixel_values, expected)
    by_array, by_image = (
        processor(text="<image>", images=[image], return_tensors="pt").pixel_values
        for image in (kind(grey), Image.fromarray(grey))
    )
    assert torch.equal(by_array, by_image)


def test_arrays_of_other_dimensions_are_refused_by_their_shape(small):
    for shape in [(5,), (1, 1, 3, 5, 5)]:
        with pytest.raises(ValueError, match=r"2 or 3 dimensions, got an array of shape"):
            small(np.zeros(shape, dtype=np.uint8))


# ---- what cannot be read


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("no/such/picture.png", "No image at 'no/such/picture.png': expected the path of a file"),
        (b"this is no image", "Cannot read the image 16 bytes: expected a picture"),
        (b"", "Cannot read the image 0 bytes"),
        # Letters, digits and slashes, four by four: base64 of something.
        ("images/cat12", "No image at 'images/cat12': expected the path of a file"),
        ("data", "No image at 'data': expected the path of a file"),
        ("data:text/plain;base64,aGVsbG8=", "No image at 'data:text/plain;base64,aGVsbG8=': expected the path"),
        (np.ones((3, 8, 8), dtype=complex), "Expected an image of real numbers, got an array of complex128"),
        (torch.ones((3, 8, 8), dtype=torch.complex64), r"real numbers, got an array of torch\.complex64"),
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


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_a_closed_image_is_said_to_be_closed(small, tmp_path, format):
    path = tmp_path / f"picture.{format.lower()}"
    golden_image("square").save(path)
    with Image.open(path) as left:
        pass
    closed, loaded = Image.open(path), Image.open(path)
    closed.close()
    loaded.load()
    loaded.close()
    with path.open("rb") as file:
        of_closed_file = Image.open(file)
    # Of WebP all bytes are read at once, so that closing the file alone takes nothing away.
    for image in (closed, loaded) if format == "WEBP" else (left, closed, loaded, of_closed_file):
        with pytest.raises(ValueError, match=r"^Cannot read the image .*: it is closed\. Open it again"):
            small(image)


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


@pytest.mark.skipif(not is_torchvision_available(), reason="torchvision is not installed")
def test_the_torchvision_backend_pads_floats_in_their_units_and_large_squares_with_pillow(monkeypatch):
    # Away from black and white: what the filter makes beyond them, torchvision clips in bytes only.
    image = random_image(90, 33, "RGB", 0).point(lambda value: 64 + value // 2)
    exact = PaloImageProcessorPil(**SMALL)(image, return_tensors="pt").pixel_values
    floats = torch.from_numpy(np.moveaxis(np.asarray(image), -1, 0) / np.float32(255))
    ours = PaloImageProcessor(**SMALL)(floats, do_rescale=False, return_tensors="pt").pixel_values
    torch.testing.assert_close(ours, exact, atol=0.04, rtol=0)
    monkeypatch.setattr(image_processing_pil_palo, "_MOST_PIXELS", 5000)
    ours = PaloImageProcessor(**SMALL)(image, return_tensors="pt").pixel_values
    torch.testing.assert_close(ours, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("format", "length"), [("JPEG", 30), ("WEBP", 20), ("PNG", 20)])
def test_a_file_that_is_cut_in_its_first_bytes_is_named(tmp_path, image, format, length):
    path = tmp_path / "cut.img"
    image.save(path, format)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"cut\.img"):
        load_image(str(path))


def test_a_sound_picture_with_damaged_exif_is_taken(tmp_path, image):
    """Upright where the orientation can be read, as it is stored where not: what a viewer shows."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "tag.jpg", exif=exif)
    content = (tmp_path / "tag.jpg").read_bytes()
    stored = np.asarray(Image.open(io.BytesIO(content)))
    shapes = [np.rot90(stored, turns).tobytes() for turns in range(4)]
    # The count and type of the orientation tag, overwritten: Pillow raises struct.error.
    start = content.index(b"Exif")
    seen = []
    for offset in range(start + 6, start + 6 + 26):  # the header, one tag, the end
        for value in (0x00, 0x05, 0xFF):
            damaged = load_image(content[:offset] + bytes([value]) + content[offset + 1 :])
            seen.append(np.asarray(damaged).tobytes())
            assert np.asarray(to_rgb(damaged)).tobytes() == seen[-1]  # nothing is turned twice
    assert shapes[0] in seen and shapes[3] in seen
    garbage = content[: start + 6] + b"garbage!" + content[start + 14 :]
    (tmp_path / "garbage.jpg").write_bytes(garbage)
    for source in (garbage, str(tmp_path / "garbage.jpg"), Image.open(io.BytesIO(garbage))):
        assert np.asarray(to_rgb(load_image(source))).tobytes() == shapes[0]
    assert check_image(garbage, None, ImageCheck.FULL) is None
    assert check_image(garbage[:-200], None, ImageCheck.FULL) is RejectReason.IMAGE_UNREADABLE


@pytest.mark.parametrize(
    ("options", "as_floats"),
    [({"do_rescale": False}, True), ({"size": {"height": 56, "width": 56}}, False)],
)
def test_where_the_whole_square_is_made_the_longer_side_is_at_most_8192(small, options, as_floats):
    """Refused before it is made; the guide names the number."""
    shape = (8193, 2, 3)
    picture = np.ones(shape, dtype=np.float32) if as_floats else np.ones(shape, dtype=np.uint8)
    with pytest.raises(ValueError, match=r"2 x 8193 pixels cannot be padded .* more than 67,108,864"):
        small(picture, **options)
    assert 8192**2 == 67_108_864
