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
"""Replies that are no text to be kept: characters that no text has, and far more of them than any translation."""

import unicodedata
from collections import Counter

from .checks import Finding


DAMAGED = "damaged_text"
WHAT_TO_TELL = {DAMAGED: "It contained control characters or damaged ones. Write plain text."}
# Where a reply is longer, the rest is neither looked at nor kept beside the journal: for looking at it takes long.
_LONGEST, _LEAST = 10, 5000


def check_characters(source: str, translation: str) -> list[Finding]:
    """Find control characters, U+FFFD (which stands for what could not be decoded) and private ones.

    >>> check_characters("A dog.", "Ein Hund.\\x00")
    [Finding(reason='damaged_text', detail='found U+0000')]
    """
    found = Counter(filter(_is_damage, translation)) - Counter(filter(_is_damage, source))
    if not found:
        return []
    return [Finding(DAMAGED, f"found {', '.join(f'U+{ord(character):04X}' for character in sorted(found))}")]


def _is_damage(character: str) -> bool:
    return character == "\ufffd" or (
        character not in "\t\n\r\x85" and unicodedata.category(character) in ("Cc", "Cs", "Co")
    )


def shortened(reply: str, source: str) -> tuple[str, list[Finding]]:
    """A reply that is far too long cut off, and that it was."""
    longest = _LEAST + _LONGEST * len(source)
    if len(reply) <= longest:
        return reply, []
    return reply[:longest], [
        Finding("length_ratio", f"found {len(reply):,} characters, of which {longest:,} are kept here")
    ]
