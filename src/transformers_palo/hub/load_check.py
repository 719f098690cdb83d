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
"""Does a folder load, and does it answer? Asked before it is published."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor


_MAX_NEW_TOKENS = 32


def sample_picture() -> Image.Image:
    """A red disc on white: no square, so that padding is tried as well."""
    image = Image.new("RGB", (320, 240), "white")
    ImageDraw.Draw(image).ellipse((100, 60, 220, 180), fill="red")
    return image


def answers_from(folder: Path, questions: list[str], trust_remote_code: bool) -> list[str]:
    """Load a model as its users will, and ask it about [`sample_picture`].

    Args:
        folder: The model's.
        questions: One chat each.
        trust_remote_code: Whether to load it by the code in the folder instead of this package's.

    Returns:
        The answers: a few tokens each, with an ellipsis where there would be more.

    Raises:
        ValueError: It does not load, lacks weights, or computes numbers that are none.
    """
    try:
        model, processor, loading = _load(folder, trust_remote_code)
    except Exception as error:
        raise ValueError(f"{folder.name} does not load: {_one_line(error, folder)}") from error
    for what in ("missing", "mismatched", "unexpected"):
        if names := sorted(map(str, loading[f"{what}_keys"])):
            raise ValueError(
                f"{folder.name} has {what} weights: {', '.join(names[:3])} ({len(names)} in all); save it again"
            )
    try:
        return _ask(model, processor, questions)
    except Exception as error:
        raise ValueError(f"{folder.name} loads, but does not answer: {_one_line(error, folder)}") from error


# A script: what is `None` in `sys.modules` cannot be imported.
_WITHOUT_PACKAGE = """
import importlib.util, json, pathlib, sys
sys.modules["transformers_palo"] = None
spec = importlib.util.spec_from_file_location("load_check", sys.argv[1])
load_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(load_check)
try:
    found = {"answers": load_check.answers_from(pathlib.Path(sys.argv[2]), json.loads(sys.argv[3]), trust_remote_code=True)}
except ValueError as error:
    found = {"problem": str(error)}
print(json.dumps(found))
"""


def answers_by_code(folder: Path, questions: list[str]) -> list[str]:
    """The same by the code in the folder, in a process that cannot import this package.

    Where it can, Transformers takes the package's classes even with `trust_remote_code=True`.

    Raises:
        ValueError: As [`answers_from`]; or the code ends the process.
    """
    with tempfile.TemporaryDirectory() as modules:
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_PACKAGE, __file__, str(folder), json.dumps(questions)],
            # Transformers keeps copies of the code that it runs: these are of no use afterwards.
            env={**os.environ, "HF_MODULES_CACHE": modules},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        *_, last = done.stderr.strip().splitlines() or [f"its process ended with exit code {done.returncode}"]
        raise ValueError(f"{folder.name} does not load by its own code: {last}")
    found = json.loads(done.stdout.splitlines()[-1])
    if "problem" in found:
        raise ValueError(found["problem"])
    return found["answers"]


def _load(folder: Path, trust_remote_code: bool) -> tuple[Any, Any, dict[str, Any]]:
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model, loading = AutoModelForImageTextToText.from_pretrained(
        folder, dtype="auto", output_loading_info=True, trust_remote_code=trust_remote_code
    )
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return model.to(device).eval(), processor, loading


def _ask(model: Any, processor: Any, questions: list[str]) -> list[str]:
    picture = {"type": "image", "image": sample_picture()}
    inputs = processor.apply_chat_template(
        [[{"role": "user", "content": [picture, {"type": "text", "text": question}]}] for question in questions],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    ).to(model.device, dtype=model.dtype)
    output = model.generate(
        **inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    if not all(bool(torch.isfinite(logits).all()) for logits in output.logits):
        raise ValueError("its logits are not finite (NaN or infinity): its weights, or their precision, are damaged")
    answers = []
    for tokens in output.sequences[:, inputs["input_ids"].shape[1] :]:
        # What ended before the others is filled up.
        ended = len(tokens) < _MAX_NEW_TOKENS or bool((tokens == processor.tokenizer.eos_token_id).any())
        answers.append(processor.decode(tokens, skip_special_tokens=True).strip() + ("" if ended else " …"))
    return answers


def _one_line(error: Exception, folder: Path) -> str:
    return " ".join(str(error).replace(f"{folder}/", "").split()) or type(error).__name__
