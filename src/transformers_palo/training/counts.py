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
"""What became of the records of a run: seen, cut, or left out and why, over all processes and interruptions."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import ExportableState

from ..data.collation import LOST, RowEvent, count_events
from .arguments import PaloSFTConfig


# Beside the checkpoints: one line for every record that was cut or left out, by process.
EVENTS_FILE = "records-not-whole-{rank}.jsonl"
SEEN = "seen"
_NAMES = (SEEN, *(event.value for event in RowEvent))
# A share of fewer records says little, nor does one of the first batches, which are the longest.
_LEAST_RECORDS = 1000
_LEAST_PART_OF_RUN = 10


class RecordCounts(TrainerCallback, ExportableState):
    """Counts by what happened to records, in training (saved with checkpoints) and in the current evaluation.

    Stops a run that loses too many of its records: during it, once enough of them were seen, and at its end.

    Attributes:
        totals: `{"train": {"seen": 100, "truncated": 2, ...}, "eval": ...}` of all processes, as far as gathered.
    """

    def __init__(self) -> None:
        self.totals: dict[str, dict[str, int]] = {"train": {}, "eval": {}}
        self._pending: dict[str, torch.Tensor | None] = {"train": None, "eval": None}

    def add(self, mode: str, batch: dict[str, Any]) -> None:
        """Count a batch of this process."""
        counts = count_events(batch)
        pending = self._pending[mode]
        self._pending[mode] = counts if pending is None else pending + counts

    def gather(self, mode: str, accelerator: Accelerator) -> dict[str, int]:
        """The totals, with what processes have counted since. To be called by every process."""
        pending = self._pending[mode]
        counts = torch.zeros(len(_NAMES), dtype=torch.int64) if pending is None else pending
        self._pending[mode] = None
        counts = accelerator.reduce(counts.to(accelerator.device), reduction="sum")
        totals = Counter(self.totals[mode])
        totals.update(dict(zip(_NAMES, counts.tolist(), strict=True)))
        self.totals[mode] = {name: totals[name] for name in _NAMES if totals[name] or name == SEEN}
        return self.totals[mode]

    def forget(self, mode: str) -> None:
        """Count anew."""
        self.totals[mode], self._pending[mode] = {}, None

    # ---- what Transformers calls

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"totals": {**self.totals, "eval": {}}}}

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.forget("train")
        if state.global_step and (saved := (state.stateful_callbacks or {}).get(type(self).__name__)):
            self.totals = saved["attributes"]["totals"]
        _keep_events_before(_events_file(args), state.global_step)

    def on_log(self, args: PaloSFTConfig, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        planned = state.max_steps * args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        # At the last step its checkpoint comes first.
        if state.global_step < state.max_steps:
            self._check(args, least=min(planned, max(_LEAST_RECORDS, planned // _LEAST_PART_OF_RUN)))

    def on_train_end(self, args: PaloSFTConfig, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._check(args)

    def _check(self, args: PaloSFTConfig, least: int = 1) -> None:
        counts = self.totals["train"]
        seen, lost = counts.get(SEEN, 0), num_lost(counts)
        if lost > args.max_reject_share * max(seen, least):
            raise ValueError(
                f"{lost:,} of {seen:,} records had to be left out ({lost / seen:.1%}), more than max_reject_share "
                f"{args.max_reject_share:.1%}: {told(counts)}. {args.output_dir}/records-not-whole-*.jsonl names them. Mend "
                "the data and choose another output_dir; or raise max_reject_share, and the run goes on from its last checkpoint."
            )


def name_events(args: PaloSFTConfig, step: int, mode: str, events: list[dict[str, str]]) -> None:
    """Write down which records of a batch were cut or left out."""
    if not events:
        return
    path = _events_file(args)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"step": step, "mode": mode, **e}, ensure_ascii=False) + "\n" for e in events)


def _events_file(args: PaloSFTConfig) -> Path:
    return Path(args.output_dir) / EVENTS_FILE.format(rank=args.process_index)


def _keep_events_before(path: Path, step: int) -> None:
    """What was written after the checkpoint that a run goes on from will be written again."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    # Only the last line can be half a line.
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def num_lost(counts: dict[str, int]) -> int:
    """Records that nothing was learnt of."""
    return sum(counts.get(event.value, 0) for event in LOST)


def told(counts: dict[str, int]) -> str:
    """Why records were left out, in words."""
    reasons = sorted(((counts[event.value], event.value) for event in LOST if counts.get(event.value)), reverse=True)
    return ", ".join(f"{reason} {count:,}" for count, reason in reasons)
