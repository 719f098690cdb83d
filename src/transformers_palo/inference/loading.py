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
"""A model, its processor, and where they run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import CONFIG_NAME

from ..models.palo.conversion_palo import read_json_object


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to answer.

    Attributes:
        name: Folder or Hub id that it came from.
        model: [`PaloForConditionalGeneration`], in evaluation mode.
        processor: [`PaloProcessor`].
    """

    name: str
    model: Any
    processor: Any

    def describe(self) -> str:
        """One line: which model, where, in what precision."""
        size = self.model.num_parameters()
        shown = f"{size / 1e9:.1f} billion" if size >= 1e9 else f"{size / 1e6:.1f} million"
        dtype = str(self.model.dtype).removeprefix("torch.")
        return f"{self.name}: {shown} parameters, {self.model.device.type}, {dtype}"

    def prepare(self, messages: list[dict[str, Any]]) -> Any:
        """Chat messages -> model inputs, on the model's device and in its dtype."""
        inputs = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        return inputs.to(self.model.device, dtype=self.model.dtype)


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str) -> torch.device:
    """`"auto"` is the fastest device that PyTorch sees.

    Raises:
        ValueError: There is no such device here.
    """
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        # Allocating says whether the device is there; a name alone can be anything.
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"Unknown device {device!r}: expected cpu, cuda, cuda:N, mps or auto, and one that this machine has."
        ) from error


def resolve_dtype(dtype: str, device: torch.device | None) -> torch.dtype:
    """`"auto"` is float32 on a CPU, where half precision is slow, and bfloat16 elsewhere; it needs a device.

    Raises:
        ValueError: There is no such dtype.
    """
    if dtype == "auto" and device is not None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        return DTYPES[dtype]
    except KeyError:
        raise ValueError(f"Unknown dtype {dtype!r}: expected one of {', '.join(DTYPES)}.") from None


def _check_folder(name: str) -> None:
    """A path without a model is told as such, not as a Hub id that is none."""
    folder = Path(name).expanduser()
    if (folder / CONFIG_NAME).is_file():
        # Transformers' Auto classes fail on what is no object before they know that it is ours.
        read_json_object(folder / CONFIG_NAME)
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if folder.is_dir() and not (folder / CONFIG_NAME).is_file():
        inside = sorted(str(path.parent) for path in folder.glob(f"*/{CONFIG_NAME}"))
        hint = f"did you mean {inside[0]}?" if inside else "give the folder that a model was saved to."
        raise FileNotFoundError(f"{name}: expected a model's folder with {CONFIG_NAME}, found none: {hint}")
    if looks_like_path and not folder.exists():
        raise FileNotFoundError(
            f"{name}: expected a model's folder or a Hub id such as MBZUAI/PALO-7B, found nothing."
        )


def load_for_inference(name: str, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Load a model and its processor from a folder or the Hub, in either layout.

    Args:
        name: Folder or Hub id.
        device: A torch device, or `"auto"` for the fastest there is.
        dtype: A torch dtype's name, or `"auto"`; see [`resolve_dtype`].

    Raises:
        FileNotFoundError: `name` is a path, and no model is there.
        ValueError: No such device or dtype, or a folder that holds something else.
    """
    _check_folder(name)
    target = resolve_device(device)
    model = AutoModelForImageTextToText.from_pretrained(name, dtype=resolve_dtype(dtype, target))
    return LoadedModel(name, model.to(target).eval(), AutoProcessor.from_pretrained(name))
