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
"""`palo convert`: every released kind of checkpoint into a native one, or into what other programs read."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What to write."""

    palo = "palo"
    llava = "llava"
    llama_cpp = "llama.cpp"


LLAMA_CPP_STEPS = """Next, in a checkout of llama.cpp:
  python convert_hf_to_gguf.py {target}/language_model --outfile {target}/model.gguf
  python tools/mtmd/legacy-models/convert_image_encoder_to_gguf.py -m {target}/vision_tower --clip-model-is-vision \\
    --llava-projector {target}/llava.projector --projector-type {projector} --output-dir {target} \\
    --image-mean {mean} --image-std {std}
  llama-mtmd-cli -m {target}/model.gguf --mmproj {target}/mmproj-model-f16.gguf --chat-template vicuna --image photo.jpg"""


def convert(
    source: Annotated[
        str, typer.Argument(help="Folder or Hub id: released layout, LoRA or stage-1 output, or native.")
    ],
    target: Annotated[Path, typer.Argument(help="The folder to write; it must not exist yet.")],
    base_model: Annotated[
        str | None, typer.Option(help="Language model that a LoRA or stage-1 output is for.")
    ] = None,
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.palo,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or keep.")] = "keep",
    pad_vocab_to_multiple_of: Annotated[
        int | None, typer.Option(min=1, help="Rows for the placeholder, and padding, for engines that need them.")
    ] = None,
    keep_adapter: Annotated[
        bool, typer.Option("--keep-adapter", help="Write a LoRA as a PEFT adapter instead of merging it.")
    ] = False,
) -> None:
    """Convert a checkpoint: PALO, LLaVA-1.5 or MobileVLM as released, a LoRA output, a stage-1 projector.

    One shard is in memory at a time. An interrupted run leaves nothing that looks whole: run it again.

    Example:  palo convert MBZUAI/PALO-7B palo-7b --dtype bfloat16
    """
    from ..inference.loading import resolve_dtype
    from ..models.palo.export_palo import convert_checkpoint

    convert_checkpoint(
        source,
        target,
        base_model=base_model,
        format=format.value,
        dtype=None if dtype == "keep" else resolve_dtype(dtype, device=None),
        pad_vocab_to_multiple_of=pad_vocab_to_multiple_of,
        keep_adapter=keep_adapter,
    )
    typer.echo(f"Wrote {target}")
    if format is Format.llama_cpp:
        typer.echo(llama_cpp_steps(target))


def llama_cpp_steps(target: Path) -> str:
    """The commands that make GGUF files of what was written."""
    import torch

    from ..models.palo.image_processing_pil_palo import PaloImageProcessorPil

    names = torch.load(target / "llava.projector", map_location="meta", weights_only=True)
    projector = "ldp" if any("mb_block" in name for name in names) else "mlp"
    images = PaloImageProcessorPil.from_pretrained(target / "vision_tower")
    mean, std = (" ".join(map(str, values)) for values in (images.image_mean, images.image_std))
    return LLAMA_CPP_STEPS.format(target=target, projector=projector, mean=mean, std=std)
