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
"""Pictures to ask about: real scans of handwritten digits, one to three of them on a sheet of paper.

The scans are scikit-learn's `load_digits` (the test part of "Optical Recognition of Handwritten Digits", UCI): 1797
grey pictures of 8x8 pixels. They come with scikit-learn, so nothing is downloaded.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageOps


# A canvas is a grid of cells, and the tower's patches are these cells: 3x3 patches make 9 image tokens. Each digit
# stands near the middle of a cell, and no two share a column, so that left and right are never in doubt.
GRID = 3
CELL = 48
SIDE = GRID * CELL
MAX_DIGITS = GRID

PAPER = (252, 248, 238)
INK = (28, 42, 92)

_SCAN_SIDE = 8
_SCAN_LEVELS = 16
# Room round a scan, so that its corners stay on when it is tilted: the ink reaches the edge of most scans.
_MARGIN = 1
_MIN_SIZE, _MAX_SIZE = 40, 54
_JITTER = 6
_MAX_TILT = math.radians(10)
_MAX_SLANT = 0.15


@dataclass(frozen=True)
class Scan:
    """One scanned digit.

    Attributes:
        index: Its row in `load_digits`.
        digit: Which digit it is.
        ink: How much ink is where: grey (`L`), 8x8, 255 is ink.
    """

    index: int
    digit: int
    ink: Image.Image


@dataclass(frozen=True)
class Canvas:
    """A picture with one to three digits, each in a column of its own.

    Attributes:
        ink: How much ink is where: grey (`L`), `SIDE` x `SIDE`. Kept instead of the coloured picture, which takes
            three times the memory.
        digits: The digits, from left to right.
        cells: In which cell each of them stands, counted row by row.
        scans: Which scans they are (rows of `load_digits`).
    """

    ink: Image.Image
    digits: tuple[int, ...]
    cells: tuple[int, ...]
    scans: tuple[int, ...]

    @property
    def image(self) -> Image.Image:
        """The picture, RGB: blue ink on cream paper."""
        size = self.ink.size
        return Image.composite(Image.new("RGB", size, INK), Image.new("RGB", size, PAPER), self.ink)


def load_scans() -> list[Scan]:
    """Every scan that scikit-learn brings."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = np.rint(data.images * (255 / _SCAN_LEVELS)).astype(np.uint8)
    return [
        Scan(index, int(digit), Image.fromarray(picture))
        for index, (picture, digit) in enumerate(zip(pictures, data.target, strict=True))
    ]


def split_scans(scans: list[Scan], held_out_share: float, seed: int) -> tuple[list[Scan], list[Scan]]:
    """Scans to train on, and scans to judge by that are never trained on; the same share of every digit.

    Raises:
        ValueError: The share is not between 0 and 1.
    """
    if not 0 < held_out_share < 1:
        raise ValueError(f"The held-out share must lie between 0 and 1, got {held_out_share}.")
    rng = np.random.default_rng(seed)
    train: list[Scan] = []
    held_out: list[Scan] = []
    for digit in range(10):
        of_digit = [scan for scan in scans if scan.digit == digit]
        order = rng.permutation(len(of_digit))
        cut = round(len(of_digit) * held_out_share)
        held_out += [of_digit[i] for i in order[:cut]]
        train += [of_digit[i] for i in order[cut:]]
    return train, held_out


def draw_canvas(scans: list[Scan], num_digits: int, rng: np.random.Generator) -> Canvas:
    """Put one to three different scans onto a sheet, no two in one column."""
    columns = np.sort(rng.choice(GRID, num_digits, replace=False))
    rows = rng.integers(GRID, size=num_digits)
    return _draw(scans, [int(row * GRID + column) for row, column in zip(rows, columns, strict=True)], rng)


def draw_practice_sheet(scans: list[Scan], rng: np.random.Generator) -> Canvas:
    """Put different scans into any of the cells: more digits a sheet, for the tower to learn what they look like."""
    num_digits = int(rng.integers(1, GRID * GRID + 1))
    return _draw(scans, sorted(rng.choice(GRID * GRID, num_digits, replace=False).tolist()), rng)


def _draw(scans: list[Scan], cells: list[int], rng: np.random.Generator) -> Canvas:
    """Each scan near the middle of its cell, a little tilted and slanted, in its own size."""
    chosen = [scans[i] for i in rng.choice(len(scans), len(cells), replace=False)]
    sheet = Image.new("L", (SIDE, SIDE))
    for scan, cell in zip(chosen, cells, strict=True):
        row, column = divmod(cell, GRID)
        size = int(rng.integers(_MIN_SIZE, _MAX_SIZE + 1))
        written = _written(scan, size, rng)
        margin = (written.width - size) // 2
        left, top = (_place(place, size, rng) - margin for place in (column, row))
        box = (left, top, left + written.width, top + written.height)
        # Neighbours may touch: where they do, the darker ink shows.
        sheet.paste(ImageChops.lighter(sheet.crop(box), written), box)
    return Canvas(
        ink=sheet,
        digits=tuple(scan.digit for scan in chosen),
        cells=tuple(cells),
        scans=tuple(scan.index for scan in chosen),
    )


def _place(cell: int, size: int, rng: np.random.Generator) -> int:
    """Where a digit of this size begins, on one axis: it stays on the sheet."""
    middle = cell * CELL + CELL // 2 + int(rng.integers(-_JITTER, _JITTER + 1))
    return int(np.clip(middle - size // 2, 0, SIDE - size))


def _written(scan: Scan, size: int, rng: np.random.Generator) -> Image.Image:
    """The scan at `size` x `size` and a margin, tilted and slanted at random, as no two people hold a pen alike."""
    tilt, slant = rng.uniform(-_MAX_TILT, _MAX_TILT), rng.uniform(-_MAX_SLANT, _MAX_SLANT)
    scale = _SCAN_SIDE / size
    width = size + 2 * math.ceil(_MARGIN / scale)
    # Pillow asks where each pixel of the result comes from. Middle stays on middle.
    a, b = scale * math.cos(tilt), scale * (slant * math.cos(tilt) + math.sin(tilt))
    d, e = -scale * math.sin(tilt), scale * (math.cos(tilt) - slant * math.sin(tilt))
    c, f = (_SCAN_SIDE / 2 - (p + q) * width / 2 for p, q in ((a, b), (d, e)))
    padded = ImageOps.expand(scan.ink, border=_MARGIN)
    matrix = (a, b, c + _MARGIN, d, e, f + _MARGIN)
    return padded.transform((width, width), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC)
