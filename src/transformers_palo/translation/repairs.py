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
"""Repairs of what translators often get wrong about punctuation; each leaves alone what is right already."""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from .masking import mask_from_repairs, unmask_spans
from .scripts import script_of
from .targets import Target


def repair(text: str, target: Target) -> tuple[str, tuple[str, ...]]:
    """Mend a translation, its protected spans aside. Mending twice is mending once.

    Returns:
        The text, and the names of the repairs that changed it.
    """
    masked, spans = mask_from_repairs(text)
    done = []
    for name, function in REPAIRS.items():
        repaired = function(masked, target)
        if repaired != masked:
            done.append(name)
            masked = repaired
    return unmask_spans(masked, spans), tuple(done)


def _unicode(text: str, target: Target) -> str:
    return unicodedata.normalize("NFC", text)


def _letters(text: str, target: Target) -> str:
    return text.translate({ord(letter): own for letter, own in target.letters.items()}) if target.letters else text


def _quotes(text: str, target: Target) -> str:
    """Straight quotation marks that come in pairs become the language's own."""
    opening, closing = target.quotes
    return "\n".join(_quotes_of_line(line, opening, closing) for line in text.split("\n"))


def _quotes_of_line(line: str, opening: str, closing: str) -> str:
    # 5" is five inches.
    if line.count('"') % 2 or re.search(r'\d"', line):
        return line
    parts = line.split('"')
    quoted = [f"{opening}{part.strip()}{closing}" if index % 2 else part for index, part in enumerate(parts)]
    return "".join(quoted)


def _marks(text: str, target: Target) -> str:
    """ASCII punctuation beside a letter of the language's script becomes the language's own."""
    if not target.marks:
        return text
    before = _scripts_so_far(text)
    after = _scripts_so_far(text[::-1])[::-1]
    characters = list(text)
    for index, character in enumerate(characters):
        # The nearest letter tells, in front of the mark or, for an opening bracket, behind it.
        script = (after[index] or before[index]) if character == "(" else (before[index] or after[index])
        mark = target.marks.get(character)
        if mark and script in target.scripts and not _between_digits(text, index):
            characters[index] = mark
    return "".join(characters)


def _scripts_so_far(text: str) -> list[str | None]:
    """For each character, the script of the last letter up to it."""
    scripts: list[str | None] = []
    for character in text:
        scripts.append(script_of(character) or (scripts[-1] if scripts else None))
    return scripts


def _between_digits(text: str, index: int) -> bool:
    return text[index - 1 : index].isdigit() and text[index + 1 : index + 2].isdigit()


def _full_stop(text: str, target: Target) -> str:
    """The full stop that ends a sentence becomes the language's own; in abbreviations and numbers it stays."""
    if target.full_stop == ".":
        return text
    if target.full_stop == "।":
        text = re.sub(r"(?<=[^\s|])\s*\|(?=\s|$)", "।", text) if not re.search(r"^\s*\|", text, re.MULTILINE) else text

    def own(match: re.Match[str]) -> str:
        before, after = text[: match.start()], text[match.end() :]
        last = next((character for character in reversed(before.rstrip(_CLOSING)) if script_of(character)), "")
        if not last or script_of(last) not in target.scripts or _is_abbreviated(before, after, target):
            return match[0]
        return target.full_stop

    return re.sub(rf"(?<=[^\s.])[ \u00a0]*\.(?=\s|$|[{re.escape(_CLOSING)}]|[^\W\d_a-zA-Z])(?!\.)", own, text)


_WORD_BEFORE = re.compile(r"[^\s.(«“「।۔]*\Z")
_WORD_AFTER = re.compile(r"\s*([^\s.(«“「।۔]+)\.")
_ABBREVIATED_BEFORE = re.compile(r"([^\s.(«“「।۔]+)\.\s*[^\s.]*\Z")
_LIST_MARKER = re.compile(r"(?:\A|\n)\s*(?:\d+|(\S+))\Z")


def _is_abbreviated(before: str, after: str, target: Target) -> bool:
    """Whether a full stop belongs to a list's number or letter, an abbreviation or an initial."""
    word = _WORD_BEFORE.search(before)[0]  # type: ignore[index]  # matches anything
    if word in target.abbreviations:
        return True
    goes_on = after.strip(_CLOSING + " \u00a0")
    marker = _LIST_MARKER.search(before)
    if marker and (not marker[1] or (goes_on and _is_initial(word, target))):
        return True
    if not _is_initial(word, target):
        return False
    # The names of some letters are words as well: one letter alone tells nothing, two do.
    following, preceding = _WORD_AFTER.match(after), _ABBREVIATED_BEFORE.search(before)
    beside = [match[1] for match in (following, preceding) if match]
    return (len(word) == 1 and bool(goes_on)) or any(
        other in target.abbreviations or _is_initial(other, target) for other in beside
    )


def _is_initial(word: str, target: Target) -> bool:
    return len(word) == 1 or word in target.initials


_CLOSING = '"”»」』)）]'


