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
"""What the checks know of English."""

import re
from functools import lru_cache


# Words that no French or Spanish word is written like.
FUNCTION_WORDS = frozenset(
    """the and is are was were been being with of this that these those there their they them its it which while from
    what where when who whose because would should could will have having into onto about between behind under above
    through during before after another each every other both some any such not only very also just than then here our
    your you we she his her him how why does did doing yes many much more most""".split()
)

UNITS = frozenset(
    """km cm mm nm kg mg ml kb mb gb tb kbps mbps mph kmh kph hz khz mhz ghz px dpi ft oz lb lbs kw kwh mah am pm bc ad ce
    bce vs etc km/h m/s rgb usb html css http https www com org pdf jpg jpeg png gif app api url wi-fi wifi ph ok mah
    rpm psi cc cl dl kcal cal db fps hd uhd ipod iphone ipad ebay youtube""".split()
)

_QUOTED = re.compile(r"""["“«「][^"”»」\n]{1,200}["”»」]|(?<!\w)['‘][^'’\n]{1,80}['’](?!\w)""")
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*")


@lru_cache(maxsize=64)
def quoted_words(text: str) -> frozenset[str]:
    """Words within quotation marks, such as what a sign in a picture says: they may stay as they are."""
    return frozenset(word for match in _QUOTED.finditer(text) for word in _WORD.findall(match[0]))


@lru_cache(maxsize=64)
def sentence_starts(text: str) -> frozenset[str]:
    """Words that begin a sentence and occur nowhere else: their capital does not make names of them.

    Only words are told so that end like common English words.
    """
    first = {match[1] for match in re.finditer(r"(?:\A|[.!?:\n]\s*|[-*]\s+)([A-Z][a-z]+)", text)}
    inside = set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text))
    return frozenset(word for word in first - inside if _COMMON_ENDING.search(word))


_COMMON_ENDING = re.compile(r"(ing|ed|ly|ness|tion|ment|ful|less|ous|able|ible|ive|ings|ers|ies)$")
