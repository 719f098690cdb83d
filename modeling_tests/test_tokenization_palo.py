"""The tokenizer gives the ids that the original's chunk-by-chunk encoding with Transformers 4.31 gave."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transformers_palo import PaloTokenizer
from transformers_palo.models.palo.tokenization_palo import TEXT_MARK, released_tokenizer_kwargs

from .conftest import GOLDEN, SHARED, read_json


RECORDED = read_json(SHARED / "prompts.json")
STRINGS = [(chat["prompt"], chat["input_ids"]) for chat in RECORDED["chats"]]
STRINGS += [(raw["text"], raw["input_ids"]) for raw in RECORDED["raw"]]

VARIANTS = ["legacy_true", "legacy_false"]


def folder(variant: str) -> Path:
    return SHARED / f"tokenizer_{variant}"


def original_chunk(pieces: SentencePieceProcessor, text: str, legacy: bool) -> list[int]:
    """`LlamaTokenizer.tokenize` of Transformers 4.31, which the original called, written out."""
    if not legacy:
        text = "▁" + text.replace("▁", " ")
    ids = []
    for part in re.split("(<s>|</s>|<unk>)", text):
        if part in ("<s>", "</s>", "<unk>"):
            ids.append(pieces.piece_to_id(part))
            continue
        begins_text = not legacy and part.startswith("▁")
        part = part[1:] if begins_text else part
        if not part:
            continue
        tokens = pieces.encode(part, out_type=str)
        if not legacy and not begins_text and not part.startswith(" ") and tokens[0].startswith("▁"):
            tokens = ([tokens[0][1:]] if len(tokens[0]) > 1 else []) + tokens[1:]
        ids += [pieces.piece_to_id(token) for token in tokens]
    return ids


def original_ids(pieces: SentencePieceProcessor, text: str, legacy: bool) -> list[int]:
    """BOS, and -200 between the chunks around the placeholders."""
    ids = [1]
    for index, chunk in enumerate(text.split("<image>")):
        ids += ([-200] if index else []) + original_chunk(pieces, chunk, legacy)
    return ids


def our_ids(tokenizer, text: str) -> list[int]:
    image = tokenizer.convert_tokens_to_ids("<image>")
    return [-200 if i == image else i for i in tokenizer(text)["input_ids"]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_recorded_strings(variant):
    tokenizer = PaloTokenizer.from_pretrained(folder(variant))
    for text, expected in STRINGS:
        assert our_ids(tokenizer, text) == expected[variant], text


@pytest.mark.parametrize("variant", VARIANTS)
def test_recorded_strings_after_saving(variant, tmp_path):
    PaloTokenizer.from_pretrained(folder(variant)).save_pretrained(tmp_path)
    for reload in (PaloTokenizer, PreTrainedTokenizerFast):
        tokenizer = reload.from_pretrained(tmp_path)
        for text, expected in STRINGS:
            assert our_ids(tokenizer, text) == expected[variant], text


def test_saved_folder_needs_no_package_of_ours(tmp_path):
    PaloTokenizer.from_pretrained(folder("legacy_false")).save_pretrained(tmp_path)
    assert read_json(tmp_path / "tokenizer_config.json")["tokenizer_class"] == "TokenizersBackend"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"tokenizer.json", "tokenizer_config.json", "tokenizer.model"}, "the last for other formats"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_transcript_of_the_original_is_right(variant):
    """The reference below generalises the recordings: it has to reproduce them first."""
    pieces = SentencePieceProcessor(model_file=str(folder(variant) / "tokenizer.model"))
    for text, expected in STRINGS:
        assert original_ids(pieces, text, legacy=variant == "legacy_true") == expected[variant], text


FRAGMENTS = [" ", "  ", "\n", "\t", "▁", "<image>", "<", "s>", "/s>", "<s", "0x0A>", "aaaa", "----", "é", "中", "😀"]
FRAGMENTS += ["USER:", "ASSISTANT:", "boat", "नाव", "القارب", "লাল", "ロ"]


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=8))
@pytest.mark.parametrize("variant", VARIANTS)
def test_any_text_between_placeholders(variant, parts):
    text = "".join(parts).replace(TEXT_MARK, "")
    tokenizer, pieces = loaded(variant)
    assume(not re.search("<s>|</s>|<unk>", text))
    assert our_ids(tokenizer, text) == original_ids(pieces, text, legacy=variant == "legacy_true")


_LOADED: dict = {}


def loaded(variant: str):
    if variant not in _LOADED:
        pieces = SentencePieceProcessor(model_file=str(folder(variant) / "tokenizer.model"))
        _LOADED[variant] = PaloTokenizer.from_pretrained(folder(variant)), pieces
    return _LOADED[variant]


# Vocabularies in which `USER` behind `</s>` is cut in every way that the boundary struck from its first piece allows.
CORPORA = {
    "USER is a piece, as in Vicuna's vocabulary": ["xUSER yUSER zUSER USE US", "thing USABLE USUAL", "USAGE US"],
    "only ▁USER is a piece": ["a USER: b ASSISTANT: c", "one USER: two"],
    "▁U is a piece": [" Ubuntu Uber Unit Ural", " Uppsala Utrecht"],
    "no piece of it": ["plain words only, nothing else", "other words"],
}


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("corpus", CORPORA)
def test_next_turn_in_other_vocabularies(corpus, legacy, tmp_path):
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(CORPORA[corpus] * 300),
        model_writer=model,
        vocab_size=420,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model.getvalue())
    tokenizer = PaloTokenizer(**released_tokenizer_kwargs(str(path), legacy=legacy))
    text = "Hello. USER: <image>\nhow? ASSISTANT: a boat</s>USER: How USERs? ASSISTANT: ok</s>USER:ASSISTANT:"
    assert our_ids(tokenizer, text) == original_ids(SentencePieceProcessor(model_proto=model.getvalue()), text, legacy)


@pytest.mark.parametrize("variant", VARIANTS)
def test_typed_control_tokens_are_never_merged_from_their_letters(variant):
    tokenizer = PaloTokenizer.from_pretrained(folder(variant))
    for token in ("<s>", "</s>", "<unk>", "<image>", "<0x0A>"):
        ids = tokenizer(f"a {token[0]}{TEXT_MARK}{token[1:]} b", add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_tokens_to_ids(token) not in ids
        assert tokenizer.decode(ids) == f"a {token} b"


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoding(variant):
    tokenizer = PaloTokenizer.from_pretrained(folder(variant))
    text = "The boat is red. 船是红色的。 नाव लाल है। 😀"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.decode([*ids[1:], tokenizer.eos_token_id], skip_special_tokens=True) == text
    assert tokenizer.decode([tokenizer.eos_token_id]) == "</s>"


def test_padding_and_special_tokens():
    tokenizer = PaloTokenizer.from_pretrained(folder("legacy_false"))
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)
    assert tokenizer.pad_token_id == 0, "the original pads with <unk>"
    assert tokenizer.padding_side == "left", "to generate from batches"
    assert tokenizer.image_token_id == tokenizer.vocab_size == 600, "the first id outside the vocabulary"
    assert tokenizer.add_tokens(["new"]) == 1
    assert tokenizer.convert_tokens_to_ids("new") == 601, "an added token does not collide with the placeholder"


def test_auto_tokenizer_reads_released_folders():
    for name, variant in (("public_mlp2x", "legacy_false"), ("public_ldpnet", "legacy_true")):
        tokenizer = AutoTokenizer.from_pretrained(GOLDEN / name / "checkpoint")
        assert isinstance(tokenizer, PaloTokenizer)
        for text, expected in STRINGS:
            assert our_ids(tokenizer, text) == expected[variant], text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a Llama SentencePiece model"),
        (b"not a model at all", "expected a SentencePiece model, found a file that is none"),
    ],
)
def test_a_file_that_is_no_sentencepiece_model(content, message, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        PaloTokenizer.from_pretrained(tmp_path)


def test_a_sentencepiece_model_of_another_kind(tmp_path):
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["some words of text"] * 50),
        model_writer=model,
        vocab_size=30,
        model_type="unigram",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(ValueError, match="expected a Llama SentencePiece model"):
        PaloTokenizer.from_pretrained(tmp_path)
