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
"""`palo ask`: questions about images, on the command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer


DEFAULT_MODEL = "MBZUAI/MobilePALO-1.7B"


def ask(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE... QUESTION", help="Paths or URLs of images, then the question."),
    ],
    model: Annotated[str, typer.Option(help="Folder or Hub id of a PALO model.")] = DEFAULT_MODEL,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The most tokens to answer with.")] = 512,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto.")] = "auto",
) -> None:
    """Ask a question about one or more images, in any of the ten languages.

    The answer streams to standard output; which model, device and dtype answer is told on standard error.

    Example:  palo ask boat.jpg "¿De qué color es el barco?" --model MBZUAI/PALO-7B
    """
    *images, question = arguments
    for image in images:
        if not image.startswith(("http://", "https://", "data:image/")) and not Path(image).is_file():
            raise ValueError(
                f"No image at {image!r}: expected the path of a file or an http(s) URL. The question comes last."
            )

    from transformers import TextStreamer

    from ..inference.loading import load_for_inference

    loaded = load_for_inference(model, device=device, dtype=dtype)
    print(f"{loaded.describe()}", file=sys.stderr)
    content = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": question}]
    inputs = loaded.prepare([{"role": "user", "content": content}])
    streamer = TextStreamer(loaded.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    loaded.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, streamer=streamer)
