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
"""What is asked about the digits on a canvas, and how it is answered, in all ten languages.

Everything that depends on a language stands in one table, [`PHRASES`]: to change a sentence, or to add a language, edit
data. The numbers are Western digits in every language, because an answer quotes what the picture shows.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args


Kind = Literal["which", "left", "right", "larger", "count", "sum"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# How many digits a canvas may hold for each kind of question.
DIGITS_ON_CANVAS: dict[Kind, tuple[int, ...]] = {
    "which": (1,),
    "left": (2, 3),
    "right": (2, 3),
    "larger": (2,),
    "count": (1, 2, 3),
    "sum": (2,),
}


@dataclass(frozen=True)
class Phrasing:
    """One kind of question in one language.

    Attributes:
        questions: Ways to ask it.
        answer: The sentence that answers it. `{n}` is the number asked for; a sum also quotes its parts, `{a}` and
            `{b}`, from left to right, and ends with `{n}`.
        answer_if_one: The sentence where the number asked for is 1 and grammar then wants another one.
    """

    questions: tuple[str, ...]
    answer: str
    answer_if_one: str | None = None


def correct_number(kind: Kind, digits: tuple[int, ...]) -> int:
    """The number that a question asks for.

    Args:
        kind: What is asked.
        digits: The digits on the canvas, from left to right.

    Raises:
        ValueError: The question makes no sense, or has no single answer, on such a canvas.
    """
    if len(digits) not in DIGITS_ON_CANVAS[kind]:
        raise ValueError(f"A {kind!r} question needs {DIGITS_ON_CANVAS[kind]} digits, found {len(digits)}.")
    if kind == "larger" and digits[0] == digits[1]:
        raise ValueError(f"A 'larger' question needs two different numbers, found {digits[0]} twice.")
    return {
        "which": digits[0],
        "left": digits[0],
        "right": digits[-1],
        "larger": max(digits),
        "count": len(digits),
        "sum": sum(digits),
    }[kind]


def answer_text(language: str, kind: Kind, digits: tuple[int, ...]) -> str:
    """The reference answer, a full sentence. Arguments and errors as in [`correct_number`]; `language` is a code."""
    phrasing = PHRASES[language][kind]
    number = correct_number(kind, digits)
    template = phrasing.answer_if_one if number == 1 and phrasing.answer_if_one else phrasing.answer
    return template.format(n=number, a=digits[0], b=digits[-1])


def numbers_in(text: str) -> tuple[int, ...]:
    """Every number that a text states, in order."""
    return tuple(int(number) for number in re.findall(r"[0-9]+", text))


# "larger" must mean the larger number, not the larger drawing: every language asks for the value, or for the greater of
# two *numbers*, in words that are not used of size. "left" and "right" are superlatives, because there may be three.
PHRASES: dict[str, dict[Kind, Phrasing]] = {
    "en": {
        "which": Phrasing(
            (
                "Which digit is written here?",
                "What digit do you see in the picture?",
                "Which digit does the image show?",
            ),
            "The digit in the picture is {n}.",
        ),
        "left": Phrasing(
            ("Which digit is furthest to the left?", "What is the leftmost digit?", "Which digit is on the far left?"),
            "The digit furthest to the left is {n}.",
        ),
        "right": Phrasing(
            (
                "Which digit is furthest to the right?",
                "What is the rightmost digit?",
                "Which digit is on the far right?",
            ),
            "The digit furthest to the right is {n}.",
        ),
        "larger": Phrasing(
            (
                "Which of the two numbers is greater?",
                "Which of the two digits has the higher value?",
                "Which digit is worth more?",
            ),
            "The greater of the two numbers is {n}.",
        ),
        "count": Phrasing(
            (
                "How many digits are there in the picture?",
                "How many digits do you see?",
                "How many digits does the image show?",
            ),
            "There are {n} digits in the picture.",
            "There is {n} digit in the picture.",
        ),
        "sum": Phrasing(
            (
                "What is the sum of the two digits?",
                "What do the two digits add up to?",
                "What do you get when you add the two digits?",
            ),
            "The sum of {a} and {b} is {n}.",
        ),
    },
    "zh": {
        "which": Phrasing(
            ("图中写的是哪个数字？", "你在图片里看到了什么数字？", "这张图片上的数字是几？"),
            "图片中的数字是{n}。",
        ),
        "left": Phrasing(
            ("最左边的数字是几？", "哪个数字在最左边？", "图中最左侧是哪个数字？"),
            "最左边的数字是{n}。",
        ),
        "right": Phrasing(
            ("最右边的数字是几？", "哪个数字在最右边？", "图中最右侧是哪个数字？"),
            "最右边的数字是{n}。",
        ),
        # 数值 is a number's value; 大 alone could be said of the drawing.
        "larger": Phrasing(
            ("这两个数字中，哪个数值更大？", "哪个数字的数值较大？", "两个数字里数值更大的是哪一个？"),
            "两个数字中数值较大的是{n}。",
        ),
        "count": Phrasing(
            ("图中有几个数字？", "图片里一共有多少个数字？", "你能看到几个数字？"),
            "图片中有{n}个数字。",
        ),
        # 与, because 和 is also the word for sum.
        "sum": Phrasing(
            ("这两个数字的和是多少？", "两个数字加起来等于多少？", "把这两个数字相加，结果是多少？"),
            "{a}与{b}的和是{n}。",
        ),
    },
    "fr": {
        # Plain spaces before the question marks, as people type them.
        "which": Phrasing(
            (
                "Quel chiffre est écrit ici ?",
                "Quel chiffre voyez-vous sur l'image ?",
                "Quel chiffre l'image montre-t-elle ?",
            ),
            "Le chiffre écrit sur l'image est le {n}.",
        ),
        "left": Phrasing(
            (
                "Quel chiffre se trouve le plus à gauche ?",
                "Quel est le chiffre situé tout à gauche ?",
                "Quel chiffre voit-on tout à gauche ?",
            ),
            "Le chiffre situé le plus à gauche est le {n}.",
        ),
        "right": Phrasing(
            (
                "Quel chiffre se trouve le plus à droite ?",
                "Quel est le chiffre situé tout à droite ?",
                "Quel chiffre voit-on tout à droite ?",
            ),
            "Le chiffre situé le plus à droite est le {n}.",
        ),
        "larger": Phrasing(
            (
                "Lequel des deux chiffres a la plus grande valeur ?",
                "Lequel des deux nombres est supérieur à l'autre ?",
                "Quel chiffre vaut le plus ?",
            ),
            "Des deux chiffres, celui qui a la plus grande valeur est le {n}.",
        ),
        "count": Phrasing(
            (
                "Combien de chiffres y a-t-il sur l'image ?",
                "Combien de chiffres voyez-vous ?",
                "Combien de chiffres l'image contient-elle ?",
            ),
            "Il y a {n} chiffres sur l'image.",
            "Il y a {n} chiffre sur l'image.",
        ),
        "sum": Phrasing(
            (
                "Quelle est la somme des deux chiffres ?",
                "Combien font les deux chiffres additionnés ?",
                "Quel résultat obtient-on en additionnant les deux chiffres ?",
            ),
            "La somme de {a} et de {b} est égale à {n}.",
        ),
    },
    "es": {
        "which": Phrasing(
            ("¿Qué dígito está escrito aquí?", "¿Qué dígito ves en la imagen?", "¿Qué dígito muestra la imagen?"),
            "El dígito que aparece en la imagen es el {n}.",
        ),
        "left": Phrasing(
            (
                "¿Qué dígito está más a la izquierda?",
                "¿Cuál es el dígito situado más a la izquierda?",
                "¿Qué dígito se ve en el extremo izquierdo?",
            ),
            "El dígito situado más a la izquierda es el {n}.",
        ),
        "right": Phrasing(
            (
                "¿Qué dígito está más a la derecha?",
                "¿Cuál es el dígito situado más a la derecha?",
                "¿Qué dígito se ve en el extremo derecho?",
            ),
            "El dígito situado más a la derecha es el {n}.",
        ),
        "larger": Phrasing(
            (
                "¿Cuál de los dos dígitos tiene mayor valor?",
                "¿Qué dígito vale más?",
                "¿Qué dígito representa el número mayor?",
            ),
            "De los dos dígitos, el de mayor valor es el {n}.",
        ),
        "count": Phrasing(
            (
                "¿Cuántos dígitos hay en la imagen?",
                "¿Cuántos dígitos ves?",
                "¿Cuántos dígitos aparecen en la imagen?",
            ),
            "Hay {n} dígitos en la imagen.",
            "Hay {n} dígito en la imagen.",
        ),
        "sum": Phrasing(
            (
                "¿Cuál es la suma de los dos dígitos?",
                "¿Cuánto suman los dos dígitos?",
                "¿Qué resultado se obtiene al sumar los dos dígitos?",
            ),
            "La suma de {a} y {b} es igual a {n}.",
        ),
    },
    "ru": {
        "which": Phrasing(
            (
                "Какая цифра здесь написана?",
                "Какую цифру вы видите на картинке?",
                "Какая цифра изображена на картинке?",
            ),
            "На картинке изображена цифра {n}.",
        ),
        "left": Phrasing(
            ("Какая цифра находится левее всех?", "Какая цифра крайняя слева?", "Назовите самую левую цифру."),
            "Крайняя слева — цифра {n}.",
        ),
        "right": Phrasing(
            ("Какая цифра находится правее всех?", "Какая цифра крайняя справа?", "Назовите самую правую цифру."),
            "Крайняя справа — цифра {n}.",
        ),
        # число, a number, can only be greater in value; цифра, its sign, could also be drawn larger.
        "larger": Phrasing(
            (
                "Какое из двух чисел больше?",
                "Какая из двух цифр обозначает большее число?",
                "Назовите большее из двух чисел.",
            ),
            "Большее из двух чисел — {n}.",
        ),
        # 1 takes the nominative, 2 and 3 the genitive singular; there are never five, which would take "цифр".
        "count": Phrasing(
            ("Сколько цифр на картинке?", "Сколько цифр вы видите?", "Сколько всего цифр изображено на картинке?"),
            "На картинке {n} цифры.",
            "На картинке {n} цифра.",
        ),
        "sum": Phrasing(
            (
                "Чему равна сумма двух цифр?",
                "Сколько будет, если сложить эти две цифры?",
                "Какова сумма этих двух цифр?",
            ),
            "Сумма чисел {a} и {b} равна {n}.",
        ),
    },
    "ja": {
        "which": Phrasing(
            (
                "ここに書かれている数字は何ですか？",
                "画像に写っている数字は何ですか？",
                "この画像の数字を教えてください。",
            ),
            "画像に書かれている数字は{n}です。",
        ),
        "left": Phrasing(
            ("一番左の数字は何ですか？", "一番左にある数字はどれですか？", "左端の数字は何ですか？"),
            "一番左にある数字は{n}です。",
        ),
        "right": Phrasing(
            ("一番右の数字は何ですか？", "一番右にある数字はどれですか？", "右端の数字は何ですか？"),
            "一番右にある数字は{n}です。",
        ),
        "larger": Phrasing(
            (
                "二つの数字のうち、値が大きいのはどちらですか？",
                "どちらの数字のほうが値が大きいですか？",
                "値の大きいほうの数字を教えてください。",
            ),
            "値が大きいほうの数字は{n}です。",
        ),
        # The counter 個 keeps one form after 1, 2 and 3 where the number is written in digits.
        "count": Phrasing(
            ("画像に数字はいくつありますか？", "数字は全部で何個ありますか？", "数字がいくつ見えますか？"),
            "画像には数字が{n}個あります。",
        ),
        "sum": Phrasing(
            (
                "二つの数字の合計はいくつですか？",
                "二つの数字を足すといくつになりますか？",
                "二つの数字の和を教えてください。",
            ),
            "{a}と{b}を足すと{n}になります。",
        ),
    },
    "ar": {
        "which": Phrasing(
            ("ما الرقم المكتوب هنا؟", "ما الرقم الذي تراه في الصورة؟", "أي رقم يظهر في الصورة؟"),
            "الرقم المكتوب في الصورة هو {n}.",
        ),
        "left": Phrasing(
            ("ما الرقم الموجود في أقصى اليسار؟", "أي رقم يقع في أقصى اليسار؟", "ما أول رقم من جهة اليسار؟"),
            "الرقم الموجود في أقصى اليسار هو {n}.",
        ),
        "right": Phrasing(
            ("ما الرقم الموجود في أقصى اليمين؟", "أي رقم يقع في أقصى اليمين؟", "ما أول رقم من جهة اليمين؟"),
            "الرقم الموجود في أقصى اليمين هو {n}.",
        ),
        "larger": Phrasing(
            ("أي الرقمين أكبر قيمة؟", "أي من الرقمين قيمته أكبر؟", "ما الرقم ذو القيمة الأكبر؟"),
            "الرقم ذو القيمة الأكبر هو {n}.",
        ),
        # "The number of digits is": a counted noun would be singular after 1, dual without any numeral for 2, and
        # plural from 3 to 10, and the first two are not written with a digit.
        "count": Phrasing(
            ("كم رقمًا في الصورة؟", "كم عدد الأرقام في الصورة؟", "كم رقمًا ترى؟"),
            "عدد الأرقام في الصورة هو {n}.",
        ),
        # و is written together with the number that follows it.
        "sum": Phrasing(
            ("ما مجموع الرقمين؟", "كم يساوي مجموع الرقمين؟", "ما ناتج جمع الرقمين؟"),
            "مجموع الرقمين {a} و{b} هو {n}.",
        ),
    },
    "hi": {
        "which": Phrasing(
            ("यहाँ कौन-सा अंक लिखा है?", "चित्र में आपको कौन-सा अंक दिखाई देता है?", "इस चित्र में कौन-सा अंक है?"),
            "चित्र में लिखा अंक {n} है।",
        ),
        "left": Phrasing(
            ("सबसे बाईं ओर कौन-सा अंक है?", "सबसे बाईं ओर का अंक क्या है?", "बाएँ छोर पर कौन-सा अंक है?"),
            "सबसे बाईं ओर का अंक {n} है।",
        ),
        "right": Phrasing(
            ("सबसे दाईं ओर कौन-सा अंक है?", "सबसे दाईं ओर का अंक क्या है?", "दाएँ छोर पर कौन-सा अंक है?"),
            "सबसे दाईं ओर का अंक {n} है।",
        ),
        "larger": Phrasing(
            (
                "दोनों अंकों में से किसका मान अधिक है?",
                "किस अंक का मान ज़्यादा है?",
                "दोनों में से अधिक मान वाला अंक कौन-सा है?",
            ),
            "दोनों में से अधिक मान वाला अंक {n} है।",
        ),
        # अंक is the same in singular and plural; the verb agrees.
        "count": Phrasing(
            ("चित्र में कितने अंक हैं?", "आपको कितने अंक दिखाई देते हैं?", "इस चित्र में कुल कितने अंक लिखे हैं?"),
            "चित्र में {n} अंक हैं।",
            "चित्र में {n} अंक है।",
        ),
        "sum": Phrasing(
            (
                "दोनों अंकों का योग कितना है?",
                "दोनों अंकों को जोड़ने पर क्या मिलता है?",
                "इन दोनों अंकों का जोड़ कितना है?",
            ),
            "{a} और {b} का योग {n} है।",
        ),
    },
    "bn": {
        "which": Phrasing(
            ("এখানে কোন অঙ্কটি লেখা আছে?", "ছবিতে কোন অঙ্কটি দেখা যাচ্ছে?", "এই ছবিতে কোন অঙ্কটি আছে?"),
            "ছবিতে লেখা অঙ্কটি হলো {n}।",
        ),
        "left": Phrasing(
            ("সবচেয়ে বাঁ দিকে কোন অঙ্কটি আছে?", "একেবারে বাঁ দিকের অঙ্কটি কত?", "সবচেয়ে বাঁয়ে কোন অঙ্কটি আছে?"),
            "সবচেয়ে বাঁ দিকের অঙ্কটি হলো {n}।",
        ),
        "right": Phrasing(
            ("সবচেয়ে ডান দিকে কোন অঙ্কটি আছে?", "একেবারে ডান দিকের অঙ্কটি কত?", "সবচেয়ে ডানে কোন অঙ্কটি আছে?"),
            "সবচেয়ে ডান দিকের অঙ্কটি হলো {n}।",
        ),
        "larger": Phrasing(
            ("দুটি অঙ্কের মধ্যে কোনটির মান বেশি?", "কোন অঙ্কটির মান বেশি?", "বেশি মানের অঙ্কটি কোনটি?"),
            "দুটি অঙ্কের মধ্যে বেশি মানের অঙ্কটি হলো {n}।",
        ),
        # The classifier -টি is written onto the number; the noun keeps its form.
        "count": Phrasing(
            ("ছবিতে কয়টি অঙ্ক আছে?", "আপনি কয়টি অঙ্ক দেখতে পাচ্ছেন?", "এই ছবিতে মোট কতগুলো অঙ্ক আছে?"),
            "ছবিতে {n}টি অঙ্ক আছে।",
        ),
        "sum": Phrasing(
            ("অঙ্ক দুটির যোগফল কত?", "অঙ্ক দুটি যোগ করলে কত হয়?", "এই দুটি অঙ্কের সমষ্টি কত?"),
            "{a} এবং {b}-এর যোগফল হলো {n}।",
        ),
    },
    "ur": {
        "which": Phrasing(
            (
                "یہاں کون سا ہندسہ لکھا ہے؟",
                "تصویر میں آپ کو کون سا ہندسہ نظر آ رہا ہے؟",
                "اس تصویر میں کون سا ہندسہ ہے؟",
            ),
            "تصویر میں لکھا ہوا ہندسہ {n} ہے۔",
        ),
        "left": Phrasing(
            (
                "سب سے بائیں طرف کون سا ہندسہ ہے؟",
                "بائیں کنارے پر کون سا ہندسہ ہے؟",
                "سب سے بائیں جانب والا ہندسہ کیا ہے؟",
            ),
            "سب سے بائیں طرف کا ہندسہ {n} ہے۔",
        ),
        "right": Phrasing(
            (
                "سب سے دائیں طرف کون سا ہندسہ ہے؟",
                "دائیں کنارے پر کون سا ہندسہ ہے؟",
                "سب سے دائیں جانب والا ہندسہ کیا ہے؟",
            ),
            "سب سے دائیں طرف کا ہندسہ {n} ہے۔",
        ),
        "larger": Phrasing(
            (
                "دونوں ہندسوں میں سے کس کی قدر زیادہ ہے؟",
                "کس ہندسے کی قدر زیادہ ہے؟",
                "زیادہ قدر والا ہندسہ کون سا ہے؟",
            ),
            "دونوں میں سے زیادہ قدر والا ہندسہ {n} ہے۔",
        ),
        "count": Phrasing(
            ("تصویر میں کتنے ہندسے ہیں؟", "آپ کو کتنے ہندسے نظر آ رہے ہیں؟", "اس تصویر میں کل کتنے ہندسے ہیں؟"),
            "تصویر میں {n} ہندسے ہیں۔",
            "تصویر میں {n} ہندسہ ہے۔",
        ),
        "sum": Phrasing(
            (
                "دونوں ہندسوں کا مجموعہ کیا ہے؟",
                "دونوں ہندسوں کو جمع کرنے سے کیا حاصل ہوتا ہے؟",
                "ان دونوں ہندسوں کا حاصل جمع کتنا ہے؟",
            ),
            "{a} اور {b} کا مجموعہ {n} ہے۔",
        ),
    },
}
