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
"""Terms to be used and pairs to learn from, as a team writes them down."""

import csv
from pathlib import Path

from ..record_files import open_records
from .targets import Target


def read_glossary(path: Path | None, target: Target) -> dict[str, str]:
    """Read the terms for a language from a CSV file whose columns are language codes, `en` among them.

    Returns:
        English term -> the term to use; empty without a file, or without a column for the language.

    Raises:
        OSError: There is no such file.
        ValueError: It has no column `en`.
    """
    if path is None:
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "en" not in (rows.fieldnames or ()):
            raise ValueError(
                f"{path}: expected a CSV file with a column 'en' and one for each language, found {rows.fieldnames}."
            )
        terms = {(row["en"] or "").strip(): (row.get(target.code) or "").strip() for row in rows}
    return {english: term for english, term in terms.items() if english and term}


def read_examples(path: Path | None, target: Target) -> list[tuple[str, str]]:
    """Read few-shot examples for a language from a file of records `{"language", "english", "translation"}`.

    Raises:
        OSError: There is no such file.
        ValueError: A record lacks one of the three.
    """
    if path is None:
        return []
    examples = []
    for number, record in enumerate(open_records(path), start=1):
        if missing := {"language", "english", "translation"} - record.keys():
            raise ValueError(f"{path}: example {number} lacks {', '.join(sorted(missing))}.")
        if record["language"] == target.code:
            examples.append((record["english"], record["translation"]))
    return examples
