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

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm
from transformers import LlavaConfig, LlavaProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .checkpoint_palo import share_weights
from .configuration_palo import PaloConfig
from .conversion_palo import LoraAdapter, Weights, WeightSource, open_source
from .key_map_palo import LLAVA_HF_KEY_MAP, released_projector_name, rename
from .modeling_palo import PaloForConditionalGeneration
from .processing_palo import PaloProcessor
from .tokenization_palo import PaloTokenizer


logger = logging.getLogger(__name__)

MAX_SHARD_BYTES = 5 * 10**9
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
    write = {"palo": _write_native, "llava": _write_llava, "llama.cpp": _write_llama_cpp}[format]
    config = opened.config
    original_vocabulary = config.text_config.vocab_size
    if format == "llava":
        _check_llava_can_express(config)
        # Stock Llava embeds its placeholder, so the id needs a row.
        pad_vocab_to_multiple_of = pad_vocab_to_multiple_of or 64
    if pad_vocab_to_multiple_of is not None:
        rows = max(original_vocabulary, config.image_token_id + 1)
        config.text_config.vocab_size = -(-rows // pad_vocab_to_multiple_of) * pad_vocab_to_multiple_of

    expected = expected_shapes(config)

    def weights() -> Weights:
        stream = opened.weights(merge=not keep_adapter)
        for name, tensor in checked(stream, expected, padded_from=original_vocabulary, where=str(opened.folder)):
            yield name, tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)

    with whole_or_nothing(Path(target)) as folder:
        write(folder, opened, config, weights, expected, max_shard_bytes)
        if keep_adapter and opened.adapter is not None:
            write_adapter(opened.adapter, folder / "adapter")
    return Path(target)


