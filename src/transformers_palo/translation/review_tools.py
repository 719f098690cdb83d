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
"""Samples for reviewers in Label Studio and Argilla, and what they said there."""

import codecs
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .results import Translated
from .reviews import VERDICTS
from .store import written_whole
from .targets import Target


@dataclass(frozen=True)
class Annotation:
    """What one person said of one turn.

    Attributes:
        where: For messages: the file and the task or record.
        language: Code of the target language.
        position: Of the record's source in the input file.
        turn: Counted from 1.
        translation: As it was to be reviewed.
        edited: As the reviewer leaves it.
        verdict: `"accept"`, `"edit"`, `"reject"` or nothing.
        reason: Why, or a note.
        reviewer: Who, as the tool names them.
        seconds: How long it took, where the tool says so.
        said_at: When (ISO 8601, UTC), where the tool says so.
    """

    where: str
    language: str
    position: int
    turn: int
    translation: str
    edited: str
    verdict: str
    reason: str
    reviewer: str
    seconds: float | None
    said_at: str = ""


def turns_to_review(one: Translated, target: Target, model: str, image_url: str) -> Iterator[dict[str, Any]]:
    """The turns of a record as data: what both tools show, and what tells them apart afterwards."""
    said: list[str] = []
    image = one.record.get("image")
    for number, (role, english, translation) in enumerate(
        zip(one.roles, one.english, one.translation, strict=True), start=1
    ):
        yield {
            "language": target.code,
            "position": one.position,
            "source_id": str(one.record["source_id"]),
            "turn": number,
            "role": role,
            "flags": ", ".join(sorted(one.outcome.flags)),
            "translator": model,
            "image": f"{image_url}{image}" if isinstance(image, str) else "",
            "context": "\n\n".join(said),
            "english": english,
            "translation": translation,
        }
        said.append(f"{role}: {english}\n=> {translation}")


# Label Studio: https://labelstud.io/guide/tasks, https://labelstud.io/guide/export


def write_label_studio(turns: Sequence[dict[str, Any]], target: Target, out: Path) -> Path:
    """Write tasks, and the labelling configuration beside them.

    Returns:
        Where the configuration is: `NAME.config.xml`.
    """
    config = out.with_name(f"{out.stem}.config.xml")
    with_image = any(turn["image"] for turn in turns)
    with written_whole([out, config], new=True) as (file, config_file):
        file.write(json.dumps([_task(turn) for turn in turns], ensure_ascii=False, indent=1).encode() + b"\n")
        config_file.write(_label_studio_config(target, with_image).encode())
    return config


def _task(turn: dict[str, Any]) -> dict[str, Any]:
    prefilled = {
        "from_name": "edited",
        "to_name": "english",
        "type": "textarea",
        "value": {"text": [turn["translation"]]},
    }
    data = {**turn, "heading": f"{turn['source_id']}, turn {turn['turn']} ({turn['role']})"}
    return {"data": data, "predictions": [{"model_version": turn["translator"], "result": [prefilled]}]}


_LABEL_STUDIO = """<View>
  <Style>.right-to-left textarea, .right-to-left p {{ direction: rtl; text-align: right; }}</Style>
  <Header value="$heading"/>
  <Text name="flags" value="$flags"/>
{image}  <Header value="So far"/>
  <Text name="context" value="$context"/>
  <Header value="English"/>
  <Text name="english" value="$english"/>
  <Header value={heading}/>
  <View className="{direction}">
    <TextArea name="edited" toName="english" rows="4" maxSubmissions="1" editable="true" required="true"/>
  </View>
  <Choices name="verdict" toName="english" choice="single" required="true" showInLine="true">
{verdicts}
  </Choices>
  <TextArea name="reason" toName="english" rows="1" maxSubmissions="1" placeholder="Why it is rejected, or a note"/>
</View>
"""


