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
"""Which of the ten languages a text is written in: by its script where that settles it, by lingua where it does not."""

import unicodedata
from collections import Counter
from functools import cache, lru_cache
from typing import TYPE_CHECKING, cast

from .languages import LANGUAGES, Language, get_language


if TYPE_CHECKING:
    from lingua import LanguageDetector

# Beginnings of Unicode character names -> script. Kana decides for Japanese before Han can decide for Chinese.
_SCRIPT_OF_NAME = {
    "LATIN": "Latn",
    "CYRILLIC": "Cyrl",
    "ARABIC": "Arab",
    "DEVANAGARI": "Deva",
    "BENGALI": "Beng",
    "CJK": "Hans",
    "HIRAGANA": "Jpan",
    "KATAKANA": "Jpan",
}


def detect_language(text: str) -> Language | None:
    """The language of a text, or `None` if it holds no letters of any of the ten.

    The script with the most letters leads. It settles Hindi, Bengali, Russian, Chinese and Japanese among the ten;
    English, French and Spanish, or Arabic and Urdu, are told apart by lingua.
    """
    scripts = script_counts(text)
    if not scripts:
        return None
    # Japanese mixes kana with Han characters; Chinese has no kana.
    script = "Jpan" if scripts["Jpan"] and scripts["Jpan"] + scripts["Hans"] > scripts.total() / 2 else ""
    script = script or scripts.most_common(1)[0][0]
    candidates = [language for language in LANGUAGES if language.script == script]
    if len(candidates) == 1:
        return candidates[0]
    # lingua takes no half of a surrogate pair.
    text = text.encode("utf-8", "replace").decode()
    detected = _detector(tuple(language.code for language in candidates)).detect_language_of(text)
    return None if detected is None else get_language(detected.iso_code_639_1.name)


def script_counts(text: str) -> Counter[str]:
    """How many letters of each script (ISO 15924) a text holds; digits, punctuation and marks are no letters."""
    scripts = Counter(map(_script_of, text))
    del scripts[None]
    return cast(Counter[str], scripts)


@lru_cache(2**16)
def _script_of(character: str) -> str | None:
    if not unicodedata.category(character).startswith("L"):
        return None
    return _SCRIPT_OF_NAME.get(unicodedata.name(character, "").split(" ", 1)[0])


@cache
def _detector(codes: tuple[str, ...]) -> "LanguageDetector":
    # Imported late: lingua belongs to extras, and its models take a second to load.
    try:
        from lingua import IsoCode639_1, LanguageDetectorBuilder
    except ImportError:
        raise ImportError(
            f"To tell {', '.join(codes)} apart by their words needs lingua-language-detector: install it, or "
            "transformers-palo with its [translate] extra, or say which language it is."
        ) from None

    iso_codes = [getattr(IsoCode639_1, code.upper()) for code in codes]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*iso_codes).build()
