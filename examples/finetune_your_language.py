"""Teach a PALO something new in one language: from pictures and records, as you would have them, to a measured gain.

The quickstart's model (made first, if it is missing) has never been asked in Urdu which of two digits is the smaller one.
Put your own pictures, questions and answers in the place of these. What an earlier run has done is not done again; remove
outputs/your-language to begin anew.

python examples/finetune_your_language.py
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from transformers import pipeline

from transformers_palo.quickstart.canvases import draw_canvas, load_scans, split_scans


QUESTION, ANSWER = "چھوٹا ہندسہ کون سا ہے؟", "چھوٹا ہندسہ {} ہے۔"
START, WORK = Path("outputs/quickstart/model"), Path("outputs/your-language")


def palo(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "transformers_palo.cli.main", *arguments], check=True)


def write_records(name: str, count: int, scans: list, seed: int) -> list[dict]:
    """Pictures, and a JSON file of records about them in LLaVA's format."""
    path, rng = WORK / f"{name}.json", np.random.default_rng(seed)
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    (WORK / name).mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(count):
        canvas = draw_canvas(scans, 2, rng)
        canvas.image.save(WORK / name / f"{number}.png")
        answer = ANSWER.format(min(canvas.digits))
        turns = [{"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": answer}]
        records.append({"id": str(number), "image": f"{name}/{number}.png", "conversations": turns})
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return records


def share_right(model: Path, records: list[dict]) -> float:
    """How many answers name the digit that the record's answer names."""
    pipe = pipeline("image-text-to-text", model=str(model), device="cpu")
    images = [{"type": "image", "path": str(WORK / record["image"])} for record in records]
    chats = [[{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}] for image in images]
    answers = pipe(text=chats, batch_size=50, return_full_text=False, generate_kwargs={"max_new_tokens": 30})
    found = [re.findall(r"\d", answer[0]["generated_text"]) for answer in answers]
    expected = [re.findall(r"\d", record["conversations"][1]["value"]) for record in records]
    print(
        f"{model} says {answers[0][0]['generated_text'].strip()!r}; {records[0]['conversations'][1]['value']!r} is right"
    )
    return sum(map(list.__eq__, found, expected)) / len(records)


if __name__ == "__main__":
    if not (START.parent / "results.json").is_file():  # what the quickstart writes last
        palo("quickstart", "--output-dir", str(START.parent))
    training_scans, held_out_scans = split_scans(load_scans(), held_out_share=0.15, seed=0)  # as in the quickstart
    write_records("train", 1600, training_scans, seed=0)
    test = write_records("test", 200, held_out_scans, seed=1)
    if not (WORK / "prepared").is_dir():
        palo("data", "prepare", "--config", "examples/data/your_language.yaml")
    palo("train", "--config", "examples/finetune_your_language.yaml")
    before, after = share_right(START, test), share_right(WORK / "run" / "model", test)
    print(f"Right on {len(test)} pictures that it has never seen: {before:.0%} before, {after:.0%} after.")
