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
"""Numbers in a text and in its translation: any digits, any separators, words where languages write words."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from .targets import Target


# Digits with separators between them; a space only before a group of three.
_NUMBER = re.compile(r"\d+(?:[.,٫٬'’·]\d+)*(?:[ \u00a0\u202f]\d{3}(?!\d))*")
_WORD_AFTER = re.compile(r"[\s\u00a0-]*([^\W\d_][^\s\d,.;:!?،۔।。，、()]*)")
_CJK_NUMERAL = re.compile(r"[〇零一二三四五六七八九十百千万萬亿億两]+")
_CJK_DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2}
_CJK_UNITS = {"十": 10, "百": 100, "千": 1000}
_CJK_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_ROMAN = re.compile(r"(?<![^\W_])[IVX]+(?![^\W\d_]{2})")

_ENGLISH_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen""".split()
_ENGLISH_TENS = """twenty thirty forty fifty sixty seventy eighty ninety""".split()
_ENGLISH_ORDINALS = """zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
    thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth""".split()
_ENGLISH_WORDS: dict[str, int] = (
    {word: value for value, word in enumerate(_ENGLISH_UNITS)}
    | {word: 10 * value for value, word in enumerate(_ENGLISH_TENS, start=2)}
    | {word: value for value, word in enumerate(_ENGLISH_ORDINALS)}
    | {"a": 1, "an": 1, "single": 1, "once": 1, "pair": 2, "both": 2, "couple": 2, "twice": 2, "double": 2, "half": 2}
    | {"triple": 3, "quarter": 4, "dozen": 12, "dozens": 12, "noon": 12, "midnight": 12}
)
_ENGLISH_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "k": 1000, "m": 10**6}
_MOST_SPELT_OUT = 12
# 1/2 becomes a word in most languages, the 19th century in those that do not write XIX or 十九.
_FRACTION = re.compile(r"(?<!\d)\d/\d(?!\d)")
_FRACTION_OR_ORDINAL = re.compile(rf"{_FRACTION.pattern}|\d+(?:st|nd|rd|th)\b")


def changed_numbers(source: str, translation: str, target: Target) -> tuple[set[float], set[float]]:
    """Numbers of an English text that its translation lacks, and numbers of the translation that the text lacks.

    Compared are values, not digits: `1,500`, `1 500`, `१,५००`, `1.500`, `1500` and `一千五百` are one number. A number
    up to twelve may be spelt out; a word of the text may become digits; `1980s` may become 80, `5 PM` 17, and the 19th
    century XIX.
    """
    written = _numbers(translation, target.scales, _readings)
    spelt = _cjk_numerals(translation) | _roman_numerals(translation)
    often_words = _FRACTION if spelt else _FRACTION_OR_ORDINAL
    said = _numbers(often_words.sub(" ", source), _ENGLISH_SCALES, _english_readings)
    said_in_words = _english_words(source)
    afternoon = bool(re.search(r"\bp\.?m\b", source, flags=re.IGNORECASE))

    found = set().union(*written, spelt)
    lost = {
        min(values)
        for values in said
        if not values & found
        and not any(_may_be_otherwise(value, source, found, afternoon) for value in values)
        and not any(_spelt_out(value, translation, target) for value in values)
    }
    expected = {0.0}.union(*said, said_in_words, *_numbers(source, {}, _english_readings))
    # 1960s: the sixties of the 20th century.
    expected |= {part for value in expected if _is_decade(value, source) for part in (value % 100, value // 100 + 1)}
    if afternoon:
        expected |= {value + 12 for value in expected if value < 12}
    added = {min(values) for values in written if not values & expected}
    return lost, added


def _numbers(text: str, scales: dict[str, int], readings: Callable[[str], set[float]]) -> list[set[float]]:
    """What each number written in digits may mean; a `million` behind it may be part of it."""
    text = "".join(str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text)
    found = []
    for match in _NUMBER.finditer(text):
        values = readings(match[0])
        following = _WORD_AFTER.match(text, match.end())
        if following and (scale := _scale_of(following[1].lower(), scales)):
            values |= {round(value * scale, 6) for value in values}
        found.append(values)
    return found


def _english_readings(number: str) -> set[float]:
    whole, *rest = re.sub(r"[^\d.]", "", number).split(".")
    # Version numbers and dates have more than one point.
    return {float(f"{whole}.{rest[0]}")} if len(rest) == 1 else {float(whole + "".join(rest))}


def _readings(number: str) -> set[float]:
    """With the last separator before a fraction or before thousands: languages differ, and so do translators."""
    *before, after = parts = re.split(r"\D", number)
    values = {float("".join(parts)), float(f"{''.join(before) or 0}.{after}") if before else float(after)}
    # 10.45 may be a time, 25.12.2020 a date.
    return values | {float(part) for part in parts}


def _scale_of(word: str, scales: dict[str, int]) -> int | None:
    if word in scales:
        return scales[word]
    # Chinese and Japanese write on without a space.
    return scales.get(word[0]) if len(word[0].encode()) == 3 and word[0] in scales else None


def _cjk_numerals(text: str) -> set[float]:
    return {float(_cjk_value(match[0])) for match in _CJK_NUMERAL.finditer(text)}


def _cjk_value(numeral: str) -> int:
    if not set(numeral) & (_CJK_UNITS.keys() | _CJK_LARGE.keys()):
        return int("".join(str(_CJK_DIGITS[character]) for character in numeral))
    total = section = digit = 0
    for character in numeral:
        if character in _CJK_DIGITS:
            digit = _CJK_DIGITS[character]
        elif character in _CJK_UNITS:
            section += (digit or 1) * _CJK_UNITS[character]
            digit = 0
        else:
            total = (total + section + digit or 1) * _CJK_LARGE[character]
            section = digit = 0
    return total + section + digit


def _roman_numerals(text: str) -> set[float]:
    return {float(value) for match in _ROMAN.finditer(text) if (value := _roman_value(match[0]))}


def _roman_value(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[character] for character in numeral]
    following = [*values[1:], 0]
    return sum(-value if value < after else value for value, after in zip(values, following, strict=True))


def _english_words(text: str) -> set[float]:
    """Values of number words: each word, and the sums and products of neighbours (`two hundred and five`)."""
    found: set[float] = set()
    run: list[int] = []
    for word in re.findall(r"[a-z]+|\S", text.lower()):
        if word in _ENGLISH_WORDS:
            run.append(_ENGLISH_WORDS[word])
        elif word in _ENGLISH_SCALES and run:
            run.append((run.pop() or 1) * _ENGLISH_SCALES[word])
        elif word not in ("and", "-"):
            found.update(_sums(run))
            run = []
    found.update(_sums(run))
    return found


def _sums(run: list[int]) -> Iterable[float]:
    return {float(sum(run[start:end])) for start in range(len(run)) for end in range(start + 1, len(run) + 1)}


def _spelt_out(value: float, translation: str, target: Target) -> bool:
    if value > _MOST_SPELT_OUT or value != int(value) or not target.numerals:
        return False
    text = translation.lower()
    return any(part in text for part in target.numerals[int(value)].split("/"))


def _may_be_otherwise(value: float, source: str, found: set[float], afternoon: bool) -> bool:
    # The name of a decade may be a word: the sixties.
    return _is_decade(value, source) or (afternoon and value < 12 and value + 12 in found)


def _is_decade(value: float, source: str) -> bool:
    return value % 10 == 0 and f"{int(value)}s" in source.replace("'s", "s").replace("’s", "s")
