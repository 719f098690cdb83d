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
"""The images that records name: found under their root, and checked before training needs them."""

import os
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

from PIL import Image

from ..models.palo.image_loading_palo import DAMAGE, to_rgb
from .records import RejectReason


class ImageCheck(StrEnum):
    """How closely an image is looked at; each level includes the ones before."""

    EXISTENCE = "existence"  # the file is there, under its root
    HEADER = "header"  # it begins as a picture of acceptable size
    FULL = "full"  # it can be decoded to the end


@dataclass(frozen=True)
class ImageRoot:
    """A folder that images are under.

    Attributes:
        folder: What paths in records are relative to; itself absolute.
        linked: Other folders that links under it may lead to.
    """

    folder: str
    linked: tuple[str, ...] = ()

    def path_of(self, reference: str) -> str | None:
        """The absolute path of an image, or `None` if the reference itself leads out of the folder."""
        path = os.path.normpath(os.path.join(self.folder, reference))
        return path if not os.path.isabs(reference) and _is_under(path, self.folder) else None

    def holds(self, path: str) -> bool:
        """Whether the file that a path leads to, links followed, is under the folder or a linked one."""
        real = os.path.realpath(path)
        return any(_is_under(real, os.path.realpath(folder)) for folder in (self.folder, *self.linked))


def _is_under(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def check_image(image: str | bytes, root: ImageRoot | None, level: ImageCheck) -> RejectReason | None:
    """Look at one image: a path from [`ImageRoot.path_of`], or the bytes of an image file.

    Returns:
        What is wrong with it, or `None`.
    """
    if isinstance(image, str):
        try:
            if root is not None and not root.holds(image):
                return RejectReason.IMAGE_OUTSIDE_ROOT
            if not os.path.isfile(image):
                return RejectReason.IMAGE_MISSING
        except ValueError:  # a null byte in the path
            return RejectReason.IMAGE_MISSING
    if level is ImageCheck.EXISTENCE:
        return None
    file: Any = BytesIO(image) if isinstance(image, bytes) else image
    try:
        with Image.open(file) as picture:
            if level is ImageCheck.FULL:
                to_rgb(picture)
    except Image.DecompressionBombError:
        return RejectReason.IMAGE_BOMB
    except DAMAGE:
        return RejectReason.IMAGE_UNREADABLE
    return None
