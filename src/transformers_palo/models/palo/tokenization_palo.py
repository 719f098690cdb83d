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
"""The tokenizer of the released checkpoints, as one fast pipeline that equals the original's chunk-by-chunk encoding.

The original cuts a prompt at its image placeholders, encodes every chunk by itself with the slow Llama tokenizer of
Transformers 4.31, and drops each chunk's BOS. So each chunk begins with a word boundary, also a chunk that begins with a
newline. Here one call encodes the whole prompt: the placeholder is an added token, and a normalizer does SentencePiece's
work on what lies between.

What follows a control token (`</s>USER:`) depends on the checkpoint's `legacy` flag: with it, every stretch of text
begins with a word boundary; without it, text after a control token does not. A missing flag meant true in 4.31.
"""

import json
import os
import re
import shutil
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers.tokenization_utils_tokenizers import TokenizersBackend


IMAGE_TOKEN = "<image>"

# A Unicode noncharacter, which no text for interchange contains. The chat template puts it behind the first character of
# a control token that somebody typed, so that it is no longer one; the tokenizer takes it out again.
TEXT_MARK = "\ufdd0"
_CONTROL_TOKENS = ("<s>", "</s>", "<unk>")
_ANY_CONTROL_TOKEN = "|".join(_CONTROL_TOKENS)
WORD_BOUNDARY = "▁"
# How the chat template goes on behind an answer's `</s>`.
NEXT_TURN = "USER:"

# Piece types of sentencepiece_model.proto.
_NORMAL_PIECE = 1
_BPE_MODEL = 2


