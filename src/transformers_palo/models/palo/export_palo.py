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
"""Writing converted checkpoints: native folders, llava-hf folders, and what llama.cpp's converters read.

Weights stream from a [`WeightSource`] into shards, one shard in memory at a time. Everything is written into a folder
beside the target, which is renamed when it is whole.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, LlavaConfig, LlavaProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.utils import GENERATION_CONFIG_NAME

from .configuration_palo import PaloConfig
from .conversion_palo import LoraAdapter, Weights, WeightSource, open_source, read_json_object
from .key_map_palo import LLAVA_HF_KEY_MAP, rename
from .llama_cpp_palo import check_llama_cpp_can_express, write_llama_cpp
from .modeling_palo import PaloForConditionalGeneration
from .writing_palo import (
    MAX_SHARD_BYTES,
    ShardWriter,
    refuse_existing,
    whole_or_nothing,
    with_progress,
    write_json,
    writing,
)


FORMATS = ("palo", "llava", "llama.cpp")


def convert_checkpoint(
    source: str,
    target: str | Path,
    *,
    base_model: str | None = None,
    format: str = "palo",
    dtype: torch.dtype | None = None,
    pad_vocab_to_multiple_of: int | None = None,
    keep_adapter: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Convert a checkpoint of any released kind.

    Args:
        source: Folder or Hub id: released layout, LoRA or stage-1 output, or native.
        target: The folder to write; it must not exist yet.
        base_model: The language model that a LoRA or stage-1 output was trained on.
        format: `"palo"` (native), `"llava"` (a plain llava-hf folder) or `"llama.cpp"` (what its converters read).
        dtype: Precision to write; `None` keeps that of every weight.
        pad_vocab_to_multiple_of: Give the vocabulary rows for the placeholder and for padding up to such a multiple.
        keep_adapter: Do not merge a LoRA, but write it as a PEFT adapter into `target/adapter`.
        max_shard_bytes: The most bytes of one weight file.

    Returns:
        The folder.

    Raises:
        ValueError: The source is not what was expected, or the format cannot express it.
        OSError: A file is not what its name says, or the target exists.
    """
    # Before anything is downloaded.
    refuse_existing(Path(target))
    return write_checkpoint(
        open_source(source, base_model),
        target,
        format=format,
        dtype=dtype,
        pad_vocab_to_multiple_of=pad_vocab_to_multiple_of,
        keep_adapter=keep_adapter,
        max_shard_bytes=max_shard_bytes,
    )