def _inner_spaces(text: str, target: Target) -> str:
    """Chinese and Japanese: no spaces between characters, nor round full-width marks."""
    if target.spacing != "none":
        return text
    character = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff々〇]"
    mark = r"[，。、？！：；（）「」『』“”《》…]"
    space = r"[ \t\u00a0\u3000]+"
    return re.sub(
        rf"(?<={character}){space}(?={character})|(?<={mark}){space}(?=\S)|(?<=\S){space}(?={mark})", "", text
    )


def _spacing(text: str, target: Target) -> str:
    """No space before a closing mark, one behind it."""
    if target.spacing == "none":
        return text
    own = "".join({*target.marks.values(), *target.terminators} - {"…"})
    low = own + (",." if target.spacing == "french" else ",.;:!?")
    # Latin marks also stand within words and numbers (e.g., 3.5, www.x.org): there the space is not ours to add.
    if own:
        text = re.sub(rf"(?<=[{re.escape(own)}])(?=[^\W_]|[«“⟦])", " ", text)
    text = re.sub(
        rf"(?<=[^\s«])[ \u00a0\u202f]+(?=[{re.escape(low)}](?:[\s{re.escape(_CLOSING)}{re.escape(low)}]|[^\W\d_]|$))",
        "",
        text,
    )
    return re.sub(r"(?<=[^\W\d_A-Za-z]),(?=[^\W\d_A-Za-z])", ", ", text)


def _french_spacing(text: str, target: Target) -> str:
    """A no-break space before ; : ! ? and within « »."""
    if target.spacing != "french":
        return text
    text = re.sub(r"«[ \u00a0\u202f]*(?=\S)", "«\u00a0", text)
    text = re.sub(r"(?<=\S)[ \u00a0\u202f]*»", "\u00a0»", text)
    text = re.sub(r"(?<=[^\s;:!?«(\[/])[ \u00a0\u202f]*([;!?])(?=[\s»\")\]*_…;:!?⟦]|$)", "\u00a0\\1", text)
    return re.sub(
        r"(?<=[^\s;:!?\d])[ \u00a0\u202f]*:(?=[\s\u00a0]|$)|(?<=\d)[ \u00a0\u202f]*:(?=[\s\u00a0]|$)", "\u00a0:", text
    )


_SPANISH_QUESTION = r"(?:(?:a|con|de|desde|en|hacia|para|por|sobre)\s+)?(?:qué|cómo|cuál(?:es)?|dónde|cuándo|quién(?:es)?|cuánt[oa]s?)\b"


def _inverted_marks(text: str, target: Target) -> str:
    """Spanish questions and exclamations open with their mark."""
    if not target.inverted:
        return text

    def open_it(match: re.Match[str]) -> str:
        lead, sentence = _LEAD.match(match[1]).groups()  # type: ignore[union-attr]  # matches anything
        opening = "¿" if "?" in match[2] else "¡" if "!" in match[2] else ""
        if not opening or opening in sentence or not sentence or "=" in sentence:
            return match[0]
        # A quotation may be of any language, and Yahoo! is a name.
        if _in_quotation(match[1]) or re.match(r"\s+[^\W\d_A-ZÁÉÍÓÚÑ]", text[match.end() :]):
            return match[0]
        # The mark stands where the question begins, which may be behind a comma: Hola, ¿cómo está?
        if opening == "¿" and (asked := re.search(rf"(?<=, ){_SPANISH_QUESTION}", sentence, flags=re.IGNORECASE)):
            return f"{lead}{sentence[: asked.start()]}¿{sentence[asked.start() :]}{match[2]}"
        return f"{lead}{opening}{sentence}{match[2]}"

    return _sentences(target.abbreviations).sub(open_it, text)


def _in_quotation(beginning: str) -> bool:
    return beginning.count("«") > beginning.count("»") or beginning.count("“") > beginning.count("”")


# What stands before a sentence: spaces, quotation marks, list markers.
_LEAD = re.compile(r"([\s\"«“(*_\-–—•»”)\]]*)(.*)", flags=re.DOTALL)


@cache
def _sentences(abbreviations: tuple[str, ...]) -> re.Pattern[str]:
    """A sentence and its final marks; within it are abbreviations, initials, and marks that no space follows."""
    short = "|".join(map(re.escape, abbreviations))
    return re.compile(
        rf"((?:(?<![^\W_])(?:{short}|[A-ZÁÉÍÓÚÑ])\.(?=\s+\S)|[^.!?…\n]|[.!?…]+(?=[^\s.!?…\"»”)\]*_¿¡]))++)([.!?…]*)"
    )


REPAIRS: dict[str, Callable[[str, Target], str]] = {
    "unicode": _unicode,
    "letters": _letters,
    "quotes": _quotes,
    "marks": _marks,
    "full_stop": _full_stop,
    "inner_spaces": _inner_spaces,
    "spacing": _spacing,
    "french_spacing": _french_spacing,
    "inverted_marks": _inverted_marks,
}