class PaloTokenizer(TokenizersBackend):
    """Tokenizer of PALO: reads `tokenizer.model` of a released folder, or any `tokenizer.json`.

    Without this package a folder that it saved loads as a plain `PreTrainedTokenizerFast`, with the same ids: all that
    makes the ids is in `tokenizer.json`.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model", "tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        vocab_file = kwargs.get("vocab_file")
        if vocab_file is None or not os.path.isfile(vocab_file) or _has_image_token(kwargs.get("tokenizer_file")):
            return super().convert_to_native_format(trust_remote_code=trust_remote_code, **kwargs)
        legacy = kwargs.pop("legacy", None)
        return {**kwargs, **released_tokenizer_kwargs(vocab_file, legacy=True if legacy is None else legacy)}

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> tuple[str, ...]:
        files = super().save_pretrained(save_directory, *args, **kwargs)
        # Not needed to reload, but other formats (llama.cpp's) are made from it.
        vocab_file = getattr(self, "vocab_file", None)
        target = os.path.join(save_directory, self.vocab_files_names["vocab_file"])
        if vocab_file and os.path.isfile(vocab_file) and os.path.abspath(vocab_file) != os.path.abspath(target):
            shutil.copyfile(vocab_file, target)
            files = (*files, target)
        # All that matters is in tokenizer.json: let it load where this package is not installed.
        path = os.path.join(save_directory, "tokenizer_config.json")
        with open(path, encoding="utf-8") as reader:
            config = json.load(reader)
        config["tokenizer_class"] = "TokenizersBackend"
        with open(path, "w", encoding="utf-8") as writer:
            writer.write(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        return files


def check_has_tokenizer(folder: str | os.PathLike[str]) -> None:
    """
    Raises:
        FileNotFoundError: A folder of this machine holds no file of a tokenizer. Transformers would name none.
    """
    if os.path.isdir(folder) and not any(name.startswith(("tokenizer.", "vocab.")) for name in os.listdir(folder)):
        raise FileNotFoundError(
            f"{folder}: expected a tokenizer (tokenizer.json or tokenizer.model), found none. Copy it from the model that "
            "this one was made of."
        )


def released_tokenizer_kwargs(model_file: str, legacy: bool) -> dict[str, Any]:
    """What [`PaloTokenizer`] is made of, read from a released `tokenizer.model`.

    Args:
        model_file: A SentencePiece model as Llama's: BPE, byte fallback, no text normalisation.
        legacy: Whether text after a control token begins with a word boundary.

    Raises:
        ValueError: The file is another kind of SentencePiece model, or none.
    """
    proto = _read_sentencepiece(model_file)
    pieces = [piece.piece for piece in proto.pieces]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        BPE(
            vocab=vocab,
            merges=_merges(proto),
            unk_token=pieces[proto.trainer_spec.unk_id],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    control = {
        "unk_token": pieces[proto.trainer_spec.unk_id],
        "bos_token": pieces[proto.trainer_spec.bos_id],
        "eos_token": pieces[proto.trainer_spec.eos_id],
    }
    if set(control.values()) != set(_CONTROL_TOKENS):
        raise ValueError(
            f"{model_file}: expected the control tokens {sorted(_CONTROL_TOKENS)}, found {sorted(control.values())}."
        )
    if legacy:
        tokenizer.normalizer = _legacy_normalizer()
    else:
        tokenizer.normalizer = _plain_normalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.Split(TEXT_MARK, behavior="removed")
        _encode_next_turn_as_released(tokenizer, proto)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(WORD_BOUNDARY, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    special = {name: AddedToken(content, normalized=not legacy, special=True) for name, content in control.items()}
    tokenizer.add_special_tokens([*special.values(), AddedToken(IMAGE_TOKEN, normalized=False, special=True)])
    return {
        "tokenizer_object": tokenizer,
        **special,
        # As the original's training: it pads with <unk>, and masks what it pads.
        "pad_token": special["unk_token"],
        "extra_special_tokens": {"image_token": IMAGE_TOKEN},
        "add_bos_token": True,
        "add_eos_token": False,
        # Batches are generated from, unless a training collator says otherwise.
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
    }


def _legacy_normalizer() -> normalizers.Normalizer:
    # Control tokens are cut out before normalisation: every stretch of text between them comes here by itself.
    return normalizers.Sequence(
        [
            normalizers.Replace(TEXT_MARK, ""),
            normalizers.Prepend(WORD_BOUNDARY),
            normalizers.Replace(" ", WORD_BOUNDARY),
        ]
    )


def _plain_normalizer() -> normalizers.Normalizer:
    # Only the placeholder is cut out before; control tokens are found in what this makes of the text. So the mark stays
    # in typed ones, until the pre-tokenizer.
    return normalizers.Sequence(
        [
            normalizers.Replace(" ", WORD_BOUNDARY),
            # A space behind a control token counts as boundary and as text, as in Transformers 4.31.
            normalizers.Replace(Regex(f"(?<={_ANY_CONTROL_TOKEN})(?={WORD_BOUNDARY})"), WORD_BOUNDARY),
            # The template marks the chunk that follows its own BOS.
            normalizers.Replace(Regex(rf"(?<=\A<s>){TEXT_MARK}"), WORD_BOUNDARY),
            normalizers.Replace(Regex(rf"\A(?!{_ANY_CONTROL_TOKEN}|\z)"), WORD_BOUNDARY),
        ]
    )


def _encode_next_turn_as_released(tokenizer: Tokenizer, proto: Any) -> None:
    """Give the `USER:` behind an answer's `</s>` the ids that the models were trained with.

    Without `legacy`, Transformers 4.31 encodes text behind a control token *with* a word boundary and then strikes the
    boundary from the first piece: Vicuna's `▁US ER :` becomes `US ER :`, although `USER` is a piece of its own.
    """
    # In a try block, Transformers does not ask for the package before it runs this file from a repository.
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise ImportError("Reading a tokenizer.model needs the sentencepiece package: pip install it.") from None

    first, *_ = SentencePieceProcessor(model_proto=proto.SerializeToString()).encode(NEXT_TURN, out_type=str)
    first = first.removeprefix(WORD_BOUNDARY)
    if not first:
        return
    rest = re.escape(NEXT_TURN.removeprefix(first))
    if first in tokenizer.get_vocab():
        # Only a stretch behind a control token begins without a word boundary.
        cut = pre_tokenizers.Split(Regex(rf"\A{re.escape(first)}(?={rest})"), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, cut])
    else:
        unknown = normalizers.Replace(Regex(f"(?<=</s>){re.escape(first)}(?={rest})"), "<unk>")
        tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer, unknown])


def _merges(proto: Any) -> list[tuple[str, str]]:
    """BPE merges, in the order in which SentencePiece prefers them.

    Every way to make a piece of two others is a merge; the piece's score ranks it. Control, unknown and byte pieces
    are no text: SentencePiece never makes them by merging, so neither may these.
    """
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL_PIECE}
    index = {piece: position for position, piece in enumerate(scores)}
    merges = [
        (-score, index[piece[:cut]], index[piece[cut:]], piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    return [(left, right) for *_, left, right in sorted(merges)]


def _read_sentencepiece(model_file: str) -> Any:
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    try:
        with open(model_file, "rb") as reader:
            proto.ParseFromString(reader.read())
    except Exception as error:  # protobuf's DecodeError has no stable home across its versions
        raise ValueError(f"{model_file}: expected a SentencePiece model, found a file that is none.") from error
    spec, normalizer = proto.trainer_spec, proto.normalizer_spec
    if not proto.pieces or spec.model_type != _BPE_MODEL or not spec.byte_fallback:
        raise ValueError(
            f"{model_file}: expected a Llama SentencePiece model (BPE with byte fallback), found another kind."
        )
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces or not normalizer.add_dummy_prefix:
        raise ValueError(
            f"{model_file}: expected a SentencePiece model that leaves text as it is, found the normalisation "
            f"{normalizer.name!r}."
        )
    return proto


def _has_image_token(tokenizer_file: str | None) -> bool:
    if tokenizer_file is None or not os.path.isfile(tokenizer_file):
        return False
    with open(tokenizer_file, encoding="utf-8") as reader:
        return any(token["content"] == IMAGE_TOKEN for token in json.load(reader).get("added_tokens", ()))


def keep_typed_control_tokens_as_text(tokenizer: Any) -> None:
    """Make any fast tokenizer drop [`TEXT_MARK`], as PALO's own does, so that the chat template can use it."""
    if tokenizer.encode("<", add_special_tokens=False) == tokenizer.encode(f"<{TEXT_MARK}", add_special_tokens=False):
        return
    backend = tokenizer.backend_tokenizer
    unmark = normalizers.Replace(TEXT_MARK, "")
    backend.normalizer = unmark if backend.normalizer is None else normalizers.Sequence([unmark, backend.normalizer])


__all__ = ["PaloTokenizer"]