def write_checkpoint(
    opened: WeightSource,
    target: str | Path,
    *,
    format: str = "palo",
    dtype: torch.dtype | None = None,
    pad_vocab_to_multiple_of: int | None = None,
    keep_adapter: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write an opened source to a folder. Arguments, result and errors are those of [`convert_checkpoint`]."""
    if keep_adapter and opened.adapter is None:
        raise ValueError(f"{opened.folder} holds no LoRA adapter to keep.")
    if keep_adapter and format == "llama.cpp":
        raise ValueError("The llama.cpp format cannot hold an adapter: leave out --keep-adapter, and it is merged.")
    write = {"palo": _write_native, "llava": _write_llava, "llama.cpp": write_llama_cpp}[format]
    config = opened.config
    if opened.adapter is not None:
        opened.adapter.check_fits(expected_shapes(config))
    if format == "llama.cpp":
        check_llama_cpp_can_express(config)
    if format == "llava":
        _check_llava_can_express(config)
        # Stock Llava embeds its placeholder, so the id needs a row.
        pad_vocab_to_multiple_of = pad_vocab_to_multiple_of or 64
    if pad_vocab_to_multiple_of is not None:
        rows = max(opened.vocabulary, config.image_token_id + 1)
        config.text_config.vocab_size = -(-rows // pad_vocab_to_multiple_of) * pad_vocab_to_multiple_of

    expected = expected_shapes(config)

    def weights() -> Weights:
        stream = opened.weights(merge=not keep_adapter)
        for name, tensor in checked(stream, expected, padded_from=opened.vocabulary, where=str(opened.folder)):
            yield name, tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)

    with whole_or_nothing(Path(target)) as folder:
        write(folder, opened, config, weights, expected, max_shard_bytes)
        if keep_adapter and opened.adapter is not None:
            write_adapter(opened.adapter, folder / "adapter", Path(target), expected)
    return Path(target)


def expected_shapes(config: PaloConfig) -> dict[str, tuple[int, ...]]:
    """Every parameter that a model of this configuration needs from a file."""
    with torch.device("meta"):
        model = PaloForConditionalGeneration(config)
    tied = set(model.all_tied_weights_keys)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}


def checked(stream: Weights, expected: dict[str, tuple[int, ...]], padded_from: int, where: str) -> Weights:
    """Pass weights on, vocabulary rows added where asked for, if exactly the expected ones come.

    Raises:
        ValueError: A weight is missing, unexpected, or of another shape.
    """
    missing = set(expected)
    for name, tensor in stream:
        if name not in expected:
            if name == "lm_head.weight":
                continue  # tied to the embeddings: the file has it twice
            raise ValueError(f"{where}: {name} belongs nowhere in this model.")
        shape = expected[name]
        if name.endswith(("embed_tokens.weight", "lm_head.weight")) and tensor.shape[0] == padded_from < shape[0]:
            tensor = with_padding_rows(tensor, shape[0])
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{where}: {name} has shape {tuple(tensor.shape)}, expected {shape}.")
        missing.discard(name)
        yield name, tensor
    if missing:
        shown = ", ".join(sorted(missing)[:3])
        raise ValueError(
            f"{where} lacks {shown}" + (f" and {len(missing) - 3} more weights." if len(missing) > 3 else ".")
        )


def with_padding_rows(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """Rows for ids that stand for no text: the mean of all others.

    The score of such an id is then the mean of all scores, which the best of them exceeds: greedy decoding cannot choose
    it. Zeros could win (a score of 0 among negative ones), and a copied row is as likely as its token. In sampling the id
    is at most as likely as a token is on average; the added ids are suppressed there, see `_write_generation_config`.
    """
    mean = tensor.mean(dim=0, keepdim=True, dtype=torch.float32).to(tensor.dtype)
    return torch.cat([tensor, mean.expand(rows - tensor.shape[0], -1)])


def _write_native(
    folder: Path,
    source: WeightSource,
    config: PaloConfig,
    weights: Callable[[], Weights],
    expected: dict[str, tuple[int, ...]],
    max_shard_bytes: int,
) -> None:
    processor = source.processor()
    writer = ShardWriter(folder, max_shard_bytes)
    dtypes = set()
    for name, tensor in with_progress(weights(), expected):
        writer.add(name, tensor)
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
    writer.close()
    config.dtype = getattr(torch, dtypes.pop()) if len(dtypes) == 1 else None
    config.architectures = ["PaloForConditionalGeneration"]
    with writing(folder / "config.json"):
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
        _write_generation_config(source, config, folder)


def _write_generation_config(source: WeightSource, config: PaloConfig, folder: Path) -> None:
    """The source's generation settings, and that no id is generated which has a row and no text."""
    candidates = (where / GENERATION_CONFIG_NAME for where in (source.folder, source.language_model))
    path = next(filter(Path.is_file, candidates), None)
    vocabulary = config.text_config.vocab_size
    # The placeholder may have had a row before. Palo suppresses it by itself, other software does not.
    silent = set(range(source.vocabulary, vocabulary)) | {config.image_token_id} & set(range(vocabulary))
    if not silent:
        if path is not None:
            shutil.copyfile(path, folder / path.name)
        return
    # A file keeps Transformers from taking the ids of the control tokens out of config.json, so that they belong in it.
    stated = read_json_object(path) if path is not None else GenerationConfig.from_model_config(config).to_diff_dict()
    suppressed = sorted({*(stated.get("suppress_tokens") or ()), *silent})
    write_json(folder / GENERATION_CONFIG_NAME, {**stated, "suppress_tokens": suppressed})


def write_adapter(adapter: LoraAdapter, folder: Path, base: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Write a LoRA of the original as a PEFT adapter of the native model at `base`.

    `PeftModel.from_pretrained(model, folder)` applies it to that model, wherever both are. The configuration names
    `base` as an absolute path, as PEFT itself does, so that the folder alone loads from any working directory.
    """
    folder.mkdir()
    targets = [name.removesuffix(".weight") for name in adapter.updates]
    config = {
        **adapter.config,
        "base_model_name_or_path": str(base.absolute()),
        "target_modules": _target_modules(targets, expected),
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    write_json(folder / "adapter_config.json", config)
    tensors = {
        f"base_model.model.{name.removesuffix('.weight')}.lora_{matrix}.weight": tensor.contiguous()
        for name, update in adapter.updates.items()
        for matrix, tensor in update.items()
    }
    path = folder / "adapter_model.safetensors"
    with writing(path):
        save_file(tensors, path, metadata={"format": "pt"})


def _target_modules(targets: list[str], expected: dict[str, tuple[int, ...]]) -> str | list[str]:
    """What PEFT has to adapt: a pattern where one says exactly that, else every module by its name."""
    kinds = sorted({re.escape(name.rsplit(".", 1)[1]) for name in targets})
    # Suffixes alone would match the tower's q_proj, k_proj and v_proj as well.
    pattern = rf".*language_model\..*\.({'|'.join(kinds)})"
    matched = {name.removesuffix(".weight") for name in expected if re.fullmatch(rf"{pattern}\.weight", name)}
    return pattern if matched == set(targets) else sorted(targets)


# ---- llava-hf


def _check_llava_can_express(config: PaloConfig) -> None:
    if (config.projector_type, config.projector_num_layers) != ("mlp", 2):
        raise ValueError(
            f"Llava has an MLP projector of two layers, this model {config.projector_type!r} of "
            f"{config.projector_num_layers}: only the palo and llama.cpp formats can hold it."
        )


def _write_llava(
    folder: Path,
    source: WeightSource,
    config: PaloConfig,
    weights: Callable[[], Weights],
    expected: dict[str, tuple[int, ...]],
    max_shard_bytes: int,
) -> None:
    processor = source.processor()
    writer = ShardWriter(folder, max_shard_bytes, lambda name: rename(name, LLAVA_HF_KEY_MAP))
    dtype = None
    for name, tensor in with_progress(weights(), expected):
        writer.add(name, tensor)
        dtype = tensor.dtype
    writer.close()
    llava = LlavaConfig(
        vision_config=config.vision_config,
        text_config=config.text_config,
        image_token_index=config.image_token_index,
        image_seq_length=config.image_seq_length,
        projector_hidden_act=config.projector_hidden_act,
        vision_feature_layer=config.vision_feature_layer,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        multimodal_projector_bias=config.multimodal_projector_bias,
        tie_word_embeddings=config.tie_word_embeddings,
        dtype=dtype,
        architectures=["LlavaForConditionalGeneration"],
    )
    ours = processor.image_processor
    llava_processor = LlavaProcessor(
        LlavaImageProcessorPil(
            size=dict(ours.size),
            crop_size=dict(ours.crop_size),
            do_pad=ours.do_pad,
            image_mean=list(ours.image_mean),
            image_std=list(ours.image_std),
        ),
        processor.tokenizer,
        patch_size=processor.patch_size,
        vision_feature_select_strategy=processor.vision_feature_select_strategy,
        num_additional_image_tokens=processor.num_additional_image_tokens,
        chat_template=processor.chat_template,
    )
    with writing(folder / "config.json"):
        llava.save_pretrained(folder)
        llava_processor.save_pretrained(folder)
        _write_generation_config(source, config, folder)
