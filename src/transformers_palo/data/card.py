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
"""The card of a prepared data set: what it holds, what was left out, how it was made and how to load it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..languages import get_language
from .report import Report, format_report


TEMPLATE = """# {name}

Conversations about images, prepared from records in LLaVA's format by `palo data prepare`, transformers-palo {version}.

```python
from transformers_palo.data.prepared import load_prepared

dataset = load_prepared("{name}")
```

`datasets.load_dataset` on this folder works too, and decodes the images. A record is
`{{"messages", "images", "language", "source", "id"{tokens}}}`: messages as chat templates take them, {images}.
Records that were left out are in `rejects.jsonl`, each with its reason; `mixture.json` says what this was made of.

## Sources

{sources}

The licences of the data are those of its sources.

## Report

{report}
"""


def write_card(folder: Path, name: str, mixture: dict[str, Any], shares: Mapping[str, float], report: Report) -> None:
    """Write `README.md` with the metadata by which `datasets` finds the shards.

    Args:
        folder: Where.
        name: Of the data set.
        mixture: What `mixture.json` holds.
        shares: Language -> share of an epoch; the card's languages are those that have one.
        report: What became of the records.
    """
    from huggingface_hub import DatasetCardData

    metadata = DatasetCardData(
        language=sorted(language for language, share in shares.items() if share),
        task_categories=["image-text-to-text"],
        size_categories=_size_category(report["kept"]),
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "train-*.parquet"}]}],
    )
    text = TEMPLATE.format(
        name=name,
        version=mixture["versions"]["transformers-palo"],
        tokens=', "num_tokens"' if report["tokenizer"] else "",
        images="images as bytes" if mixture["embed_images"] else "images as absolute paths",
        sources="\n".join([*map(_source_line, mixture["sources"]), *_left_out(shares)]),
        report=format_report(report),
    )
    (folder / "README.md").write_text(f"---\n{metadata.to_yaml()}\n---\n\n{text}", encoding="utf-8")


def _source_line(source: dict[str, Any]) -> str:
    place = source["path"] or source["dataset"]
    facts = [f"{source['records']:,} records", f"weight {source['weight']}"]
    if source["limit"]:
        facts.append(f"limited to {source['limit']:,}")
    return f"- {source['name']}: `{place}`, {', '.join(facts)}"


def _left_out(shares: Mapping[str, float]) -> list[str]:
    names = [get_language(code).name for code, share in sorted(shares.items()) if not share]
    return [f"- in the files, but left out of the mixture (weight 0): {', '.join(names)}"] if names else []


def _size_category(records: int) -> str:
    bounds = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
    return next((name for bound, name in bounds if records < bound), "10M<n<100M")