@contextmanager
def whole_or_nothing(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes `target` at the end, or never does.

    Raises:
        OSError: `target` exists already.
    """
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{target.name}.partial-"
    for left in target.parent.glob(f"{prefix}*"):
        logger.warning(
            "%s is what an interrupted conversion left, or another one at work: remove it if none is.", left
        )
    # Of this run alone: another one may be writing the same target, and a folder with such a name may be the user's.
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    partial.chmod(0o777 & ~_umask())
    try:
        yield partial
        share_weights(partial)
        refuse_existing(target)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def refuse_existing(target: Path) -> None:
    """Raises:
    FileExistsError: `target` exists already.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already: choose another folder, or remove it first.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
    """Rows for ids that stand for no text. They repeat the row of `<unk>`, which a model never says.

    A padding id so never scores above `<unk>`, and loses the tie: greedy decoding cannot choose it.
    """
    return torch.cat([tensor, tensor[:1].expand(rows - tensor.shape[0], -1)])


class ShardWriter:
    """Collects tensors into safetensors files of a limited size, and writes the index at the end."""

    def __init__(self, folder: Path, max_shard_bytes: int, rename_to: Callable[[str], str] = str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.max_shard_bytes = max_shard_bytes
        self.rename_to = rename_to
        self.shard: dict[str, torch.Tensor] = {}
        self.shard_bytes = 0
        self.total_bytes = 0
        self.shards: list[list[str]] = []

    def add(self, name: str, tensor: torch.Tensor) -> None:
        if self.shard and self.shard_bytes + tensor.nbytes > self.max_shard_bytes:
            self._flush()
        self.shard[self.rename_to(name)] = tensor.contiguous()
        self.shard_bytes += tensor.nbytes
        self.total_bytes += tensor.nbytes

    def _flush(self) -> None:
        save_file(self.shard, self.folder / f"shard-{len(self.shards)}", metadata={"format": "pt"})
        self.shards.append(list(self.shard))
        self.shard, self.shard_bytes = {}, 0

    def close(self) -> None:
        self._flush()
        if len(self.shards) == 1:
            (self.folder / "shard-0").rename(self.folder / SAFE_WEIGHTS_NAME)
            return
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self.shards):
            file = f"model-{number + 1:05}-of-{len(self.shards):05}.safetensors"
            (self.folder / f"shard-{number}").rename(self.folder / file)
            weight_map |= dict.fromkeys(names, file)
        write_json(
            self.folder / SAFE_WEIGHTS_INDEX_NAME,
            {"metadata": {"total_size": self.total_bytes}, "weight_map": weight_map},
        )


def _progress(weights: Weights, expected: dict[str, tuple[int, ...]]) -> Weights:
    total = sum(torch.Size(shape).numel() for shape in expected.values())
    with tqdm(total=total, unit=" parameters", unit_scale=True, desc="Converting") as bar:
        for name, tensor in weights:
            yield name, tensor
            bar.update(tensor.numel())


def _write_native(
    folder: Path,
    source: WeightSource,
    config: PaloConfig,
    weights: Callable[[], Weights],
    expected: dict[str, tuple[int, ...]],
    max_shard_bytes: int,
) -> None:
    processor = _processor(source)
    writer = ShardWriter(folder, max_shard_bytes)
    dtypes = set()
    for name, tensor in _progress(weights(), expected):
        writer.add(name, tensor)
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
    writer.close()
    config.dtype = getattr(torch, dtypes.pop()) if len(dtypes) == 1 else None
    config.architectures = ["PaloForConditionalGeneration"]
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    _copy_generation_config(source, folder)


def _processor(source: WeightSource) -> PaloProcessor:
    """The source's processor; a LoRA or stage-1 output has the tokenizer of its base model."""
    if source.kind in ("native", "released"):
        return PaloProcessor.from_pretrained(source.folder)
    tokenizer = PaloTokenizer.from_pretrained(source.language_model)
    return PaloProcessor.from_released(source.config, tokenizer)


def _copy_generation_config(source: WeightSource, folder: Path) -> None:
    for candidate in (source.folder, source.language_model):
        path = candidate / "generation_config.json"
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
            return


def write_adapter(adapter: LoraAdapter, folder: Path) -> None:
    """Write a LoRA of the original as a PEFT adapter of the native model.

    `PeftModel.from_pretrained(model, folder)` applies it to the model that was written beside it.
    """
    folder.mkdir()
    modules = "|".join(sorted(adapter.config["target_modules"]))
    config = {
        **adapter.config,
        "base_model_name_or_path": "..",
        # Suffixes alone would match the tower's q_proj, k_proj and v_proj as well.
        "target_modules": rf".*language_model\..*\.({modules})",
    }
    write_json(folder / "adapter_config.json", config)
    tensors = {
        f"base_model.model.{name.removesuffix('.weight')}.lora_{matrix}.weight": tensor.contiguous()
        for name, update in adapter.updates.items()
        for matrix, tensor in update.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


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
    processor = _processor(source)
    writer = ShardWriter(folder, max_shard_bytes, lambda name: rename(name, LLAVA_HF_KEY_MAP))
    dtype = None
    for name, tensor in _progress(weights(), expected):
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
    llava.save_pretrained(folder)
    ours = processor.image_processor
    LlavaProcessor(
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
    ).save_pretrained(folder)
    _copy_generation_config(source, folder)


# ---- llama.cpp


def _write_llama_cpp(
    folder: Path,
    source: WeightSource,
    config: PaloConfig,
    weights: Callable[[], Weights],
    expected: dict[str, tuple[int, ...]],
    max_shard_bytes: int,
) -> None:
    """Three parts under the original names, as llama.cpp's converters for LLaVA-1.5 and MobileVLM take them."""
    if config.projector_type not in ("mlp", "ldp") or config.text_config.model_type != "llama":
        raise ValueError(
            f"llama.cpp reads Llama models with an MLP or LDP projector, not {config.text_config.model_type!r} with "
            f"{config.projector_type!r}."
        )
    tokenizer_model = next(
        (path for path in (source.folder, source.language_model) if (path / "tokenizer.model").is_file()), None
    )
    if tokenizer_model is None:
        raise ValueError(
            f"{source.folder}: llama.cpp needs the SentencePiece file tokenizer.model, which is not there."
        )

    language_model = ShardWriter(
        folder / "language_model", max_shard_bytes, lambda name: name.replace("model.language_model.", "model.", 1)
    )
    tower = ShardWriter(
        folder / "vision_tower", max_shard_bytes, lambda name: name.replace("model.vision_tower.", "vision_model.", 1)
    )
    projector: dict[str, torch.Tensor] = {}
    for name, tensor in _progress(weights(), expected):
        if name.startswith("model.multi_modal_projector."):
            projector[released_projector_name(name, config.projector_type)] = tensor.float()
        else:
            (tower if name.startswith("model.vision_tower.") else language_model).add(name, tensor)
    language_model.close()
    tower.close()
    torch.save(projector, folder / "llava.projector")

    text_config = config.text_config
    text_config.architectures = ["LlamaForCausalLM"]
    text_config.save_pretrained(language_model.folder)
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer_model / name).is_file():
            shutil.copyfile(tokenizer_model / name, language_model.folder / name)
    vision_config = config.vision_config
    vision_config.architectures = ["CLIPVisionModel"]
    vision_config.save_pretrained(tower.folder)
    stated = json.loads((tower.folder / "config.json").read_text(encoding="utf-8"))
    # The converter of the image encoder reads here which layer's features to take.
    write_json(tower.folder / "config.json", {**stated, "mm_vision_select_layer": config.vision_feature_layer})


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
