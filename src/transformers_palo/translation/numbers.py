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
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

from .targets import Target


# Digits with separators between them; a space only before a group of three.
_NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)(?:[.,٫]\d+)?|\d+(?:[.,٫٬'’·]\d+)*")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
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
_ENGLISH_TWICE = """once twice thrice""".split()
_ENGLISH_WORDS: dict[str, float] = (
    {word: value for value, word in enumerate(_ENGLISH_UNITS)}
    | {word: 10 * value for value, word in enumerate(_ENGLISH_TENS, start=2)}
    | {f"{word[:-1]}ies": 10 * value for value, word in enumerate(_ENGLISH_TENS, start=2)}
    | {f"{word[:-1]}ieth": 10 * value for value, word in enumerate(_ENGLISH_TENS, start=2)}
    | {word: value for value, word in enumerate(_ENGLISH_ORDINALS)}
    | {f"{word}s": value for value, word in enumerate(_ENGLISH_ORDINALS)}
    | {word: value for value, word in enumerate(_ENGLISH_TWICE, start=1)}
    | {
        "a": 1,
        "an": 1,
        "single": 1,
        "solo": 1,
        "half": 0.5,
        "halfway": 0.5,
        "pair": 2,
        "pairs": 2,
        "both": 2,
        "couple": 2,
    }
    | {"couples": 2, "double": 2, "twin": 2, "twins": 2, "duo": 2, "triple": 3, "trio": 3, "quarter": 4, "quarters": 4}
    | {"decade": 10, "decades": 10, "teen": 10, "teens": 10, "teenage": 10, "teenager": 10, "teenagers": 10}
    | {"dozen": 12, "dozens": 12, "noon": 12, "midnight": 12, "midday": 12, "century": 100}
)
_ENGLISH_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ENGLISH_SUFFIXES = _ENGLISH_SCALES | {"k": 1000, "m": 10**6, "bn": 10**9}
_MONTHS = """January February March April May June July August September October November December""".split()
_MONTH = re.compile(rf"\b(?:{'|'.join(f'{month}|{month[:3]}' for month in _MONTHS)}|Sept)\b")
# Shares and times of the clock that languages write as words or as numbers: half -> 2 parts, 50 %, 30 minutes.
_SHARES = {
    "hal(?:f|ves)": (2, 30, 50, 0.5),
    "quarters?": (4, 15, 45, 25, 75, 0.25),
    "thirds?": (3, 33, 66),
    "mid(?:night)": (0, 24),
}
_SHARE = re.compile(rf"\b(?:{'|'.join(f'({pattern})' for pattern in _SHARES)})\b", flags=re.IGNORECASE)
_CLOCK = re.compile(r"\b([a-z]+(?:-five)?|\d+)(?: minutes)? (past|after|to|till|before|of) ([a-z]+|\d+)\b")
_DAY_TIME = re.compile(
    r"o['’]?clock|\bp\.?\s?m\b|afternoon|evening|\bnight\b|tonight|\bpast\b|\bquarter to\b", flags=re.IGNORECASE
)
_PM = re.compile(r"\bp\.?\s?m\b", flags=re.IGNORECASE)
_TIME = re.compile(r"(?<!\d)(\d{1,2}):(\d\d)(?!\d)")
# From 8 to 5: the second is in the afternoon.
_HOURS = re.compile(r"(?<![\d.])(\d{1,2})(?::\d\d)?(?: ?a\.?m\.?)? (?:to|until|till) (\d{1,2})(?![\d.,]\d|\d)")
_FULL_HOUR = re.compile(r"(?<=\d):00\b")
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
    said = _numbers(_FULL_HOUR.sub(" ", often_words.sub(" ", source)), _ENGLISH_SUFFIXES, _english_readings)
    lost_words, added_words = _changed_counts(source, translation, target, said, written, spelt)
    if not said and not written:
        return lost_words, added_words

    found = set().union(*written, spelt)
    lost = [
        values
        for values in said
        if not values & found
        and not any(_may_be_otherwise(value, source, found) for value in values)
        and not any(_spelt_out(value, translation, target) for value in values)
    ]
    if lost:
        words = _number_words(translation, target) if target.numerals else _cjk_shares(translation, found)
        lost = [
            values
            for values in lost
            if not any(
                _in_words(value, source, words) or _told_by_the_next_hour(value, source, found, words)
                for value in values
            )
        ]
    expected = _expected(source, said) if written else set()
    added = [values for values in written if not values & expected]
    if lost and not added:
        in_names = _numbers_in_names(source, translation)
        lost = [values for values in lost if not values & in_names]
    return lost_words.union(map(min, lost)), added_words.union(map(min, added))


def _told_by_the_next_hour(value: float, source: str, found: set[float], words: set[float]) -> bool:
    """Whether a time is told by the hour that follows: 4:35 as twenty-five to five, or in Russian as 35 of the fifth."""
    for hour, minute in ((int(hour), int(minute)) for hour, minute in _TIME.findall(source)):
        if value not in (hour, minute) or not minute or not {hour % 12 + 1, hour + 1} & (found | words):
            continue
        share = {30: 0.5, 15: 0.25, 45: 0.25, 40: 1 / 3}.get(minute)
        if 60 - minute in found | words or share in words or minute in words:
            return True
    return False


def _numbers_in_names(source: str, translation: str) -> set[float]:
    """Numbers behind letters (K2) of which the translation has neither: it spells the name in its own letters."""
    return {float(number) for name, number in _NUMBERED_NAME.findall(source) if name not in translation}


_NUMBERED_NAME = re.compile(r"(?<![^\W_])([A-Z][A-Za-z]{0,3})-?(\d{1,2})(?!\w)")


def _cjk_shares(text: str, found: set[float]) -> set[float]:
    shares = {share for share, pattern in _CJK_SHARES.items() if pattern.search(text)}
    return shares | {value + share for value in found for share in shares}


_CJK_SHARES = {
    0.5: re.compile("半"),
    0.25: re.compile("一刻|四分之一|四分の一|4分の1"),
    0.75: re.compile("三刻|四分之三|四分の三|4分の3"),
}


def _changed_counts(
    source: str, translation: str, target: Target, said: list[set[float]], written: list[set[float]], spelt: set[float]
) -> tuple[set[float], set[float]]:
    """Counts in words (two dogs) that the translation lacks, if it counts otherwise in words or digits (three dogs).

    A count that is only lost may be said otherwise: as a dual, a pair, a compound.
    """
    lost, added = _changed_large_counts(source, translation, target, said, set().union(*written, spelt))
    if lost:
        return lost, added
    counted = {float(_ENGLISH_WORDS[word]) for word in _COUNT.findall(source.lower())}
    if not counted:
        return set(), set()
    found = set().union(*written, spelt)
    added = (_counts(translation, target) | set().union(*(values for values in written if len(values) == 1))) - counted
    if not added or not (added := added - _expected(source, said)):
        return set(), set()
    found |= {float(_CJK_DIGITS[character]) for character in translation if character in _CJK_DIGITS}
    found |= _number_words(translation, target)
    lost = {value for value in counted - found if not _spelt_out(value, translation, target)}
    return (lost, added) if lost else (set(), set())


def _changed_large_counts(
    source: str, translation: str, target: Target, said: list[set[float]], found: set[float]
) -> tuple[set[float], set[float]]:
    """The same for 13 to 99, where teens and tens are confused: thirteen that become thirty."""
    if not (names := _LARGE_COUNT.findall(source.lower())) or _CLOCK.search(source.lower()):
        return set(), set()
    counted = {float(sum(_ENGLISH_WORDS[word] for word in re.split(r"[ -]", name))) for name in names}
    if 21 in target.more_numerals:
        # A language that does not add them up: what the table lacks is unknown.
        counted &= target.more_numerals.keys()
    if not (lost := counted - found):
        return set(), set()
    words = _number_words(translation, target) if target.numerals else found
    lost -= words
    expected = _expected(source, said) | counted
    added = {value for value in (words | found) - expected if 12 < value < 100 and value == int(value)}
    return (lost, {max(added)}) if lost and added else (set(), set())


_LARGE_COUNT = re.compile(
    rf"(?<![\w-])(?<!hundred )(?<!and )(?<!thousand )(?:{'|'.join(_ENGLISH_UNITS[13:])}|(?:{'|'.join(_ENGLISH_TENS)})"
    rf"(?:[- ](?:{'|'.join(_ENGLISH_UNITS[1:10])}))?)(?![\w-]|[ -](?:{'|'.join([*_ENGLISH_SCALES, *_ENGLISH_UNITS, *_ENGLISH_TENS])})\b)"
)


def _counts(translation: str, target: Target) -> set[float]:
    if target.counters:
        numerals = re.findall(rf"(?<![{_CJK_CHARACTERS}第])([{_CJK_CHARACTERS}])(?=[{target.counters}])", translation)
        return {float(_cjk_value(numeral)) for numeral in numerals} - {1.0}
    known = _values_of_counts(target)
    return {known[word] for word in _COUNTING_WORD.findall(translation.lower()) if word in known}


@cache
def _values_of_counts(target: Target) -> dict[str, float]:
    forms = enumerate(target.counts, start=2)
    return {form: float(value) for value, parts in forms for form in parts.split("/") if form}


_CJK_CHARACTERS = "二三四五六七八九十两"
_COUNT = re.compile(r"(?<![\w-])(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?![\w-])")
# Vowel signs are no \\w.
_COUNTING_WORD = re.compile(r"[^\s.,;:!?،؛؟۔।\"«»“”()–—-]+")


@lru_cache(maxsize=64)
def _said_otherwise(source: str) -> frozenset[float]:
    """Values that a translation may write as numbers, of the words of an English text."""
    values = _english_words(source) | {0.0}
    values |= {
        float(_MONTHS.index(month)) + 1
        for name in _MONTH.findall(source)
        for month in _MONTHS
        if month[:3] == name[:3]
    }
    for match in _SHARE.finditer(source):
        values.update(list(_SHARES.values())[(match.lastindex or 1) - 1])
    if "half" in source.lower():
        values |= {value + 0.5 for value in values}
    for minutes, side, hour in _CLOCK.findall(source.lower()):
        minute, hours = (
            _english_words(word) | ({float(word)} if word.isdigit() else set()) for word in (minutes, hour)
        )
        if minutes == "half":  # half past three is halb vier
            values |= {value + 1 for value in hours}
        if hours and side not in ("past", "after"):
            values |= {60 - value for value in minute} | {value - 1 for value in hours}
            values |= {11.0 + value for value in hours}
            values |= {45.0, 30.0} & {60 - value for value in values}
    for hour, minute in _TIME.findall(source):
        values |= {60.0 - int(minute), int(hour) + 1.0, int(hour) + 13.0}
    values |= {hour + 12.0 for hour in _closing_hours(source)}
    return frozenset(values)


def _expected(source: str, said: list[set[float]]) -> set[float]:
    values = _said_otherwise(source).union(*said, *_numbers(source, {}, _english_readings))
    # 1960s: the sixties of the 20th century.
    values = values | {
        part for value in values if _is_decade(value, source) for part in (value % 100, value // 100 + 1)
    }
    # An hour and a half, 1 hour 30.
    shares = {0.5: 30.0, 0.25: 15.0, 0.75: 45.0}
    values = values | {
        part for value in values if (minutes := shares.get(value % 1)) for part in (value // 1, minutes)
    }
    if _DAY_TIME.search(source):
        values = values | {value + 12 for value in values if value < 12}
    return set(values)


def _numbers(text: str, scales: dict[str, int], readings: Callable[[str], set[float]]) -> list[set[float]]:
    """What each number written in digits may mean; a `million` behind it may be part of it."""
    text = _OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)
    found: list[set[float]] = []
    end_of_scale, scale_before = -1, 0
    for match in _NUMBER.finditer(text):
        values, scale, end = readings(match[0]), None, match.end()
        following = _WORD_AFTER.match(text, end)
        if following and (scale := _scale_of(following[1].lower(), scales)):
            values |= {round(value * scale, 6) for value in values}
            end = following.start(1) + (1 if text[following.start(1)] in _CJK_LARGE else len(following[1]))
        # 1億2500万 is one number, and so is 1 अरब 40 करोड़.
        if (
            found
            and not text[end_of_scale : match.start()].strip()
            and end_of_scale >= 0
            and max(values) < scale_before
        ):
            found[-1] = {before + value for before in found[-1] for value in values} | found[-1]
        else:
            found.append(values)
        end_of_scale, scale_before = (end, scale) if scale else (-1, 0)
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
    # লাখের, тысячами: with an ending.
    for scale, value in scales.items():
        if len(scale) > 2 and not scale.isascii() and word.startswith(scale) and len(word) <= len(scale) + 3:
            return value
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
    run: list[float] = []
    for word in re.findall(r"[a-z]+|\S", text.lower()):
        if word in _ENGLISH_WORDS:
            if not (word in ("a", "an") and run and run[-1] in (0.5, 1)):
                run.append(_ENGLISH_WORDS[word])
        elif word in _ENGLISH_SCALES and run:
            scale = _ENGLISH_SCALES[word]
            run = [*run[:-1], run[-1] * scale] if scale == 100 else [sum(run) * scale]
        elif word not in ("and", "-"):
            found.update(_sums(run))
            run = []
    found.update(_sums(run))
    return found


def _sums(run: Sequence[float]) -> Iterable[float]:
    """Sums of neighbours, and years that are read in pairs: nineteen sixty-nine."""
    if not run:
        return set()
    sums = {float(sum(run[start:end])) for start in range(len(run)) for end in range(start + 1, len(run) + 1)}
    return sums | {
        first * 100 + sum(run[index + 1 :])
        for index, first in enumerate(run)
        if 10 <= first <= 21 and run[index + 1 :]
    }


@cache
def _words_of(target: Target) -> tuple[re.Pattern[str], dict[str, float], dict[str, float]]:
    """A pattern of a language's number words, their values, and the values of those that multiply."""
    words = {
        part: float(value)
        for value, parts in [*enumerate(target.numerals), *target.more_numerals.items()]
        for part in parts.split("/")
    }
    scales = {word: float(scale) for word, scale in target.scales.items() if len(word) > 1}
    longest_first = sorted({*words, *scales}, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, longest_first))), words, scales


def _number_words(text: str, target: Target) -> set[float]:
    """Values of number words of a target: each, and the sums and products of neighbours."""
    pattern, words, scales = _words_of(target)
    text = text.lower()
    found: set[float] = set()
    run: list[float] = []
    end = 0
    for match in pattern.finditer(text):
        gap = text[end : match.start()]
        if len(gap) > _LONGEST_GAP or re.search(r"[.,،;:!?।۔]", gap):
            found.update(_sums(run))
            run = []
        end = match.end()
        if match[0] in scales:
            # A hundred alone is one hundred; what stands before it, as twelve and a half, multiplies.
            factor = 0.0
            while run and run[-1] < scales[match[0]]:
                factor += run.pop()
            run.append((factor or 1.0) * scales[match[0]])
        else:
            run.append(words[match[0]])
    return found | set(_sums(run))


# Between the words of one number: an ending, a hyphen, an "and".
_LONGEST_GAP = 7


def _in_words(value: float, source: str, words: set[float]) -> bool:
    """Whether number words say a value that the source writes in digits."""
    if value in words:
        return True
    shares = {30: 0.5, 15: 0.25, 45: 0.75, 20: 1 / 3} if re.search(rf":{int(value):02d}\b", source) else {}
    if re.search(rf"\b{value:g}\s?(%|percent|per cent)", source):
        shares = {50: 0.5, 25: 0.25, 75: 0.75}
    if share := shares.get(int(value)):
        return any(word % 1 == share for word in words) or (share == 0.75 and 0.25 in words)
    after_noon = _PM.search(source) and value < 12 and value + 12 in words
    return bool(after_noon) or (f"{value:g}:45" in source and value + 1 in words)


def _spelt_out(value: float, translation: str, target: Target) -> bool:
    if value > _MOST_SPELT_OUT or value != int(value) or not target.numerals:
        return False
    text = translation.lower()
    return any(part in text for part in target.numerals[int(value)].split("/"))


def _may_be_otherwise(value: float, source: str, found: set[float]) -> bool:
    # The name of a decade may be a word: the sixties.
    afternoon = _PM.search(source) or value in _closing_hours(source)
    return _is_decade(value, source) or (value < 12 and value + 12 in found and bool(afternoon))


def _closing_hours(source: str) -> set[int]:
    """Hours up to which something is open, by their digits: 5 in 8 to 5."""
    return {
        int(after)
        for before, after in _HOURS.findall(source)
        if int(after) < 12 and (int(after) < int(before) <= 12 or _OPEN.search(source))
    }


_OPEN = re.compile(r"\bopen|\bhours\b|\bdaily\b|every day", flags=re.IGNORECASE)


def _is_decade(value: float, source: str) -> bool:
    return value % 10 == 0 and f"{int(value)}s" in source.replace("'s", "s").replace("’s", "s")
