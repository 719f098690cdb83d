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
"""`palo env`: what a bug report needs to say."""

import importlib.metadata
import platform

import typer


PACKAGES = (
    "transformers-palo",
    "transformers",
    "torch",
    "torchvision",
    "tokenizers",
    "accelerate",
    "safetensors",
    "huggingface_hub",
    "trl",
    "peft",
    "datasets",
    "pillow",
)


def env() -> None:
    """Print versions of Python, of the packages that matter, and of the accelerator.

    Example:  palo env
    """
    rows = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            rows[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            rows[package] = "not installed"
    rows["accelerator"] = accelerator()
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"{name:<{width}}  {value}")


def accelerator() -> str:
    """The name of the accelerator that PyTorch sees, or `none`."""
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return "none"
