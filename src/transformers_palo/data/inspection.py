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
"""What is in a prepared data set, or in a file of records that is still to be prepared."""

import json
from pathlib import Path

from tqdm.auto import tqdm

from ..record_files import UnreadableRecord, open_records
from .config import DETECT, SourceConfig
from .prepared import load_prepared, read_mixture
from .records import Converted, Rejected, RejectReason, convert_record
from .report import NOT_COUNTED, UNDETERMINED, Report, Tally
from .sources import language_of
from .tokens import TokenCounter


BATCH_RECORDS = 1000


def inspect_data(
    path: str | Path, *, tokenizer: str | None = None, language: str = DETECT, language_field: str | None = None
) -> Report:
    """Count what is there.

    Args:
        path: A folder of `palo data prepare`, whose report is read, or a file of records, which are converted one by
            one. The images of a file are not looked at, and equal ids are not noticed.
        tokenizer: Count the tokens with this one; otherwise a folder's report has those of its preparation.
        language: Of a file's records: a code, or `detect`.
        language_field: Of a file's records: the field that names their language.

    Raises:
        OSError: There is nothing at `path`.
        ValueError: What is there is neither of the two.
    """
    counter = TokenCounter.from_pretrained(tokenizer) if tokenizer else None
    if not Path(path).is_dir():
        source = SourceConfig(path=str(path), language=language, language_field=language_field)
        return _inspect_file(source, counter).report(tokenizer)
    read_mixture(path)
    report: Report = json.loads((Path(path) / "report.json").read_text(encoding="utf-8"))
    return _with_tokens(report, path, counter, tokenizer) if counter else report


def _inspect_file(source: SourceConfig, counter: TokenCounter | None) -> Tally:
    tally = Tally()
    reader = open_records(source.path or "")
    waiting: list[Converted] = []

    def count_waiting() -> None:
        if counter:
            for item, tokens in zip(
                waiting, counter.count([item.example["messages"] for item in waiting]), strict=True
            ):
                item.example["num_tokens"] = tokens
        for item in waiting:
            tally.keep(item.example, item.repairs)
        waiting.clear()

    with tqdm(total=reader.size, unit="B", unit_scale=True, desc="Reading", delay=1, leave=False) as bar:
        for record in reader.records():
            if isinstance(record, UnreadableRecord):
                tally.reject(source.name, UNDETERMINED, RejectReason.UNREADABLE)
                continue
            language = language_of(record, source)
            result = convert_record(record, source=source.name, language=language or UNDETERMINED)
            if isinstance(result, Rejected):
                tally.reject(source.name, language or UNDETERMINED, result.reason)
            elif language is None:
                tally.reject(source.name, UNDETERMINED, RejectReason.LANGUAGE_UNKNOWN)
            else:
                waiting.append(result)
            if len(waiting) == BATCH_RECORDS:
                count_waiting()
                bar.update(reader.position - bar.n)
    count_waiting()
    return tally


def _with_tokens(report: Report, folder: str | Path, counter: TokenCounter, tokenizer: str | None) -> Report:
    """The report with tokens as another tokenizer counts them."""
    tokens: dict[tuple[str, str], int] = {}
    dataset = load_prepared(folder).select_columns(["messages", "source", "language"])
    for batch in tqdm(dataset.iter(BATCH_RECORDS), total=-(-len(dataset) // BATCH_RECORDS), delay=1, leave=False):
        places = zip(batch["source"], batch["language"], strict=True)
        for place, count in zip(places, counter.count(batch["messages"]), strict=True):
            tokens[place] = tokens.get(place, 0) + count
    for (source, language), count in tokens.items():
        report["records"][source][language]["tokens"] = count
    report["tokenizer"] = tokenizer
    report["notes"] = [note for note in report["notes"] if note != NOT_COUNTED]
    return report
