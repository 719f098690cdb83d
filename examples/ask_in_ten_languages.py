"""Ask about one picture in ten languages, in one batch.

python examples/ask_in_ten_languages.py [--model DIR_OR_HUB_ID] [--image PICTURE]
"""

import argparse

from transformers import AutoModelForImageTextToText, AutoProcessor

from transformers_palo import LANGUAGES


QUESTIONS = {
    "en": "What is the sum of the two digits?",
    "zh": "这两个数字的和是多少？",
    "fr": "Quelle est la somme des deux chiffres ?",
    "es": "¿Cuál es la suma de los dos dígitos?",
    "ru": "Чему равна сумма двух цифр?",
    "ja": "二つの数字の合計はいくつですか？",
    "ar": "ما مجموع الرقمين؟",
    "hi": "दोनों अंकों का योग कितना है?",
    "bn": "অঙ্ক দুটির যোগফল কত?",
    "ur": "دونوں ہندسوں کا مجموعہ کیا ہے؟",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="outputs/quickstart/model")
    parser.add_argument("--image", default="outputs/quickstart/examples/sum.png")
    args = parser.parse_args()

    processor = AutoProcessor.from_pretrained(args.model)
    model = AutoModelForImageTextToText.from_pretrained(args.model, dtype="auto", device_map="auto")
    chats = [
        [{"role": "user", "content": [{"type": "image", "path": args.image}, {"type": "text", "text": question}]}]
        for question in QUESTIONS.values()
    ]
    inputs = processor.apply_chat_template(
        chats,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    ).to(model.device, model.dtype)
    output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
    answers = processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    names = {language.code: language.name for language in LANGUAGES}
    for (code, question), answer in zip(QUESTIONS.items(), answers, strict=True):
        print(f"{names[code]}\n  {question}\n  {answer.strip()}")


if __name__ == "__main__":
    main()
