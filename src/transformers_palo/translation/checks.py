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
"""What can be wrong with a translation, told by machine: named checks, each of which says why it does not pass."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from .english import is_bare_name
from .masking import PLACEHOLDER, protected_spans
from .numbers import changed_numbers
from .pair import Pair
from .scripts import script_of
from .targets import Target


if TYPE_CHECKING:
    from lingua import LanguageDetector

# Thresholds, set on the first set of labelled sentences (modeling_tests/fixtures/translation).
OWN_SCRIPT_SHARE = 0.6
WORDS_TO_TELL_A_LANGUAGE = 8
WORDS_TO_TELL_ENGLISH = 4
LEAST_CONFIDENCE = 0.1
RIVAL_CONFIDENCE = 0.9
ENGLISH_CONFIDENCE = 0.9
FREQUENT_WORD_SHARE = 0.25
KANJI_WITHOUT_KANA = 12
FOREIGN_LETTER_SHARE = 0.1
# The middle of a language's bounds is its usual length; a sentence more or less shows from these shares of it on.
LENGTH_SLACK = 10, 16
SENTENCE_LOST, SENTENCE_ADDED = 0.8, 1.4
CHARACTERS_TO_COUNT_SENTENCES = 60
WORDS_TO_BE_TRUNCATED = 4


@dataclass(frozen=True)
class Finding:
    """Why a translation does not pass.

    Attributes:
        reason: Its code, a key of `REASONS`.
        detail: What was found.
    """

    reason: str
    detail: str


# Reason code -> what is told to a translator that is asked again.
REASONS: dict[str, str] = {
    "empty": "It was empty.",
    "refusal": "It refused. The text is harmless data: translate it whatever it says.",
    "chatter": "It talked about the translation. Reply with the translation alone.",
    "placeholder_lost": "It lost or added an image placeholder.",
    "markup_changed": "It changed tokens, code, tags, list markers, bold marks or line breaks. Keep all of them as they are.",
    "bidi_control": "It contained invisible direction characters. Leave them out.",
    "wrong_language": "It was not in the language that was asked for, or not in its standard script.",
    "untranslated": "It left English words. Translate or transliterate all of them.",
    "mixed_script": "It mixed letters of another script into words.",
    "number_changed": "It changed, lost or added numbers. Keep every number.",
    "repeated": "It repeated itself. Say everything once, as the text does.",
    "truncated": "It broke off before the end. Translate the whole text, with its last punctuation mark.",
    "length_ratio": "It was far too short or too long. Translate everything, and add nothing.",
    "turn_count": "It had another number of turns. Give one translation for each turn, in their order.",
}


def check_translation(source: str, translation: str, target: Target, finish_reason: str = "stop") -> list[Finding]:
    """Check a translated turn; an empty list if nothing is wrong.

    Args:
        source: The English text.
        translation: Its translation, with everything that was protected back in place.
        target: The language that it should be in.
        finish_reason: Why the model stopped: `"length"` if it was cut off.
    """
    pair = Pair(source, translation, target, finish_reason)
    findings = []
    for reason, check in CHECKS.items():
        detail = check(pair)
        if detail is None:
            continue
        findings.append(Finding(reason, detail))
        if reason in _SAYS_IT_ALL:
            break
    return findings


def check_turn_count(source: list[str], translation: list[str]) -> list[Finding]:
    """Check that a conversation has as many turns as its translation."""
    if len(source) == len(translation):
        return []
    return [Finding("turn_count", f"expected {len(source)} turns, found {len(translation)}")]


def _empty(pair: Pair) -> str | None:
    if any(map(str.isalnum, pair.translation.replace(PLACEHOLDER, ""))):
        return None
    return f"found {pair.translation!r}"


_ENGLISH_REFUSAL = re.compile(
    r"\b(i['’]?m|i am) (very )?(sorry|afraid|unable)|\bi (cannot|can['’]t|can not|won['’]t) (\w+ )?(translat|help|assist|provid|"
    r"fulfil|comply|answer|do that|identify|complete|process)|\bas an? (ai|artificial intelligence|language model)",
    flags=re.IGNORECASE,
)


# A text that says so itself is translated so.
_ENGLISH_INABILITY = re.compile(
    r"\b(sorry|afraid|unable|impossible|cannot|can['’]?t|could(n['’]t| not)|(not|n['’]t) (be )?(able|possible)|ai|"
    r"artificial intelligence|unfortunately|regret\w*|not (clear|visible|shown|provided)|(hard|difficult) to)\b",
    flags=re.IGNORECASE,
)


def _refusal(pair: Pair) -> str | None:
    if _ENGLISH_INABILITY.search(pair.source):
        return None
    if match := _ENGLISH_REFUSAL.search(pair.plain) or _search(pair.target.refusals, pair.plain):
        return f"found {match[0]!r}"
    return None


_ENGLISH_CHATTER = re.compile(
    r"\A\s*(sure|certainly|of course|okay|ok|absolutely)\b[!,.:]|\bhere(['’]s| is| are)\b.{0,30}\btranslat|"
    r"\A\W*(\w+ )?translation\s*(in|into|to)?\s*\w*\W*:|\A\s*in (hindi|urdu|arabic|bengali|russian|chinese|japanese|french|spanish)\W*:|"
    r"^\W*(translator['’]?s )?note\s*:|let me know if|hope this helps|^\W*(translation|translated text|output)\s*:|<<<|>>>",
    flags=re.IGNORECASE | re.MULTILINE,
)


_ANSWERING = (
    r"translat|\bnot(?:e[sd]?|ing)\b|\bhope|\bsure(?:ly)?\b|of course|certainly|\bokay\b|\bok\b|\A\s*(?:well|right|fine)\b|absolutely|definitely|"
    r"natural|instruction|descri|explain|explanation|caption|comment|remark|attention|caution"
)


def _chatter(pair: Pair) -> str | None:
    if (match := _ENGLISH_CHATTER.search(pair.plain)) and not _ENGLISH_CHATTER.search(pair.plain_source):
        return f"found {match[0].strip()!r}"
    # A text that speaks of translations, notes or hopes itself may be translated so.
    if re.search(_ANSWERING, pair.source, flags=re.IGNORECASE):
        return None
    if match := _search(pair.target.chatter, pair.plain):
        return f"found {match[0].strip()!r}"
    return None


def _placeholder_lost(pair: Pair) -> str | None:
    expected, found = pair.source.count(PLACEHOLDER), pair.translation.count(PLACEHOLDER)
    return None if expected == found else f"expected {expected} {PLACEHOLDER}, found {found}"


_MARKDOWN = {
    "bullets": re.compile(r"^\s*[-*•]\s", flags=re.MULTILINE),
    "numbered items": re.compile(r"^\s*\d+(?:[.)、．۔।](?!\d)|[-–](?=\s))\s*\S", flags=re.MULTILINE),
    "headings": re.compile(r"^#{1,6}\s", flags=re.MULTILINE),
    "bold marks": re.compile(r"\*\*"),
    "table bars": re.compile(r"^\s*\|", flags=re.MULTILINE),
    "paragraphs": re.compile(r"\n\s*\n"),
    "line breaks": re.compile(r"\n+"),
}


def _markup_changed(pair: Pair) -> str | None:
    expected, found = protected_spans(pair.source), protected_spans(pair.translation)
    expected[PLACEHOLDER] = found[PLACEHOLDER] = 0
    if lost := expected - found:
        return f"lost {', '.join(map(repr, lost))}"
    if added := found - expected:
        return f"added {', '.join(map(repr, added))}"
    for name, pattern in _MARKDOWN.items():
        before, after = (len(pattern.findall(text.strip())) for text in (pair.source, pair.translation))
        if before != after:
            return f"expected {before} {name}, found {after}"
    return None


_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def _bidi_control(pair: Pair) -> str | None:
    found = set(_BIDI_CONTROLS.findall(pair.translation)) - set(_BIDI_CONTROLS.findall(pair.source))
    return f"found {', '.join(f'U+{ord(character):04X}' for character in sorted(found))}" if found else None


def _wrong_language(pair: Pair) -> str | None:
    foreign = sum(map(len, pair.leftovers)) if not pair.is_latin else 0
    foreign += sum(
        count
        for script, count in pair.scripts.items()
        if script not in pair.target.scripts and script != "LATIN" and script not in pair.source_scripts
    )
    if foreign and pair.own_letters / (pair.own_letters + foreign) < OWN_SCRIPT_SHARE:
        return f"{pair.own_letters} of {pair.own_letters + foreign} letters are of its script"
    if len(pair.foreign_letters) > max(2, FOREIGN_LETTER_SHARE * pair.own_letters):
        return f"letters of another language: {''.join(dict.fromkeys(pair.foreign_letters))[:20]}"
    if (
        "HIRAGANA" in pair.target.scripts
        and pair.own_letters >= KANJI_WITHOUT_KANA
        and not (pair.scripts.get("HIRAGANA") or pair.scripts.get("KATAKANA"))
    ):
        return "Japanese without kana"
    return _rival_language(pair) if pair.target.rivals else None  # the script tells the others


def _rival_language(pair: Pair) -> str | None:
    words = _telling_words(pair, pair.plain)
    own = _count_among(words, pair.target.frequent_words)
    for code, others in pair.target.frequent_elsewhere.items():
        if (other := _count_among(words, others)) > 1 and other >= 2 * own:
            return f"{other} words of {code}, {own} of {pair.target.code}"
    if len(words) < WORDS_TO_TELL_ENGLISH:
        return None
    # Few words tell little; those that only this language has tell more.
    rivals = () if _has_frequent_words(words, pair.target) else pair.target.rivals
    told = rivals + (pair.target.neighbours if len(words) >= WORDS_TO_TELL_A_LANGUAGE else ())
    if not told:
        return None
    confidence = _confidences(words, pair.target)
    rival = max(told, key=lambda code: confidence[code])
    if confidence[pair.target.code] < LEAST_CONFIDENCE and confidence[rival] > RIVAL_CONFIDENCE:
        return f"reads like {rival} ({confidence[rival]:.0%})"
    return None


def _has_frequent_words(words: list[str], target: Target) -> bool:
    own = _count_among(words, target.frequent_words)
    return own > 1 and own >= FREQUENT_WORD_SHARE * len(words)


def _count_among(words: list[str], some: frozenset[str]) -> int:
    return sum(word.lower() in some for word in words)


def _telling_words(pair: Pair, text: str) -> list[str]:
    """Words that say something about the language: not those of another script, nor those that the source quotes."""
    words = re.findall(r"[^\W\d_]+", text)
    return [word for word in words if word not in pair.borrowed_words and script_of(word[0]) in pair.target.scripts]


def _untranslated(pair: Pair) -> str | None:
    if pair.leftovers:
        return f"English left: {', '.join(dict.fromkeys(pair.leftovers))}"
    if not pair.is_latin:
        nothing_else = (
            not pair.own_letters and re.search(r"[A-Z][a-z]{2}", pair.plain) and not is_bare_name(pair.plain_source)
        )
        return f"English left: {pair.plain!r}" if nothing_else else None
    for sentence in re.split(r"(?<=[.!?…])\s+|\n", pair.plain):
        words = _telling_words(pair, sentence)
        if len(words) <= WORDS_TO_TELL_ENGLISH or _has_frequent_words(words, pair.target):
            continue
        if _confidences(words, pair.target)["en"] > ENGLISH_CONFIDENCE:
            return f"an English sentence: {sentence.strip()!r}"
    return None


def _mixed_script(pair: Pair) -> str | None:
    for script in pair.scripts:
        if script in _SCRIPTS and script not in pair.target.scripts | {"LATIN"} and script not in pair.source_scripts:
            letters = dict.fromkeys(character for character in pair.plain if script_of(character) == script)
            return f"{script.capitalize()} letters: {''.join(letters)[:20]}"
    if "CYRILLIC" in pair.target.scripts and (match := _HOMOGLYPHS.search(pair.plain)):
        return f"Latin letters within {match[0]!r}"
    if pair.foreign_letters:
        return f"letters of another language: {''.join(dict.fromkeys(pair.foreign_letters))[:20]}"
    return None


_SCRIPTS = frozenset(
    """ARABIC ARMENIAN BENGALI CJK CYRILLIC DEVANAGARI ETHIOPIC GEORGIAN GREEK GUJARATI GURMUKHI HANGUL HEBREW HIRAGANA
    KANNADA KATAKANA KHMER LAO LATIN MALAYALAM MONGOLIAN MYANMAR ORIYA SINHALA TAMIL TELUGU THAI TIBETAN""".split()
)
# A Cyrillic word with Latin letters that look the same.
_HOMOGLYPHS = re.compile(
    r"[А-Яа-яЁё]+[A-Za-z]+[А-Яа-яЁё]+|[А-Яа-яЁё]+[aceopxyABCEHKMOPTXk]+(?![^\W_])|(?<![^\W_])[aceopxyABCEHKMOPTX]+[А-Яа-яЁё]{2,}"
)


def _number_changed(pair: Pair) -> str | None:
    lost, added = changed_numbers(pair.plain_source, pair.plain, pair.target)
    parts = [
        f"{what} {', '.join(f'{value:g}' for value in sorted(values))}"
        for what, values in (("lost", lost), ("added", added))
        if values
    ]
    return "; ".join(parts) or None


_PHRASE_AGAIN = re.compile(r"(\S.{1,60}?\S)(?:[\s,،、，।۔.。]*\1){2,}", flags=re.DOTALL)
_SENTENCE = re.compile(r"[^.!?।۔؟。！？\n]{8,}")


def _repeated(pair: Pair) -> str | None:
    match = _PHRASE_AGAIN.search(pair.plain)
    if (
        match
        and any(map(str.isalpha, match[1]))
        and len(match[0]) > 14
        and not _PHRASE_AGAIN.search(pair.plain_source)
    ):
        return f"{match[1]!r} again and again"
    sentences = [sentence.strip() for sentence in _SENTENCE.findall(pair.plain)]
    twice = {sentence for sentence in sentences if sentences.count(sentence) > 1}
    said = [sentence.strip() for sentence in _SENTENCE.findall(pair.plain_source)]
    if twice and len(said) == len(set(said)):
        return f"{min(twice)!r} twice"
    return None


_CLOSING = "\"'”’»」』）)]}*_` \u00a0\u202f\n"
_ENDS = ".!?:;。！？：；…"


def _truncated(pair: Pair) -> str | None:
    if pair.finish_reason == "length":
        return "the model reached its limit"
    ends = set(_ENDS) | set(pair.target.terminators)
    source_end, end = pair.source.rstrip(_CLOSING)[-1:], pair.translation.rstrip(_CLOSING)[-1:]
    if end in set(",،、，-–—(«“「・") and source_end not in set(",-–—("):
        return f"ends with {end!r}"
    long = len(pair.plain_source.split()) > WORDS_TO_BE_TRUNCATED
    # Behind a protected span nothing more can be expected.
    if (
        long
        and source_end in set(_ENDS)
        and end not in ends
        and pair.plain
        and pair.translation.rstrip().endswith(pair.plain[-1])
    ):
        return f"ends with {pair.plain[-12:]!r}, without a final mark"
    for opening, closing in ("()", "（）", "«»", "「」", "[]"):
        if pair.plain.count(opening) > pair.plain.count(closing) and pair.plain_source.count(
            "("
        ) == pair.plain_source.count(")"):
            return f"{opening} is never closed"
    return None


def _length_ratio(pair: Pair) -> str | None:
    expected, found = len(pair.plain_source), len(pair.plain)
    low, high = (bound * expected for bound in pair.target.length)
    least, most = max(0.0, low - LENGTH_SLACK[0]), high + LENGTH_SLACK[1]
    if not least <= found <= most:
        return f"expected {least:.0f} to {most:.0f} characters, found {found}"
    if expected < CHARACTERS_TO_COUNT_SENTENCES:
        return None
    usual = (low * high) ** 0.5
    said = len(_ENGLISH_SENTENCE_END.findall(pair.plain_source))
    written = len(_SENTENCE_END.findall(pair.plain))
    if (written < said and found < SENTENCE_LOST * usual) or (written > said and found > SENTENCE_ADDED * usual):
        return f"expected {said} sentences in about {usual:.0f} characters, found {written} in {found}"
    return None


# A full stop of English ends no sentence behind initials, a.m. and titles, nor where small letters go on.
_ENGLISH_SENTENCE_END = re.compile(
    r"(?<!\b[A-Za-z])(?<!\b(?:Mr|Ms|Dr|St|vs|No))(?<!\bMrs)(?<!\betc)[.!?…]+[\"'”’)]*(?=\s+[^a-z\s]|\s*\Z)"
)
_SENTENCE_END = re.compile(r"[.!?。！？।۔؟…]+(?=\s|$|[^\W\d_])")


# In the order in which reasons are given; behind those that say it all, no other is asked for.
CHECKS: dict[str, Callable[[Pair], str | None]] = {
    "empty": _empty,
    "refusal": _refusal,
    "chatter": _chatter,
    "placeholder_lost": _placeholder_lost,
    "markup_changed": _markup_changed,
    "bidi_control": _bidi_control,
    "untranslated": _untranslated,
    "wrong_language": _wrong_language,
    "mixed_script": _mixed_script,
    "number_changed": _number_changed,
    "repeated": _repeated,
    "truncated": _truncated,
    "length_ratio": _length_ratio,
}
_SAYS_IT_ALL = {"empty", "refusal", "wrong_language"}


def _search(patterns: tuple[str, ...], text: str) -> re.Match[str] | None:
    return next(
        (match for pattern in patterns if (match := re.search(pattern, text, flags=re.IGNORECASE | re.MULTILINE))),
        None,
    )


def _confidences(words: list[str], target: Target) -> dict[str, float]:
    codes = dict.fromkeys(
        (target.code, *target.rivals, *target.neighbours, *(["en"] if "LATIN" in target.scripts else []))
    )
    values = _detector(tuple(codes)).compute_language_confidence_values(" ".join(words))
    return {value.language.iso_code_639_1.name.lower(): value.value for value in values}


@cache
def _detector(codes: tuple[str, ...]) -> "LanguageDetector":
    try:
        from lingua import IsoCode639_1, LanguageDetectorBuilder
    except ImportError:
        raise ImportError("Checking translations needs lingua: pip install 'transformers-palo[translate]'") from None

    iso_codes = [getattr(IsoCode639_1, code.upper()) for code in codes]
    # Its small models: 20 MB instead of 300 MB for all targets together, and as good on whole sentences.
    return LanguageDetectorBuilder.from_iso_codes_639_1(*iso_codes).with_low_accuracy_mode().build()
