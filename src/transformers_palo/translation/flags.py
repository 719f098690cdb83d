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
"""What a reviewer should look at: suspicions, not verdicts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .targets import Target


@dataclass(frozen=True)
class Flag:
    """A place in a translation that deserves a look.

    Attributes:
        name: `"gender_agreement"`, `"missing_nunation"` or `"inconsistent_term"`.
        start: Where in the translation it begins; equal to `end` where no place can be named.
        end: Where it ends.
        detail: What is suspect.
    """

    name: str
    start: int
    end: int
    detail: str


def find_flags(source: str, translation: str, target: Target, glossary: Mapping[str, str] | None = None) -> list[Flag]:
    """Suspicions about a translated turn, in the order of their places.

    Args:
        source: The English text.
        translation: Its translation.
        target: Its language.
        glossary: English term -> the term to use.
    """
    flags = [
        Flag(name, match.start(), match.end(), match[0])
        for name, patterns in target.suspects.items()
        for pattern in patterns
        for match in re.finditer(pattern, translation, flags=re.IGNORECASE)
    ]
    for english, term in terms_in(source, glossary or {}):
        if not _uses(translation, term):
            flags.append(Flag("inconsistent_term", 0, 0, f"{english}: expected {term}"))
    return sorted(flags, key=lambda flag: (flag.start, flag.end, flag.name, flag.detail))


def terms_in(source: str, glossary: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """The entries of a glossary whose English term occurs in a text, plurals included."""
    text = source.lower()
    return [
        (english, term)
        for english, term in glossary.items()
        if english.lower() in text and re.search(rf"(?<!\w){re.escape(english.lower())}(?:e?s)?(?!\w)", text)
    ]


def _uses(translation: str, term: str) -> bool:
    """Whether each word of a term occurs, its ending aside: languages inflect."""
    text = translation.lower()
    return all(word[: max(2, len(word) - 2)] in text for word in term.lower().split())
