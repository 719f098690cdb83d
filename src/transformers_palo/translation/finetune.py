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
"""What reviewers corrected, as a fine-tuning set for the translator: the prompts are those that a run sends."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..llm.chat import Message
from .masking import mask
from .prompts import Prompter, Turn
from .results import is_held_out, open_run, read_accepted
from .reviews import ReviewStore
from .store import written_whole
from .targets import get_target


VALIDATION_SHARE = 0.1


@dataclass
class FinetuneCounts:
    """What was written.

    Attributes:
        train: Pairs to train on.
        validation: Pairs of other records.
        left_out: Turns whose protected spans the reviewer changed: no mask stands for them.
    """

    train: int = 0
    validation: int = 0
    left_out: int = 0


def export_finetune(folder: Path, format: Literal["openai", "trl"], out: Path, seed: int = 0) -> FinetuneCounts:
    """Write the accepted and corrected turns of all reviewed records as pairs of prompt and translation.

    A tenth of the records, in all their languages, goes into a validation file beside `out`
    (`tuning.jsonl` and `tuning.validation.jsonl`); no record is in both.

    Args:
        folder: The run.
        format: `"openai"` (chats of `messages`) or `"trl"` (conversational `prompt` and `completion`).
        out: The training file.
        seed: Decides which records validate; `compare` with the same seed looks at these alone.

    Raises:
        OSError: A file cannot be read or written, or is there already.
        ValueError: Nothing was reviewed.
    """
    counts = FinetuneCounts()
    validation = out.with_name(f"{out.stem}.validation{out.suffix}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole([out, validation], new=True) as (train_file, validation_file):
        for held_out, prompt, completion in _pairs(folder, seed, counts):
            answer = {"role": "assistant", "content": completion}
            sample: dict[str, Any] = (
                {"messages": [*prompt, answer]} if format == "openai" else {"prompt": prompt, "completion": [answer]}
            )
            (validation_file if held_out else train_file).write(
                json.dumps(sample, ensure_ascii=False).encode() + b"\n"
            )
            if held_out:
                counts.validation += 1
            else:
                counts.train += 1
        if not counts.train + counts.validation:
            raise ValueError(f"{folder}: nothing was reviewed yet: 'palo translate review' comes first.")
    return counts


def _pairs(folder: Path, seed: int, counts: FinetuneCounts) -> Iterator[tuple[bool, list[Message], str]]:
    run = open_run(folder)
    for language in run.languages:
        decisions = ReviewStore(folder).decisions(language)
        prompter = Prompter(run.settings.model, get_target(language), run.settings.glossaries[language])
        for one in read_accepted(run, language):
            review = decisions.get(one.position)
            if review is None or review.verdict == "reject":
                continue
            held_out = is_held_out(one.record["source_id"], seed, VALIDATION_SHARE)
            earlier: list[Turn] = []
            for role, english, translation in zip(one.roles, one.english, review.translation, strict=True):
                masked = mask(english)
                completion = mask_like(translation, masked.spans)
                if completion is None:
                    counts.left_out += 1
                elif masked.has_words:
                    request = prompter.turn_request(Turn(role, masked.text), earlier)
                    yield held_out, list(request.messages), completion
                earlier.append(Turn(role, english, translation))


def mask_like(translation: str, spans: tuple[str, ...]) -> str | None:
    """A translation with the masks of its source; `None` if it does not have the same protected spans.

    >>> mask_like("Siehe `b` und `a`.", ("`a`", "`b`"))
    'Siehe ⟦2⟧ und ⟦1⟧.'
    """
    masked = mask(translation)
    if sorted(masked.spans) != sorted(spans):
        return None
    free: dict[str, list[int]] = {}
    for number, span in enumerate(spans, start=1):
        free.setdefault(span, []).append(number)
    text = masked.text
    numbers = [free[span].pop(0) for span in masked.spans]
    # Through a letter that no mask has, lest a number that was put in is replaced again.
    for index, number in enumerate(numbers, start=1):
        text = text.replace(f"⟦{index}⟧", f"⟦#{number}⟧", 1)
    return text.replace("⟦#", "⟦")
