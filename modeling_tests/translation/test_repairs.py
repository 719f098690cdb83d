"""Repairs: what each mends, what it leaves alone, and that twice is once."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_palo.translation.masking import mask
from transformers_palo.translation.repairs import REPAIRS, repair
from transformers_palo.translation.targets import TARGETS


@pytest.mark.parametrize(
    ("code", "text", "repaired", "names"),
    [
        ("ar", "هل هذا صحيح , أم لا ?", "هل هذا صحيح، أم لا؟", {"marks", "spacing"}),
        ("ar", "قال ; ثم ذهب.", "قال؛ ثم ذهب.", {"marks", "spacing"}),
        ("ur", "یہ کتاب ہے. وہ قلم ہے.", "یہ کتاب ہے۔ وہ قلم ہے۔", {"full_stop"}),
        ("ur", "ڈاکٹر. احمد نے كہا ہے۔", "ڈاکٹر. احمد نے کہا ہے۔", {"letters"}),
        ("hi", "यह 3.5 किमी दूर है. डॉ. राव यहाँ हैं.", "यह 3.5 किमी दूर है। डॉ. राव यहाँ हैं।", {"full_stop"}),
        ("hi", "यह कुत्ता है |", "यह कुत्ता है।", {"full_stop"}),
        ("bn", "এটি একটি কুকুর .", "এটি একটি কুকুর।", {"full_stop"}),
        ("zh", "你好, 世界! 这是 一只狗.", "你好，世界！这是一只狗。", {"marks", "full_stop", "inner_spaces"}),
        ("zh", "他(左边)有3.5米高.", "他（左边）有3.5米高。", {"marks", "full_stop"}),
        ("ja", "はい, そうです.", "はい、そうです。", {"marks", "full_stop", "inner_spaces"}),
        ("ja", 'Tシャツに"STOP"と書いてあります。', "Tシャツに「STOP」と書いてあります。", {"quotes"}),
        (
            "fr",
            "Pourquoi? Parce que: c'est beau!",
            "Pourquoi\u00a0? Parce que\u00a0: c'est beau\u00a0!",
            {"french_spacing"},
        ),
        ("fr", 'Il dit "non".', "Il dit «\u00a0non\u00a0».", {"quotes"}),
        ("es", "Cómo está? Qué bien!", "¿Cómo está? ¡Qué bien!", {"inverted_marks"}),
        ("es", "Hola, cómo está?", "Hola, ¿cómo está?", {"inverted_marks"}),
        ("es", "Mide 3.5 metros?", "¿Mide 3.5 metros?", {"inverted_marks"}),
        ("ru", 'Он сказал "да" .', "Он сказал «да».", {"quotes", "spacing"}),
        ("hi", "क\u093c", "क\u093c", set()),  # composed forms that Unicode excludes stay decomposed
        ("hi", "उसने चाय पी. वह नेहरू जी.", "उसने चाय पी। वह नेहरू जी।", {"full_stop"}),  # names of letters that are words
        ("ur", "وہ یہاں ہے. 2. نمبر.", "وہ یہاں ہے۔ 2. نمبر۔", {"full_stop"}),
        (
            "es",
            "¿El Sr. Pérez viene? Dr. Ruiz, qué opina?",
            "¿El Sr. Pérez viene? Dr. Ruiz, ¿qué opina?",
            {"inverted_marks"},
        ),
        ("fr", "Tom &amp; Jerry: vraiment?", "Tom &amp; Jerry\u00a0: vraiment\u00a0?", {"french_spacing"}),
        ("fr", "e\u0301cole", "école", {"unicode"}),
    ],
)
def test_what_is_mended(code, text, repaired, names):
    assert repair(text, TARGETS[code]) == (repaired, tuple(name for name in REPAIRS if name in names))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("hi", "1. धोएँ।\n2. काटें।"),
        ("zh", "1. 洗菜。\n2. 切菜。"),
        ("ur", "1. دھو لیں۔\n2. کاٹ لیں۔"),
        ("hi", "| नाम | रंग |\n| --- | --- |"),
        ("zh", "价格是3.5美元，比例为1:2，共1,000个。"),
        ("ar", "العدد 1,000 عند [0.1, 0.2] في `f(a, b)`."),
        ("ur", "دیکھیں https://a.org/b?c=d,e"),
        ("fr", "À 10:45, voir http://a.org"),
        ("es", "Es así..."),
        # Initials, abbreviations, lists by letter.
        ("hi", "डॉ. ए. पी. जे. अब्दुल कलाम और जॉन एफ. कैनेडी यू.एस.ए. में हैं।"),
        ("hi", "J. K. रोलिंग को रु. 500 मिले।"),
        ("hi", "क. बिल्ली\nख. कुत्ता"),
        ("bn", "ড. এ. পি. জে. আব্দুল কালাম, এ. কে. ফজলুল হক ও মো. রহমান।"),
        ("ur", "ڈاکٹر اے. پی. جے. عبدالکلام اور جے. کے. رولنگ۔"),
        ("ur", "الف. بلی\nب. کتا"),
        # Code, entities, operators, emoticons, addresses, ratios.
        ("fr", "Écrivez &lt;br&gt; et AT&amp;T."),
        ("fr", "for (int i = 0; i < 10; i++) { print(i); }"),
        ("fr", "On écrit int x = 5; puis y++; et f(x); si a != b, et a == b."),
        ("fr", "Bravo :) Le rapport est de 3:2, à 10:30."),
        ("fr", "Voir example.com/search?q=a;b et photo.jpg."),
        ("es", "Compruebe que a != b."),
        ("es", "Vaya a example.com/search?q=gatos para ver más."),
        # What is quoted may be of any language; a name may hold a mark.
        ("es", "El cartel dice «Hello!» en inglés."),
        ("es", "El botón dice «Need help?»."),
        ("es", "La empresa Yahoo! tiene un logotipo."),
        ("en_inches", 'Ein 5" Bildschirm'),
    ],
)
def test_what_is_left_alone(code, text):
    assert repair(text, TARGETS.get(code, TARGETS["ru"])) == (text, ())


CODE = st.lists(
    st.sampled_from(
        list(" \n\u00a0;!?:.(){}«»“”\"'-é狗。ل")
        + """&amp; &lt &#39; a.com b.jpg ?q=1 f(x) f(x); x=5; y++; != == :) ;) Sr. A. mm Sí क. ए. पी. है ہے. اے. ক. ⟦1⟧""".split()
    ),
    max_size=14,
).map("".join)
MIXED = st.text(
    alphabet=' \n.,;:!?"()[]<>|`$-–—…«»“”「」。，、！？：；（）،؛؟۔।*#0159٣५১abZé¿¡কখगहै的是アひкпيكهسا\u00a0\u202f\u3000⟦1⟧/\u0300',
    max_size=30,
)


@pytest.mark.parametrize("code", TARGETS)
@settings(max_examples=100)
@given(text=MIXED | CODE)
def test_twice_is_once(code, text):
    once, _ = repair(text, TARGETS[code])
    assert repair(once, TARGETS[code]) == (once, ())


@settings(max_examples=200)
@given(text=MIXED | st.text(alphabet="<image>$x^ \n[0.1,]`", max_size=40))
def test_masking_loses_nothing(text):
    masked = mask(text)
    assert masked.restore(masked.text) == text


@pytest.mark.parametrize(
    ("code", "text"), [("es", "palabra " * 2_500), ("zh", "1," * 12_000), ("ar", "[0.1, " * 6_000)]
)
def test_a_long_text_takes_linear_time(code, text):
    start = time.process_time()
    assert repair(text, TARGETS[code])[0] == text
    assert time.process_time() - start < 5  # a search that starts anew at every mark takes from 8 to 24 seconds
