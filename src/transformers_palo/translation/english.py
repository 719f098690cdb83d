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

from .masking import CODE_LIKE


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

# What questions about pictures are often answered with: alone and with a capital, they are still no names.
COMMON_ANSWERS = frozenset(
    """yes no none maybe both neither one two three four five six seven eight nine ten left right top bottom front back middle
    center up down inside outside north south east west red orange yellow green blue purple pink brown black white gray grey
    silver gold golden beige tan dark light man men woman women boy boys girl girls child children kid kids baby person people
    family crowd dog dogs cat cats bird birds horse horses cow cows sheep elephant elephants giraffe giraffes zebra zebras bear
    bears lion tiger monkey duck fish animal animals car cars bus truck train airplane plane bicycle bike motorcycle boat ship
    van taxi tree trees grass flower flowers water snow sand beach ocean sea lake river mountain mountains sky cloud clouds
    cloudy sunny rainy clear hot cold warm day night morning noon afternoon evening summer winter spring fall autumn city street
    road park field forest house home building room kitchen bathroom bedroom office restaurant school hospital church store shop
    airport station zoo farm table chair chairs couch bed desk bench door window wall floor ceiling clock lamp mirror phone
    laptop computer keyboard mouse screen television book books bag bottle cup glass glasses plate bowl fork knife spoon food
    fruit apple banana bread cheese meat chicken rice soup salad cake coffee tea milk wine beer breakfast lunch dinner wood wooden
    metal plastic brick stone leather cotton paper ball bat racket hat cap helmet shirt pants jeans dress shoes coat jacket
    gloves tie umbrella sitting standing walking running eating drinking playing riding sleeping swimming surfing skiing
    reading talking smiling looking round square small large big short tall long old new young happy sad angry male female
    good bad open closed on off empty full true false stop sign traffic fire hydrant vase""".split()
)

_QUOTED = re.compile(r"""["“«「][^"”»」\n]{1,200}["”»」]|(?<!\w)['‘][^'’\n]{1,80}['’](?!\w)""")
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*")


@lru_cache(maxsize=64)
def quoted_words(text: str) -> frozenset[str]:
    """Words within quotation marks, such as what a sign in a picture says, or within code: they may stay as they are."""
    spans = [match[0] for pattern in (_QUOTED, CODE_LIKE) for match in pattern.finditer(text)]
    return frozenset(word for span in spans for word in _WORD.findall(span))


@lru_cache(maxsize=64)
def is_bare_name(text: str) -> bool:
    """Whether a text is nothing but a name, such as the brand that a question asks for.

    >>> is_bare_name("Nike"), is_bare_name("Coca Cola"), is_bare_name("Yes"), is_bare_name("A dog.")
    (True, True, False, False)
    """
    words = _WORD.findall(text)
    return (
        1 <= len(words) <= _LONGEST_NAME
        and text.strip()[-1:] not in ".!?:"
        and all(
            word[0].isupper() and word.lower() not in COMMON_ANSWERS and word.lower() not in FUNCTION_WORDS
            for word in words
        )
    )


_LONGEST_NAME = 4


@lru_cache(maxsize=64)
def is_title(text: str) -> bool:
    """Whether a text is written like the title of a book, such as `Harry Potter and the Goblet of Fire`."""
    words = _WORD.findall(text)
    return (
        len(words) > 1
        and text.strip()[-1:] not in ".!?:"
        and all(word[0].isupper() or word in FUNCTION_WORDS or len(word) <= _SHORT_WORD for word in words)
        and sum(word[0].isupper() for word in words) > 1
    )


_SHORT_WORD = 3


@lru_cache(maxsize=64)
def sentence_starts(text: str) -> frozenset[str]:
    """Words that begin a sentence and occur nowhere else: their capital does not make names of them.

    Only words are told so that end like common English words.
    """
    first = {match[1] for match in re.finditer(r"(?:\A|[.!?:\n]\s*|[-*]\s+)([A-Z][a-z]+)", text)}
    inside = set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text))
    return frozenset(word for word in first - inside if _COMMON_ENDING.search(word))


_COMMON_ENDING = re.compile(r"(ing|ed|ly|ness|tion|ment|ful|less|ous|able|ible|ive|ings|ers|ies)$")
