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
"""How many tokens an example has: its rendered chat, and what its images become."""

from collections.abc import Iterator
from typing import Any

from ..models.palo.image_processing_palo import PaloImageProcessor
from ..models.palo.processing_palo import PaloProcessor


CHARACTERS_AT_ONCE = 2**20


class TokenCounter:
    """Counts as training does: chat template, special tokens and image tokens included.

    Args:
        processor: Its tokenizer counts, and it says how many tokens an image has.
        chat_template: Jinja text in place of the processor's own.
    """

    def __init__(self, processor: PaloProcessor, chat_template: str | None = None) -> None:
        self.processor = processor
        self.chat_template = chat_template
        size = processor.image_processor.crop_size
        counts = processor._get_num_multimodal_tokens([(size["height"], size["width"])])
        self.tokens_per_image = int(counts.num_image_tokens[0])

    @classmethod
    def from_pretrained(cls, name: str) -> "TokenCounter":
        """The counter of a PALO; of another model or a tokenizer alone, with which an image has 576 tokens, as in PALO-7B.

        Args:
            name: Folder or Hub id.

        Raises:
            OSError: There is nothing of that name.
            ValueError: What is there is no processor or tokenizer.
        """
        from transformers import AutoProcessor

        try:
            processor = AutoProcessor.from_pretrained(name)
        except OSError as error:
            raise OSError(
                f"{name}: expected the folder or Hub id of a model or tokenizer, found none that loads ({error})"
            ) from error
        if not isinstance(processor, PaloProcessor):
            processor = PaloProcessor(PaloImageProcessor(), getattr(processor, "tokenizer", processor))
        return cls(processor)

    def count(self, conversations: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, given as an example's `messages`."""
        if not conversations:
            return []
        prompts = self.processor.apply_chat_template(conversations, chat_template=self.chat_template, tokenize=False)
        texts = [count for group in _groups(prompts) for count in self._count_texts(group)]
        images = [
            sum(item["type"] == "image" for turn in turns for item in turn["content"]) for turns in conversations
        ]
        return [length + count * (self.tokens_per_image - 1) for length, count in zip(texts, images, strict=True)]

    def _count_texts(self, texts: list[str]) -> list[int]:
        token_ids = self.processor.tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
        return [len(ids) for ids in token_ids]


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """Texts in their order, a million characters at a time: tokenizers take hundreds of bytes for a token."""
    group: list[str] = []
    size = 0
    for text in texts:
        if group and size + len(text) > CHARACTERS_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    yield group
