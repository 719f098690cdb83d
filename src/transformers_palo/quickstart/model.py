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
"""A PALO of two million parameters, put together from the library's own classes."""

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedTokenizerFast

from ..models.palo.configuration_palo import PaloConfig
from ..models.palo.processing_palo import default_chat_template
from .conversations import CAPTION_REQUEST, caption, typed_variants
from .phrases import PHRASES


# So few sentences make long tokens. That is what lets so small a model learn all ten languages in minutes: with a token a
# word it was still mostly guessing between left and right after as many steps.
VOCABULARY = 2000
_REPEATS = 30
_SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def train_tokenizer(vocab_size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, trained on the sentences of all ten languages.

    Every digit, line break and role is a token of its own; other tokens may reach across words. Roles have to be: a prompt
    ends with `ASSISTANT:`, and must then have the tokens that it has in front of an answer.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[0-9]|\n|USER:|ASSISTANT:"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **_SPECIAL,
        pad_token=_SPECIAL["unk_token"],
        padding_side="left",
        chat_template=default_chat_template(),
        clean_up_tokenization_spaces=False,
    )


def _sentences() -> Iterable[str]:
    """The tokenizer's corpus: the template's own words, the captions, and every question and answer."""
    system_prompt = re.search(r'default_system = "(.*?)"', default_chat_template())
    assert system_prompt is not None
    # These stand in every chat, so they weigh as much as the sentences of one language.
    yield from [f"{system_prompt[1]} ", "USER:", "ASSISTANT:", f"{CAPTION_REQUEST} "] * _REPEATS
    yield from (f" {caption(tuple(range(count)))}" for count in (1, 2, 3))
    # With the spaces that the template puts around them.
    for kinds in PHRASES.values():
        for phrasing in kinds.values():
            for question in phrasing.questions:
                yield from (f"{variant} " for variant in typed_variants(question))
            for answer in (phrasing.answer, phrasing.answer_if_one):
                if answer is not None:
                    yield f" {answer.format(n=0, a=0, b=0)}"


def small_config(tokenizer: PreTrainedTokenizerFast, vision_config: CLIPVisionConfig) -> PaloConfig:
    """PALO's architecture (CLIP tower, two-layer MLP projector, Llama) at a size for two CPU cores."""
    text_config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=512,
        # Larger than the usual 0.02: a narrow model starts with too little signal otherwise.
        initializer_range=0.06,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return PaloConfig(vision_config=vision_config, text_config=text_config, projector_type="mlp")