def _label_studio_config(target: Target, with_image: bool) -> str:
    language = target.language
    return _LABEL_STUDIO.format(
        image='  <Image name="image" value="$image" maxWidth="480px"/>\n' if with_image else "",
        heading=quoteattr(f"{escape(language.name)} ({language.native_name})"),
        direction="right-to-left" if language.direction == "rtl" else "left-to-right",
        verdicts="\n".join(f'    <Choice value="{verdict}"/>' for verdict in VERDICTS),
    )


def read_label_studio(path: Path, tasks: Sequence[Any]) -> Iterator[Annotation]:
    """The annotations of Label Studio's JSON export.

    Raises:
        ValueError: A task is none of `write_label_studio`.
    """
    for number, task in enumerate(tasks, start=1):
        where = f"{path}, task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        for annotation in _of_list(task, "annotations", where):
            if annotation.get("was_cancelled"):  # skipped
                continue
            said = _label_studio_answers(annotation, where)
            seconds, said_at = (annotation.get(name) for name in ("lead_time", "updated_at"))
            yield _annotation(
                where,
                data,
                **said,
                reviewer=_person(annotation.get("completed_by")),
                seconds=float(seconds) if isinstance(seconds, int | float) else None,
                said_at=said_at if isinstance(said_at, str) else "",
            )


_QUESTIONS = {"edited": "text", "verdict": "choices", "reason": "text"}


def _label_studio_answers(annotation: dict[str, Any], where: str) -> dict[str, str]:
    """Question -> answer; what a project asks beside ours is left alone."""
    said = dict.fromkeys(_QUESTIONS, "")
    for result in _of_list(annotation, "result", where):
        name, value = result.get("from_name"), result.get("value")
        if isinstance(name, str) and name in _QUESTIONS:
            kind = _QUESTIONS[name]
            found = value.get(kind, []) if isinstance(value, dict) else None
            texts = [found] if isinstance(found, str) else found
            if not isinstance(texts, list):
                raise ValueError(f"{where}: expected a value with {kind!r} for {name!r}, found {value!r}.")
            said[name] = "\n".join(_text(text, name, where) for text in texts)
    return said


def _text(found: Any, name: str, where: str) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{where}: expected text as the answer to {name!r}, found {found!r}.")
    return found


def _person(who: Any) -> str:
    if isinstance(who, dict):
        who = who.get("email") or who.get("username") or who.get("id")
    return "" if who is None else str(who)


def _of_list(entry: Any, name: str, where: str) -> list[dict[str, Any]]:
    found = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{where}: expected a list {name!r}, as Label Studio's JSON export (not JSON-MIN) has it.")
    return found


def _annotation(where: str, data: Any, **said: Any) -> Annotation:
    try:
        position, turn = int(data["position"]), int(data["turn"])
        return Annotation(where, str(data["language"]), position, turn, str(data["translation"]), **said)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{where}: expected language, position, turn and translation as 'review export' wrote them, found others."
        ) from None


# Argilla: https://docs.argilla.io/latest/how_to_guides/import_export


