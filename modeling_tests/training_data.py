"""Training examples for the tests: the golden records as `palo data prepare` would convert them."""

from functools import cache
from typing import Any

from transformers_palo.data.records import Converted, convert_record

from .conftest import SHARED, read_json


@cache
def golden_records() -> dict[str, dict[str, Any]]:
    return {record["id"]: record for record in read_json(SHARED / "train_records.json")}


def golden_example(record_id: str) -> dict[str, Any]:
    """An example with the path of its image; its language is the beginning of its id, where that is one."""
    record = golden_records()[record_id]
    converted = convert_record(record, source="golden", language=record_id[:2] if record_id[2] == "_" else "en")
    assert isinstance(converted, Converted), converted
    images = [str(SHARED / "images" / image) for image in converted.example["images"]]
    return {**converted.example, "images": images}


def examples(*record_ids: str) -> list[dict[str, Any]]:
    return [golden_example(record_id) for record_id in record_ids]


def text_example(question: str, answer: str, record_id: str = "text", language: str = "en") -> dict[str, Any]:
    return {
        "id": record_id,
        "language": language,
        "source": "tests",
        "images": [],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": question}]},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ],
    }


def image_example(
    image: Any, question: str, answer: str, record_id: str = "image", language: str = "en"
) -> dict[str, Any]:
    example = text_example(question, answer, record_id, language)
    example["messages"][0]["content"].insert(0, {"type": "image"})
    return {**example, "images": [image]}
