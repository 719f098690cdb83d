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
"""A text and its translation, and what the checks want to know of them."""

import re
from functools import cached_property

from .english import COMMON_ANSWERS, FUNCTION_WORDS, UNITS, is_bare_name, is_title, quoted_words, sentence_starts
from .masking import without_spans
from .scripts import count_scripts
from .targets import Target


class Pair:
    """A text and its translation, and what several checks want to know of them."""

    def __init__(self, source: str, translation: str, target: Target, finish_reason: str = "stop") -> None:
        self.source = source
        self.translation = translation
        self.target = target
        self.finish_reason = finish_reason
        self.plain_source = without_spans(source).strip()
        self.plain = without_spans(translation).strip()

    @cached_property
    def is_latin(self) -> bool:
        return "LATIN" in self.target.scripts

    @cached_property
    def scripts(self) -> dict[str, int]:
        return count_scripts(self.plain)

    @cached_property
    def source_scripts(self) -> dict[str, int]:
        return count_scripts(self.plain_source)

    @cached_property
    def own_letters(self) -> int:
        return sum(count for script, count in self.scripts.items() if script in self.target.scripts)

    @cached_property
    def leftovers(self) -> list[str]:
        """English words of the translation that are no names, units or quotations."""
        if self.plain == self.plain_source and is_bare_name(self.plain):
            return []
        return _latin_leftovers(self) if self.is_latin else _foreign_leftovers(self)

    @cached_property
    def borrowed_words(self) -> frozenset[str]:
        """Words that the translation may take over as they are: what the source quotes, and its names."""
        return quoted_words(self.source) | frozenset(re.findall(r"\b[A-Z][a-z]{2,}", self.plain_source))

    @cached_property
    def foreign_letters(self) -> list[str]:
        foreign = set(self.target.foreign_letters) - set(self.source)
        return [character for character in self.plain if character in foreign]


_LATIN_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*")


def _foreign_leftovers(pair: Pair) -> list[str]:
    """In a text of another script: words in Latin letters that the source does not write as a name."""
    quoted, starts = quoted_words(pair.source), sentence_starts(pair.plain_source)
    source_words = set(_LATIN_WORD.findall(pair.plain_source))
    left = []
    for match in re.finditer(r"[A-Za-zÀ-ÖØ-öø-ɏ](?:[A-Za-zÀ-ÖØ-öø-ɏ]|['’-](?=[A-Za-z]))*", pair.plain):
        word = match[0]
        if len(word) == 1 or word in quoted or word.lower() in UNITS or not word[1:].islower():
            continue
        if word[0].islower() or word.lower() in FUNCTION_WORDS or (word not in source_words) or word in starts:
            left.append(word)
    return left


def _latin_leftovers(pair: Pair) -> list[str]:
    """In a text in Latin letters: English function words, and words of the source that look like nothing but English."""
    quoted = quoted_words(pair.source)
    words_of_source = _LATIN_WORD.findall(pair.plain_source)
    common = {word for word in words_of_source if word.islower()}
    if not is_title(pair.plain_source):
        common |= {word.lower() for word in words_of_source[:1]}
    spelling = re.compile(pair.target.english_spellings or r"(?!)")
    known = pair.target.loanwords | UNITS
    words = _LATIN_WORD.findall(pair.plain)
    left = []
    for index, (before, word, after) in enumerate(zip(["", *words], words, [*words[1:], ""], strict=False)):
        lower = word.lower()
        if word in quoted or lower in known or lower.removesuffix("s") in known:
            continue
        if lower in FUNCTION_WORDS:
            # The title of a film keeps its "of the".
            titles = (word if word.istitle() else before, after)
            in_a_name = all(title in words_of_source and title.istitle() for title in titles)
            if not in_a_name:
                left.append(word)
        elif (
            lower in common
            and (word == lower or index == 0)
            and len(word) > 2
            and (spelling.search(lower) or lower in COMMON_ANSWERS)
        ):
            left.append(word)
    return left
