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
"""The quickstart from beginning to end: draw, train, save, reload, examine, report."""

import json
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import pipeline, set_seed

from ..models.palo.modeling_palo import PaloForConditionalGeneration
from ..models.palo.processing_palo import PaloProcessor
from .canvases import MAX_DIGITS, draw_canvas, draw_practice_sheet, load_scans, split_scans
from .conversations import (
    caption_chat,
    draw_captioned,
    draw_questions,
    held_out_questions,
    instruction_chat,
    reading_chats,
)
from .examination import Answered, examine, score_by_language, shortfalls
from .model import small_config, train_tokenizer
from .phrases import KINDS
from .progress import progress
from .report import RunSummary, console_table, write_model_card, write_report
from .tower import PatchClassifier, PatchDataset, digit_accuracy, tower_config
from .training import Stage, chat_dataset, train_classifier, train_on_chats


# Canvases by which the tower is judged.
_TOWER_CANVASES = 300

_TOWER = Stage("vision tower", steps=800, batch_size=128, learning_rate=2e-3)
_READING = Stage("language model", steps=180, batch_size=64, learning_rate=2e-3, answers_only=False, projector=False)
_ALIGNMENT = Stage("alignment", steps=80, batch_size=64, learning_rate=5e-3, language_model=False)
_INSTRUCTIONS = Stage("instructions", steps=400, batch_size=64, learning_rate=2e-3)


@dataclass(frozen=True)
class Plan:
    """How much of everything: the defaults take about five minutes on two cores.

    Attributes:
        practice_sheets: Canvases that the tower learns from.
        held_out_share: Share of the scans that nothing is trained on.
        canvases_per_kind: Canvases for each kind of question in the examination; each is asked about ten times.
        tower: The tower's own training.
        reading: The language model's, on text alone.
        alignment: The projector's, on captions.
        instructions: Projector and language model together, on questions about pictures.
    """

    practice_sheets: int = 14_000
    held_out_share: float = 0.15
    canvases_per_kind: int = 50
    tower: Stage = _TOWER
    reading: Stage = _READING
    alignment: Stage = _ALIGNMENT
    instructions: Stage = _INSTRUCTIONS


def run_quickstart(output_dir: Path, seed: int = 0, plan: Plan | None = None) -> RunSummary:
    """Train a small PALO and ask it about scanned digits in ten languages.

    Writes `model/`, `examples/`, `report.html` and `results.json`.

    Args:
        output_dir: Where everything goes. What an earlier run left there is overwritten.
        seed: The same seed gives the same model on the same machine with the same number of threads.
        plan: How long to train.

    Returns:
        What the report tells.

    Raises:
        OSError: `output_dir` is a file, or cannot be written.
    """
    plan = plan or Plan()
    if output_dir.exists() and not output_dir.is_dir():
        raise NotADirectoryError(f"{output_dir}: expected a folder to write into, found a file: choose another one.")
    output_dir.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.disable_progress_bar()
    set_seed(seed)
    clock = _Clock()

    training_scans, held_out_scans = split_scans(load_scans(), plan.held_out_share, seed)
    # One stream of random numbers for each purpose: how long one stage trains changes nothing in the next.
    streams = {
        purpose: np.random.default_rng([seed, number])
        for number, purpose in enumerate(("tower", "reading", "alignment", "instructions", "examination"))
    }
    tokenizer = train_tokenizer()
    config = small_config(tokenizer, tower_config())
    processor = PaloProcessor.from_config(config, tokenizer)
    model = PaloForConditionalGeneration(config)
    tower = model.model.vision_tower
    model_dir = output_dir / "model"
    curves = []

    def teach(stage: Stage, chats: Dataset) -> None:
        curves.append(train_on_chats(model, processor, chats, stage, model_dir, seed))

    clock.start("vision tower", "teaching the vision tower what scanned digits look like")
    classifier = PatchClassifier(tower)
    sheets = progress(range(plan.practice_sheets), "drawing")
    practice = [draw_practice_sheet(training_scans, streams["tower"]) for _ in sheets]
    practice_set = PatchDataset(practice, processor.image_processor)
    curves.append(train_classifier(classifier, practice_set, plan.tower, model_dir, seed))
    unseen = [draw_canvas(held_out_scans, MAX_DIGITS, streams["tower"]) for _ in range(_TOWER_CANVASES)]
    tower_accuracy = digit_accuracy(classifier, PatchDataset(unseen, processor.image_processor))
    print(f"The tower names {tower_accuracy:.1%} of the digits on unseen scans. From here on it is frozen.")
    del practice, practice_set, unseen

    clock.start("language model", "teaching the language model ten languages, without pictures")
    chats = chat_dataset(reading_chats(plan.reading.num_examples, streams["reading"]), lambda chat: chat)
    teach(plan.reading, chats)

    clock.start("alignment", "aligning the projector on pictures with English captions; the language model is frozen")
    captioned = draw_captioned(plan.alignment.num_examples, streams["alignment"], training_scans)
    chats = chat_dataset(captioned, caption_chat, lambda canvas: canvas.image)
    teach(plan.alignment, chats)

    clock.start("instructions", "tuning projector and language model on questions about pictures")
    pictured = draw_questions(plan.instructions.num_examples, streams["instructions"], training_scans)
    chats = chat_dataset(pictured, instruction_chat, lambda question: question.image)
    teach(plan.instructions, chats)
    # The trainer turns it off, and would have it saved so.
    model.config.use_cache = True
    model.save_pretrained(model_dir)
    processor.save_pretrained(model_dir)
    del captioned, pictured, chats

    clock.start("examination", "asking the saved model, reloaded, about scans that it has never seen")
    examination = held_out_questions(held_out_scans, plan.canvases_per_kind, streams["examination"])
    answered = examine(pipeline("image-text-to-text", model=str(model_dir), device="cpu"), examination)
    clock.stop()

    rows = score_by_language(answered)
    summary = RunSummary(
        rows=rows,
        examples=_first_of_each_kind(answered),
        curves=curves,
        shortfalls=shortfalls(rows),
        facts=_facts(plan, seed, model, len(training_scans), len(held_out_scans), tower_accuracy, clock),
    )
    _write(output_dir, summary, answered)
    _tell(output_dir, summary)
    return summary


