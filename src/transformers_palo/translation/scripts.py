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
"""Which script a letter is of."""

import unicodedata
from collections import Counter
from functools import cache


@cache
def script_of(character: str) -> str | None:
    """First word of a letter's Unicode name, such as `"DEVANAGARI"`; `None` for what is no letter.

    >>> script_of("a"), script_of("क"), script_of("5")
    ('LATIN', 'DEVANAGARI', None)
    """
    if not unicodedata.category(character).startswith("L"):
        return None
    return unicodedata.name(character, "UNNAMED").split(" ", 1)[0]


@cache
def mark_script_of(character: str) -> str | None:
    """Script of a sign that goes with letters, of the Indic ones; `None` for what is none.

    >>> mark_script_of("\u094d"), mark_script_of("क"), mark_script_of("\u0301")
    ('DEVANAGARI', None, None)
    """
    if not "\u0900" <= character <= "\u0dff" or not unicodedata.category(character).startswith("M"):
        return None
    return unicodedata.name(character, "UNNAMED").split(" ", 1)[0]


def count_scripts(text: str) -> Counter[str]:
    """How many letters of each script a text holds."""
    return Counter(script for character in text if (script := script_of(character)) is not None)
