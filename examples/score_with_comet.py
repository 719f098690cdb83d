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
"""Score translations with a COMET model, in an environment of its own.

    python -m venv comet && comet/bin/pip install unbabel-comet
    comet/bin/python examples/score_with_comet.py run/back-translation/hi.jsonl --model Unbabel/wmt22-cometkiwi-da

unbabel-comet 2.2.7 wants transformers below 5, huggingface-hub below 1 and numpy below 2, so it cannot be installed beside this package;
this script imports nothing of it. It reads the file that `palo translate back-translate` writes, or a run's `LANG.jsonl`.

A model that needs no reference (CometKiwi) compares the translation with the English. One that does (wmt22-comet-da) is given
the translation as source, the back-translation as hypothesis and the English as reference.
"""

import argparse
import json
from pathlib import Path
from typing import Any


def segments(record: dict[str, Any], needs_references: bool) -> list[dict[str, str]]:
    """The turns of a record as COMET wants them."""
    if "english_conversations" in record:  # of LANG.jsonl
        english = [turn["value"] for turn in record["english_conversations"]]
        translation = [turn["value"] for turn in record["conversations"]]
    else:
        english, translation = record["english"], record["translation"]
    if not needs_references:
        return [{"src": source, "mt": text} for source, text in zip(english, translation, strict=True)]
    back = record.get("back_translation", [])
    if len(back) != len(english):
        return []
    return [
        {"src": text, "mt": again, "ref": source}
        for text, again, source in zip(translation, back, english, strict=True)
    ]


def main() -> None:
    """Write each record's score (the mean over its turns) and print the mean and the lowest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", required=True, help="a checkpoint's path, or a name on the Hub")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--gpus", type=int, default=0)
    args = parser.parse_args()

    from comet import download_model, load_from_checkpoint

    model = load_from_checkpoint(args.model if Path(args.model).is_file() else download_model(args.model))
    records = [json.loads(line) for line in args.file.read_text(encoding="utf-8").splitlines()]
    turns = [segments(record, model.requires_references()) for record in records]
    flat = [segment for of_record in turns for segment in of_record]
    scores = iter(model.predict(flat, batch_size=args.batch_size, gpus=args.gpus).scores)
    scored = []
    for record, of_record in zip(records, turns, strict=True):
        of_turns = [float(next(scores)) for _ in of_record]
        if of_turns:
            scored.append((sum(of_turns) / len(of_turns), record["source_id"]))
    out = args.file.with_suffix(".comet.tsv")
    out.write_text("".join(f"{name}\t{score:.4f}\n" for score, name in scored), encoding="utf-8")
    print(
        f"{len(scored):,} of {len(records):,} records, mean {sum(score for score, _ in scored) / max(1, len(scored)):.4f}"
    )
    for score, name in sorted(scored, key=lambda pair: pair[0])[:10]:
        print(f"  {score:.4f}  {name}")
    print(f"Wrote {out}")


if __name__ == "__main__":
    main()