def write_argilla(turns: Sequence[dict[str, Any]], target: Target, out: Path) -> None:
    """Write a folder that `argilla.Dataset.from_disk` reads."""
    hidden = out / ".argilla"
    hidden.mkdir(parents=True, exist_ok=True)
    paths = [out / "records.json", hidden / "settings.json", hidden / "dataset.json"]
    contents: list[Any] = [[_argilla_record(turn) for turn in turns], _argilla_settings(target), _ARGILLA_DATASET]
    with written_whole(paths, new=True) as files:
        for file, content in zip(files, contents, strict=True):
            file.write(json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")


_IN_METADATA = ("language", "position", "source_id", "turn", "role")
_IN_FIELDS = ("flags", "context", "english")


def _argilla_record(turn: dict[str, Any]) -> dict[str, Any]:
    fields = {name: turn[name] for name in _IN_FIELDS if turn[name]}
    if "://" in turn["image"]:  # a server takes nothing else
        fields["image"] = turn["image"]
    return {
        "id": f"{turn['language']}-{turn['position']}-{turn['turn']}",
        "fields": fields,
        "metadata": {name: turn[name] for name in _IN_METADATA},
        "suggestions": {"edited": {"value": turn["translation"], "score": None, "agent": turn["translator"]}},
        "responses": {},
        "vectors": {},
    }


_ARGILLA_DATASET = {"name": "translation-review", "status": "draft"}
_GUIDELINES = (
    "The suggestion is the translation as it stands. Accept it, correct it (edit), or reject it with a reason. Code, tags, "
    "placeholders and line breaks have to stay."
)


def _argilla_settings(target: Target) -> dict[str, Any]:
    name = f"{target.language.name} ({target.language.native_name})"
    text = {"type": "text", "use_markdown": False}
    options = [{"text": verdict, "value": verdict} for verdict in VERDICTS]
    verdict = {"type": "label_selection", "options": options, "visible_options": len(options)}

    def named(name: str, title: str, settings: dict[str, Any], required: bool = False) -> dict[str, Any]:
        return {"name": name, "title": title, "settings": settings, "type": settings["type"], "required": required}

    def shown(name: str) -> dict[str, Any]:
        kind = {"type": "integer" if name in ("position", "turn") else "terms"}
        return {"name": name, "title": name, "settings": kind, **kind, "visible_for_annotators": True}

    return {
        "guidelines": _GUIDELINES,
        "fields": [
            named("image", "Image", {"type": "image"}),
            named("flags", "Flags", text),
            named("context", "So far", text),
            named("english", "English", text, required=True),
        ],
        "questions": [
            named("edited", name, text, required=True),
            named("verdict", "Verdict", verdict, required=True),
            named("reason", "Why it is rejected, or a note", text),
        ],
        "metadata": [shown(name) for name in _IN_METADATA],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def read_argilla(path: Path, records: Sequence[Any]) -> Iterator[Annotation]:
    """The responses of Argilla's records, as `dataset.records.to_json` and `dataset.to_disk` write them.

    Raises:
        ValueError: A record is none of `write_argilla`.
    """
    for number, record in enumerate(records, start=1):
        where = f"{path}, record {number}"
        try:
            suggested = record["suggestions"]["edited"]["value"]
            data = {**record["metadata"], "translation": suggested}
            by_person: dict[str, dict[str, Any]] = {}
            for question, responses in record["responses"].items():
                for response in responses:
                    by_person.setdefault(_person(response["user_id"]), {})[question] = response["value"]
        except (KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{where}: expected metadata, suggestions and responses as Argilla's records.to_json writes them, found others."
            ) from None
        for person, said in by_person.items():
            given = {name: said.get(name) for name in _QUESTIONS}
            answers = {name: "" if value is None else _text(value, name, where) for name, value in given.items()}
            yield _annotation(where, data, **answers, reviewer=person, seconds=None)


def read_annotations(path: Path) -> list[Annotation] | None:
    """The annotations in Label Studio's or Argilla's JSON, `None` if that is something else.

    Raises:
        OSError: It cannot be read.
        ValueError: It is JSON, but not one of these, or nobody has annotated anything in it.
    """
    path = path / "records.json" if path.is_dir() else path
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(200).removeprefix(codecs.BOM_UTF8).lstrip()[:1] != b"[":
            return None
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found a damaged file ({error}).") from None
    if not entries:
        raise ValueError(f"{path}: expected annotated tasks or records, found an empty export.")
    first = entries[0] if isinstance(entries[0], dict) else {}
    if "data" not in first and "fields" not in first:
        raise ValueError(
            f"{path}: expected the JSON export of Label Studio (not JSON-MIN) or the records of Argilla, found neither."
        )
    annotations = list((read_label_studio if "data" in first else read_argilla)(path, entries))
    if not annotations:
        raise ValueError(f"{path}: nothing was annotated yet: expected an export made after the reviewers' work.")
    return annotations
