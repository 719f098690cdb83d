"""Teach a PALO something new in one language: from pictures and records, as you would have them, to a measured gain.

The quickstart's model (made first, if it is missing) has never been asked in Urdu which digit is the smaller one. Write your
own records and pictures in place of `write_records`, and your own sentences in place of these two.

python examples/finetune_your_language.py
"""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
from transformers import pipeline

from transformers_palo.quickstart.canvases import draw_canvas, load_scans, split_scans


QUESTION, ANSWER = "چھوٹا ہندسہ کون سا ہے؟", "چھوٹا ہندسہ {} ہے۔"
START, WORK = Path("outputs/quickstart/model"), Path("outputs/your-language")


def write_records(count: int, scans: list, rng: np.random.Generator, name: str) -> list[dict]:
    """Records as LLaVA writes them, with their pictures."""
    records = []
    (WORK / name).mkdir(parents=True, exist_ok=True)
    while len(records) < count:
        canvas = draw_canvas(scans, 2, rng)
        if canvas.digits[0] != canvas.digits[1]:
            canvas.image.save(WORK / name / f"{len(records)}.png")
            turns = (("human", f"<image>\n{QUESTION}"), ("gpt", ANSWER.format(min(canvas.digits))))
            conversations = [{"from": role, "value": text} for role, text in turns]
            records.append({"id": f"{len(records)}", "image": f"{len(records)}.png", "conversations": conversations})
    (WORK / f"{name}.json").write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return records


def examine(model: Path, records: list[dict]) -> str:
    pipe = pipeline("image-text-to-text", model=str(model), device="cpu")
    images = [{"type": "image", "path": str(WORK / "test" / record["image"])} for record in records]
    chats = [[{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}] for image in images]
    generate_kwargs = {"max_new_tokens": 30, "do_sample": False}
    outputs = pipe(text=chats, batch_size=50, return_full_text=False, generate_kwargs=generate_kwargs)
    answers = [output[0]["generated_text"].strip() for output in outputs]
    expected = [record["conversations"][1]["value"] for record in records]
    digit = np.mean([re.findall(r"\d", a) == re.findall(r"\d", e) for a, e in zip(answers, expected, strict=True)])
    sentence = np.mean([a == e for a, e in zip(answers, expected, strict=True)])
    return f"{digit:.0%} name the right digit, {sentence:.0%} in the sentence taught, such as {answers[0]!r}"


def main() -> None:
    if not START.is_dir():
        subprocess.run(["palo", "quickstart", "--output-dir", str(START.parent)], check=True)
    training_scans, held_out_scans = split_scans(load_scans(), held_out_share=0.15, seed=0)
    rng = np.random.default_rng(0)
    write_records(1600, training_scans, rng, "train")
    test = write_records(200, held_out_scans, rng, "test")
    subprocess.run(["palo", "data", "prepare", "--config", "examples/data/your_language.yaml"], check=True)
    subprocess.run(["palo", "train", "--config", "examples/finetune_your_language.yaml"], check=True)
    print(f"Of {len(test)} pictures that it has never seen")
    print(f"  before: {examine(START, test)}")
    print(f"  after:  {examine(WORK / 'run' / 'model', test)}")


if __name__ == "__main__":
    main()
