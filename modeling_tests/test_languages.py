"""The ten languages, and telling which one a text is in."""

import pytest

from transformers_palo import LANGUAGES, get_language
from transformers_palo.language_id import detect_language, script_counts


SENTENCES = {
    "en": "The boat on the lake is red, and two birds are sitting on it.",
    "zh": "湖上的船是红色的，上面停着两只鸟。",
    "fr": "Le bateau sur le lac est rouge et deux oiseaux y sont posés.",
    "es": "El barco que está en el lago es rojo y tiene dos pájaros encima.",
    "ru": "Лодка на озере красная, на ней сидят две птицы.",
    "ja": "湖の上の船は赤くて、鳥が二羽とまっています。",
    "ar": "القارب في البحيرة أحمر اللون، وعليه طائران.",
    "hi": "झील में नाव लाल है और उस पर दो पक्षी बैठे हैं।",
    "bn": "হ্রদের নৌকাটি লাল এবং তার উপর দুটি পাখি বসে আছে।",
    "ur": "جھیل میں کشتی سرخ ہے اور اس پر دو پرندے بیٹھے ہیں۔",
}


def test_the_ten():
    assert [language.code for language in LANGUAGES] == ["en", "zh", "fr", "es", "ru", "ja", "ar", "hi", "bn", "ur"]
    assert {language.code for language in LANGUAGES if language.direction == "rtl"} == {"ar", "ur"}
    assert [language.resource_level for language in LANGUAGES] == ["high"] * 6 + ["low"] * 4


@pytest.mark.parametrize("key", ["hi", "HI", "Hindi", " hindi "])
def test_looking_up(key):
    assert get_language(key).native_name == "हिन्दी"


def test_an_unknown_language():
    with pytest.raises(ValueError, match=r"Unknown language 'de': expected one of en \(English\)"):
        get_language("de")


@pytest.mark.parametrize("code", SENTENCES)
def test_detecting(code):
    assert detect_language(SENTENCES[code]) == get_language(code)


@pytest.mark.parametrize("text", ["", "  ", "42", "?!", "😀", "7 + 8 = 15"])
def test_a_text_without_letters_is_in_no_language(text):
    assert detect_language(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("图中的数字是 7 (seven)。", "zh"),
        ("この画像の数字は7です。", "ja"),
        ("画像は赤い船", "ja"),
        ("Число на картинке — 7, OK?", "ru"),
        ("চিত্রে 7 সংখ্যাটি আছে।", "bn"),
    ],
)
def test_the_leading_script_decides(text, code):
    assert detect_language(text) == get_language(code)


def test_marks_and_digits_are_no_letters():
    assert script_counts("नाव ७ 7।").total() == len("नव")
