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
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor


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


def best_device() -> str:
    """The fastest device that PyTorch sees."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_dtype(dtype: str, device: str) -> torch.dtype:
    """`"auto"` is float32 on a CPU, where half precision is slow, and bfloat16 elsewhere.

    Raises:
        ValueError: There is no such dtype.
    """
    if dtype == "auto":
        return torch.float32 if device.startswith("cpu") else torch.bfloat16
    resolved = getattr(torch, dtype, None)
    if not isinstance(resolved, torch.dtype):
        raise ValueError(f"Unknown dtype {dtype!r}: expected float32, bfloat16, float16 or auto.")
    return resolved


def load_for_inference(name: str, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Load a model and its processor from a folder or the Hub, in either layout.

    Args:
        name: Folder or Hub id.
        device: A torch device, or `"auto"` for the fastest there is.
        dtype: A torch dtype's name, or `"auto"`; see [`resolve_dtype`].
    """
    device = best_device() if device == "auto" else device
    model = AutoModelForImageTextToText.from_pretrained(name, dtype=resolve_dtype(dtype, device))
    return LoadedModel(name, model.to(device).eval(), AutoProcessor.from_pretrained(name))
