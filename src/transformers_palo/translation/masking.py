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
"""What a translator must not touch: taken out of a text before it is sent, and put back afterwards."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass


PLACEHOLDER = "<image>"

PROTECTED = re.compile(
    r"""
    ```.*?```                                             # fenced code
    | `[^`\n]+`                                           # code
    | \$\$.+?\$\$ | \\\[.+?\\\] | \\\(.+?\\\)             # LaTeX
    | \\begin\{(?P<environment>\w+\*?)\}.*?\\end\{(?P=environment)\}
    | (?<![\\A-Za-z0-9_$])\$(?=\S)(?:[^$\n ]*|[^$\n]*[\\^_=+{}][^$\n]*)(?<=\S)\$(?!\d)
    # URLs and addresses; scripts that write on without a space end them
    | (?:https?|ftp)://[^\s<>"'\u0600-\u0dff\u3000-\u9fff\uff00-\uffef]*[^\s<>"'.,;:!?)\]\u0600-\u0dff\u3000-\u9fff\uff00-\uffef]
    | www\.[^\s<>"'\u0600-\u0dff\u3000-\u9fff\uff00-\uffef]*[A-Za-z0-9/_]
    | [A-Za-z0-9_.+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]*[A-Za-z0-9]
    | <[/!A-Za-z][^<>\n]*>                                # tags, <image> among them
    | [\[(]\s*-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)+\s*[\])]   # coordinates
    | ⟦[^⟦⟧\n]*⟧                                          # what looks like a mask
    """,
    flags=re.VERBOSE | re.DOTALL,
)
# What looks like code without being marked so: translators may write words for it, repairs leave it alone.
CODE_LIKE = re.compile(
    r"""
    &(?:[A-Za-z]\w{1,7}|\#\d+|\#x[0-9A-Fa-f]+);               # HTML entities
    | \{[^{}\n]*;[^{}\n]*\} | \((?:[^();\n]*;){2}[^();\n]*\)  # blocks, heads of loops
    | \b[A-Za-z_][\w.]*\([^()\n]*\);?(?<!\w\(\))             # calls
    | \b[A-Za-z_]\w*\s?(?:[-+*/]?=\s?[^\s;=][^;\n]{0,60}|\+\+|--);  # assignments
    | [!=<>]==? | \?\?
    | \b[A-Za-z0-9][\w-]*(?:\.[A-Za-z0-9-]+)*\.(?:com|org|net|edu|gov|io|html?|php|jpe?g|png|gif|pdf|txt|py|js|csv|json|zip|exe|mp[34])
      \b(?:[/?][\w/?=&%\#.+~-]*[\w/])?                       # file names, addresses without https://
    | (?<!\S)[:;=8][-']?[)(DPpO|\\3*](?!\w)                   # emoticons
    """,
    flags=re.VERBOSE | re.ASCII,
)
_UNTOUCHED = re.compile(f"(?:{PROTECTED.pattern})|(?:{CODE_LIKE.pattern})", flags=re.VERBOSE | re.DOTALL)
_MASK = re.compile(r"⟦\s*(\d+)\s*⟧")
# The placeholder stands at the start or the end of a turn, white space round it.
_CORE = re.compile(rf"\A((?:\s|{PLACEHOLDER})*)(.*?)((?:\s|{PLACEHOLDER})*)\Z", flags=re.DOTALL)


@dataclass(frozen=True)
class Masked:
    """A text to send.

    Attributes:
        text: With ⟦1⟧, ⟦2⟧ ... in the place of what is protected, without placeholders and white space at its ends.
        spans: What the masks stand for, in their order.
        head: What stands before.
        tail: What stands behind.
    """

    text: str
    spans: tuple[str, ...]
    head: str = ""
    tail: str = ""

    @property
    def has_words(self) -> bool:
        """Whether there is anything to translate."""
        return any(character.isalpha() for character in _MASK.sub("", self.text))

    def restore(self, translated: str) -> str:
        """Put back what was taken out. A mask that was lost stays lost; the checks see it."""

        def original(match: re.Match[str]) -> str:
            number = int(match[1])  # int() reads the digits of every script
            return self.spans[number - 1] if 1 <= number <= len(self.spans) else match[0]

        return f"{self.head}{_MASK.sub(original, translated.strip())}{self.tail}"


def mask(text: str) -> Masked:
    """Take out of a text what must not be translated.

    >>> mask("<image>\\nWhat is at [0.1, 0.25]?").text
    'What is at ⟦1⟧?'
    """
    match = _CORE.match(text)
    assert match is not None
    head, core, tail = match.groups()
    masked, spans = mask_spans(core)
    return Masked(masked, spans, head, tail)


def mask_spans(text: str) -> tuple[str, tuple[str, ...]]:
    """A text with masks in the place of its protected spans, and these spans."""
    return _mask_all(PROTECTED, text)


def mask_from_repairs(text: str) -> tuple[str, tuple[str, ...]]:
    """The same, with masks in the place of what looks like code besides."""
    return _mask_all(_UNTOUCHED, text)


def _mask_all(pattern: re.Pattern[str], text: str) -> tuple[str, tuple[str, ...]]:
    spans: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        spans.append(match[0])
        return f"⟦{len(spans)}⟧"

    return pattern.sub(numbered, text), tuple(spans)


def unmask_spans(text: str, spans: tuple[str, ...]) -> str:
    """The reverse of `mask_spans`."""
    return Masked("", spans).restore(text) if spans else text


def without_spans(text: str) -> str:
    """A text without what is protected."""
    return PROTECTED.sub(" ", text)


def protected_spans(text: str) -> Counter[str]:
    """The protected spans of a text, and how often each occurs."""
    return Counter(unicodedata.normalize("NFC", match[0]) for match in PROTECTED.finditer(text))