class _Clock:
    """Says what begins, and keeps how long each part took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part: str | None = None
        self._since = time.perf_counter()

    def start(self, part: str, announcement: str) -> None:
        self.stop()
        self._part, self._since = part, time.perf_counter()
        print(f"[{sum(self.seconds.values()):4.0f} s] {announcement[0].upper()}{announcement[1:]}.", flush=True)

    def stop(self) -> None:
        if self._part is not None:
            self.seconds[self._part] = time.perf_counter() - self._since
        self._part = None

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def _facts(
    plan: Plan,
    seed: int,
    model: PaloForConditionalGeneration,
    num_training_scans: int,
    num_held_out_scans: int,
    tower_accuracy: float,
    clock: _Clock,
) -> dict[str, str]:
    parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in clock.seconds.items())
    return {
        "Parameters": f"{model.num_parameters() / 1e6:.2f} million",
        "Scans": f"{num_training_scans} to train on, {num_held_out_scans} held out",
        "Tower": f"names {tower_accuracy:.1%} of the digits on unseen scans",
        "Examination": f"{plan.canvases_per_kind} canvases for each kind of question, each asked about in ten languages",
        "Time": f"{clock.total:.0f} s ({parts})",
        "Peak memory": _peak_memory(),
        "Machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "Versions": ", ".join(
            f"{name} {version(name)}" for name in ("transformers-palo", "transformers", "trl", "torch")
        ),
        "Seed": str(seed),
    }


def _peak_memory() -> str:
    try:
        import resource
    except ImportError:
        return "not measured on this system"
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    return f"{peak:.2f} GiB"


def _first_of_each_kind(answered: list[Answered]) -> list[list[Answered]]:
    """The first canvas of each kind of question, with the answers in all languages."""
    first = (next(answer for answer in answered if answer.question.kind == kind) for kind in KINDS)
    return [[answer for answer in answered if answer.question.canvas is one.question.canvas] for one in first]


def _write(output_dir: Path, summary: RunSummary, answered: list[Answered]) -> None:
    examples_dir = output_dir / "examples"
    examples_dir.mkdir(exist_ok=True)
    for answers in summary.examples:
        question = answers[0].question
        question.image.save(examples_dir / f"{question.kind}.png")
    write_report(output_dir / "report.html", summary)
    write_model_card(output_dir / "model", summary)
    results = {
        "facts": summary.facts,
        "accuracy": {
            row.language: {
                **{kind: score.accuracy for kind, score in row.kinds.items()},
                "all": row.together.accuracy,
                "in_language": row.together.language_accuracy,
            }
            for row in summary.rows
        },
        "shortfalls": summary.shortfalls,
        "losses": {curve.stage: curve.points for curve in summary.curves},
        "wrong_answers": [
            {
                "language": answer.question.language,
                "kind": answer.question.kind,
                "digits": answer.question.digits,
                "question": answer.question.text,
                "expected": answer.question.answer,
                "answer": answer.text,
                "detected_language": answer.detected_language,
            }
            for answer in answered
            if not (answer.correct and answer.in_language)
        ],
    }
    text = json.dumps(results, ensure_ascii=False, indent=2)
    (output_dir / "results.json").write_text(text + "\n", encoding="utf-8")


def _command() -> str:
    """How to call `palo` from here: by its name where that is found, else by its path beside this Python."""
    beside = Path(sys.executable).with_name("palo")
    found = shutil.which("palo")
    if found is None and beside.is_file():
        here = Path.cwd()
        return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
    return "palo"


def _tell(output_dir: Path, summary: RunSummary) -> None:
    print(f"\n{console_table(summary.rows)}\n")
    if summary.shortfalls:
        print("Below the aim:", *summary.shortfalls, sep="\n  ")
    print(f"Time: {summary.facts['Time']}. Peak memory: {summary.facts['Peak memory']}.")
    question = summary.examples[-1][0].question
    print(
        f"Report: {output_dir / 'report.html'}\n"
        f"Ask it: {_command()} ask {output_dir / 'examples' / f'{question.kind}.png'} {question.text!r} "
        f"--model {output_dir / 'model'}"
    )
