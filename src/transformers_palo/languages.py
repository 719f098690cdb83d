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
"""PALO's ten languages."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Language:
    """A language that PALO speaks.

    Attributes:
        code: ISO 639-1 code.
        name: English name.
        native_name: What its speakers call it.
        script: ISO 15924 code of its script. Japanese is written in several; `Jpan` stands for them together.
        direction: Which way it is written.
        resource_level: The paper's grouping (Table 1): its means Avg.H and Avg.L are over these.
    """

    code: str
    name: str
    native_name: str
    script: str
    direction: Literal["ltr", "rtl"]
    resource_level: Literal["high", "low"]


# In the order of the paper's Table 1.
LANGUAGES: tuple[Language, ...] = (
    Language("en", "English", "English", "Latn", "ltr", "high"),
    Language("zh", "Chinese", "中文", "Hans", "ltr", "high"),
    Language("fr", "French", "français", "Latn", "ltr", "high"),
    Language("es", "Spanish", "español", "Latn", "ltr", "high"),
    Language("ru", "Russian", "русский", "Cyrl", "ltr", "high"),
    Language("ja", "Japanese", "日本語", "Jpan", "ltr", "high"),
    Language("ar", "Arabic", "العربية", "Arab", "rtl", "low"),
    Language("hi", "Hindi", "हिन्दी", "Deva", "ltr", "low"),
    Language("bn", "Bengali", "বাংলা", "Beng", "ltr", "low"),
    Language("ur", "Urdu", "اردو", "Arab", "rtl", "low"),
)

_BY_KEY = {key.lower(): language for language in LANGUAGES for key in (language.code, language.name)}


def get_language(code_or_name: str) -> Language:
    """Look a language up by its code (`"hi"`) or English name (`"Hindi"`), in either case.

    Raises:
        ValueError: It is none of the ten.
    """
    try:
        return _BY_KEY[code_or_name.strip().lower()]
    except KeyError:
        known = ", ".join(f"{language.code} ({language.name})" for language in LANGUAGES)
        raise ValueError(f"Unknown language {code_or_name!r}: expected one of {known}.") from None
