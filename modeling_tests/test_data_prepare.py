"""`palo data prepare`: from files of records to a data set, whatever happens on the way."""

import dataclasses
import datetime
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, Features, Value, load_dataset
from datasets import Image as ImageFeature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from transformers_palo.cli.main import main
from transformers_palo.data import examine
from transformers_palo.data import prepare as preparation
from transformers_palo.data.config import PreparationConfig, SourceConfig, load_config
from transformers_palo.data.inspection import inspect_data
from transformers_palo.data.mixture import MixtureStrategy, mixture_indices
from transformers_palo.data.prepare import prepare_data
from transformers_palo.data.prepared import load_prepared, prepared_fingerprint, read_mixture
from transformers_palo.data.records import RejectReason, Repair
from transformers_palo.data.report import format_report
from transformers_palo.data.tokens import TokenCounter
from transformers_palo.models.palo.image_loading_palo import load_image

from .card_metadata import card_errors
from .conftest import GOLDEN, SHARED, golden_image, read_json


RECORDS = read_json(SHARED / "train_records.json")
TOKENIZER = str(GOLDEN / "public_mlp2x" / "checkpoint")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the golden records and their images; the cache of `datasets` in it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(SHARED / "images", "images")
    Path("records.json").write_text(json.dumps(RECORDS, ensure_ascii=False), encoding="utf-8")
    return tmp_path


SOURCE = {"path": "records.json", "image_root": "images"}


def config(*sources, output_dir="prepared", max_reject_share=1.0, **fields):
    content = {
        "output_dir": output_dir,
        "max_reject_share": max_reject_share,
        "sources": [{**SOURCE, **source} for source in sources or ({},)],
        **fields,
    }
    Path("mixture.yaml").write_text(yaml.safe_dump(content))
    return load_config("mixture.yaml")


def record(id, *, image=None, language="en", question="What?", answer="That."):
    turns = [
        {"from": "human", "value": f"<image>\n{question}" if image else question},
        {"from": "gpt", "value": answer},
    ]
    return {"id": id, "language": language, "conversations": turns, **({"image": image} if image else {})}


def write(*records, path="records.json"):
    Path(path).write_text(json.dumps(records), encoding="utf-8")


def rejects(folder="prepared"):
    """JSON by its standard, which knows no NaN."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    lines = (Path(folder) / "rejects.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line, parse_constant=refuse) for line in lines[:-1]]


def reasons(folder="prepared"):
    return {line["id"]: line["reason"] for line in rejects(folder)}


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# ---- what is written


def test_the_golden_records(here):
    report = prepare_data(config())
    assert (report["read"], report["kept"], report["rejected"]) == (43, 40, 3)
    assert reasons() == {
        "edge_ends_with_human": "odd_turns",
        "edge_empty_answer": "empty_turn",
        "edge_corrupt_true": "corrupt_flag",
    }
    assert rejects()[0]["record"] == next(r for r in RECORDS if r["id"] == "edge_ends_with_human")
    assert report["rejects"] == {"records": {"en": {"corrupt_flag": 1, "empty_turn": 1, "odd_turns": 1}}}
    assert report["repairs"]["records"]["zh"] == {"placeholder_moved": 1}
    assert report["records"]["records"]["hi"] == {"records": 2, "text_only": 1, "images": 1, "turns": 6}
    assert report == read_json(Path("prepared/report.json"))
    assert sorted(path.name for path in Path("prepared").iterdir()) == [
        "README.md",
        "mixture.json",
        "rejects.jsonl",
        "report.json",
        "train-00000-of-00001.parquet",
    ]


def test_datasets_loads_the_folder_with_its_pictures(here):
    prepare_data(config())
    dataset = load_dataset("prepared", split="train")
    row = dataset[2]
    assert row["id"] == "zh_multi"
    assert row["images"][0].size == golden_image("landscape").size
    assert row["language"] == "zh" and row["source"] == "records"
    assert row["messages"][0]["content"] == [
        {"type": "image", "text": None},
        {"type": "text", "text": "船是什么颜色的?"},
    ]


def test_training_loads_paths_and_leaves_decoding_to_its_workers(here):
    prepare_data(config())
    dataset = load_prepared("prepared")
    assert dataset[0]["images"] == [{"bytes": None, "path": str(here / "images" / "portrait.png")}]
    assert dataset[1]["images"] == []
    chosen = dataset.select(mixture_indices(dataset["language"], dataset["source"], **read_mixture("prepared")))
    assert sorted(chosen["id"]) == sorted(dataset["id"])


def test_embedded_images_need_no_folder(here):
    prepare_data(config(embed_images=True))
    content = Path("images/portrait.png").read_bytes()
    shutil.rmtree("images")
    assert load_prepared("prepared")[0]["images"] == [{"bytes": content, "path": "portrait.png"}]
    assert load_dataset("prepared", split="train")[0]["images"][0].size == golden_image("portrait").size


def test_the_card_names_languages_sources_and_rejects(here):
    prepare_data(config({"weight": 2, "limit": 30}))
    card = Path("prepared/README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["language"] == ["ar", "bn", "en", "es", "fr", "hi", "ja", "ru", "ur", "zh"]
    assert metadata["size_categories"] == "n<1K"
    assert "- records: `records.json`, 30 records, weight 2, limited to 30" in card
    assert card_errors(card) == []


@pytest.mark.parametrize(
    ("weights", "sources"),
    [({"en": 1, "hi": 0}, [{}]), (None, [{"language": "en"}, {"name": "b", "language": "hi", "weight": 0}])],
)
def test_the_card_does_not_name_a_language_that_is_left_out_of_the_mixture(here, weights, sources):
    write(record("1"), record("2", language="hi" if weights else "en"))
    mixture = {"strategy": "weights", "weights": weights} if weights else {"strategy": "proportional"}
    if weights:
        sources = [{"language_field": "language"}]
    prepare_data(config(*sources, mixture=mixture))
    card = Path("prepared/README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["language"] == ["en"]
    assert "- in the files, but left out of the mixture (weight 0): Hindi" in card


def test_every_kind_of_file_gives_the_same_data(here):
    with Path("lines.jsonl").open("w") as file:
        file.writelines(json.dumps(item) + "\n" for item in RECORDS)
    with_all_columns = [{"image": None, "corrupt": None, **item} for item in RECORDS]
    pq.write_table(pa.Table.from_pylist(with_all_columns), "table.parquet")
    Path("folder").mkdir()
    shutil.copy("table.parquet", "folder/train.parquet")
    for name, source in {
        "array": {},
        "lines": {"path": "lines.jsonl"},
        "table": {"path": "table.parquet"},
        "hub": {"path": None, "dataset": str(here / "folder")},
    }.items():
        prepare_data(config({**source, "name": "golden"}, output_dir=name))
    first = load_prepared("array").to_list()
    assert len(first) == 40
    for name in ("lines", "table", "hub"):
        assert load_prepared(name).to_list() == first


def test_a_data_set_with_pictures_inside(here):
    features = Features(
        {"conversations": [{"from": Value("string"), "value": Value("string")}], "image": Value("binary")}
    )
    pictures = [Path("images/portrait.png").read_bytes(), b"no picture", None]
    rows = [{"conversations": record("", image=picture)["conversations"], "image": picture} for picture in pictures]
    dataset = Dataset.from_list(rows, features=features)
    dataset.cast_column("image", ImageFeature(decode=False)).to_parquet("hub/train.parquet")
    report = prepare_data(config({"path": None, "image_root": None, "dataset": "hub", "language": "en"}))
    assert reasons() == {"hub-1": "image_unreadable"}
    assert report["repairs"] == {"hub": {"en": {"id_numbered": 2}}}
    assert [row["images"] for row in load_prepared("prepared")] == [[{"bytes": pictures[0], "path": None}], []]


def test_paths_of_a_data_set_need_a_root(here):
    Path("hub").mkdir()
    pq.write_table(pa.Table.from_pylist(RECORDS), "hub/train.parquet")
    with pytest.raises(ValueError, match=r"hub: its images are paths .'portrait.png'., expected image_root"):
        prepare_data(config({"path": None, "image_root": None, "dataset": "hub"}))


# ---- images


def test_images_that_cannot_be_trained_on(here):
    Image.new("1", (20_000, 20_000)).save("images/bomb.png")
    Path("images/text.jpg").write_text("no picture")
    whole = Path("images/portrait.png").read_bytes()
    Path("images/half.png").write_bytes(whole[: len(whole) // 2])
    Path("secret.png").write_bytes(whole)
    os.symlink(here / "secret.png", "images/link.png")
    os.symlink(here / "images" / "portrait.png", "images/inner.png")
    Path("images/folder.png").mkdir()
    faults = {
        "bomb.png": "image_bomb",
        "text.jpg": "image_unreadable",
        "half.png": "image_unreadable",
        "missing.png": "image_missing",
        "folder.png": "image_missing",
        "nul\0.png": "image_missing",
        "../secret.png": "image_outside_root",
        "link.png": "image_outside_root",
        str(here / "images" / "portrait.png"): "image_outside_root",
        "../images_of_others/a.png": "image_outside_root",
        ".": "image_outside_root",
    }
    good = ["inner.png", "portrait.png", "./portrait.png", "folder.png/../portrait.png"]
    write(*(record(image, image=image) for image in [*faults, *good]))
    prepare_data(config(check_images="full"))
    assert reasons() == faults
    assert load_prepared("prepared")["id"][:] == good

    for level, unseen in {
        "header": ["half.png"],
        "existence": ["bomb.png", "text.jpg", "half.png"],
    }.items():
        prepare_data(config(check_images=level, output_dir=level))
        assert reasons(level) == {image: fault for image, fault in faults.items() if image not in unseen}


def test_pictures_over_which_decoders_stumble_are_unreadable(here):
    """A TIFF that says with a fraction where its pixels are: Pillow raises a TypeError."""
    Image.new("RGB", (40, 30)).save("images/fraction.tiff")
    content = bytearray(Path("images/fraction.tiff").read_bytes())
    (directory,) = struct.unpack("<I", content[4:8])
    entry = content.index(struct.pack("<H", 273), directory)
    content[entry + 2] = 5
    Path("images/fraction.tiff").write_bytes(content)
    with pytest.raises(TypeError), Image.open("images/fraction.tiff") as picture:
        picture.load()
    write(record("1", image="fraction.tiff"), record("2"))
    prepare_data(config(check_images="full"))
    assert reasons() == {"1": "image_unreadable"}
    with pytest.raises(ValueError, match=r"fraction\.tiff: the file is truncated or damaged"):
        load_image("images/fraction.tiff")


def test_links_may_lead_to_folders_that_are_named(here):
    Path("disk").mkdir()
    shutil.move("images/portrait.png", "disk/portrait.png")
    os.symlink(here / "disk", "images/coco")
    write(record("1", image="coco/portrait.png"), record("2"))
    prepare_data(config(output_dir="refused"))
    assert reasons("refused") == {"1": "image_outside_root"}
    prepare_data(config({"linked_roots": ["disk"]}))
    assert load_prepared("prepared")[0]["images"][0]["path"] == str(here / "images" / "coco" / "portrait.png")


def test_an_image_is_looked_at_once(here, monkeypatch):
    looked_at = Counter()
    check = examine.check_image
    monkeypatch.setattr(examine, "check_image", lambda path, *rest: looked_at.update([path]) or check(path, *rest))
    monkeypatch.setattr(preparation, "BATCH_RECORDS", 3)
    write(*(record(str(number), image=f"{('portrait', 'square', 'gone')[number % 3]}.png") for number in range(30)))
    report = prepare_data(config({"name": "a"}, {"name": "b"}))
    assert report["rejects"] == {name: {"en": {"image_missing": 10}} for name in "ab"}
    assert len(looked_at) == 3 and set(looked_at.values()) == {1}


# ---- languages, ids, limits, tokens


def test_languages_come_from_the_field_the_source_or_the_text(here):
    write(
        record("field", language="Hindi"),
        record("unknown", language="Klingon"),
        record("source", language=None, answer="The boat is red."),
    )
    prepare_data(config({"language_field": "language", "language": "fr"}))
    assert dict(zip(*(load_prepared("prepared")[name] for name in ("id", "language")), strict=True)) == {
        "field": "hi",
        "source": "fr",
    }
    assert rejects()[0]["reason"] == "language_unknown" and "'Klingon'" in rejects()[0]["detail"]

    write(record("es", answer="El barco es rojo y blanco."), record("?", question="1 + 1", answer="2"))
    prepare_data(config(output_dir="detected"))
    assert load_prepared("detected")["language"][:] == ["es"]
    assert (rejects("detected")[0]["language"], rejects("detected")[0]["reason"]) == ("und", "language_unknown")


def test_detection_says_which_package_it_needs(here, monkeypatch):
    from transformers_palo import language_id

    language_id._detector.cache_clear()
    monkeypatch.setitem(sys.modules, "lingua", None)
    with pytest.raises(ImportError, match="needs lingua-language-detector: install it"):
        prepare_data(config())


def test_an_id_is_kept_once_a_language(here):
    first, again = record("7", answer="One."), record("7", answer="Two.")
    write(first, again, record("7", language="hi", answer="एक।"), record(None), record(""))
    prepare_data(config({"name": "a", "language_field": "language"}))
    assert load_prepared("prepared")["id"][:] == ["7", "7", "a-3", "a-4"]
    assert [(line["reason"], line["record"]) for line in rejects()] == [("duplicate_id", again)]

    report = prepare_data(config({"duplicate_ids": "number", "language_field": "language"}, output_dir="numbered"))
    assert load_prepared("numbered")["id"][:2] == ["7", "7#2"]
    assert report["repairs"] == {"records": {"en": {"id_numbered": 3}}}


def test_what_was_rejected_does_not_take_its_id(here):
    write(record("7", answer=""), record("7"))
    prepare_data(config())
    assert load_prepared("prepared")["id"][:] == ["7"]
    assert reasons() == {"7": "empty_turn"}


def test_a_limit_keeps_the_first_records(here):
    write(*(record(str(number), answer="" if number == 1 else "That.") for number in range(10)))
    report = prepare_data(config({"limit": 3}))
    assert load_prepared("prepared")["id"][:] == ["0", "2", "3"]
    assert report["read"] == 4


def test_tokens_are_those_that_the_processor_makes(here, processor):
    report = prepare_data(config(tokenizer=TOKENIZER))
    dataset = load_prepared("prepared")
    for row in dataset:
        pictures = [Image.open(image["path"]) for image in row["images"]]
        prompt = processor.apply_chat_template(row["messages"])
        ids = processor(text=prompt, images=pictures or None)["input_ids"][0]
        assert row["num_tokens"] == len(ids), row["id"]
    assert sum(c["tokens"] for c in report["records"]["records"].values()) == sum(dataset["num_tokens"])


def test_a_tokenizer_alone_is_taken_for_that_of_a_palo(here):
    prepare_data(config(tokenizer=str(SHARED / "tokenizer_legacy_true")))
    with_text, with_image = load_prepared("prepared")[1], load_prepared("prepared")[0]
    assert with_text["num_tokens"] < 100
    assert 576 + 100 < with_image["num_tokens"] < 576 + 150


def test_what_is_too_long_is_rejected(here):
    prepare_data(config(tokenizer=TOKENIZER, max_length=200))
    assert {id for id, reason in reasons().items() if reason == "too_long"} == {"edge_long_answer", "edge_long_text"}
    assert max(load_prepared("prepared")["num_tokens"]) <= 200


def test_without_a_tokenizer_the_limit_is_not_applied_and_that_is_said(here):
    report = prepare_data(config(max_length=20))
    assert report["kept"] == 40
    assert "max_length 20 was not applied: it needs a tokenizer." in format_report(report)
    assert "num_tokens" not in load_prepared("prepared").column_names


def test_the_mixture_is_kept_for_training(here):
    weights = {"en": 1, "hi": 3}
    write(*(record(f"{code}{number}", language=code) for code in weights for number in range(8)))
    source = {"language_field": "language"}
    mixture = {"strategy": "weights", "weights": weights}
    prepare_data(config({**source, "weight": 0.5}, {**source, "name": "b", "weight": 2}, mixture=mixture, seed=5))
    kept = read_mixture("prepared")
    assert kept == {
        "strategy": MixtureStrategy("weights", weights=weights),
        "source_weights": {"records": 0.5, "b": 2},
        "seed": 5,
    }
    dataset = load_prepared("prepared")
    drawn = dataset.select(mixture_indices(dataset["language"], dataset["source"], **kept))
    assert Counter(drawn["language"]) == {"en": 10, "hi": 30}
    assert Counter(drawn["source"]) == {"records": 8, "b": 32}


# ---- any record at all: kept or rejected, never the end of the run

TEMPLATE = (
    '{"id": "7", "image": "portrait.png", "language": "en", "corrupt": false, "other": 0, '
    '"conversations": [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A boat."}]}'
)
PLACES = ['"7"', '"portrait.png"', '"en"', "false", "0", '[{"from', '{"from": "human"', '"human"', '"<image>What?"']
PLACES += ['"gpt"', '"A boat."', '{"from": "gpt", "value": "A boat."}', '"image"', '"id"']
SCALARS = [
    json.dumps(t)
    for t in ("\ud83d", "What? \ude00 Which?", "a\0b", "", " ", "<image>", "human", "../x", "hi", "x" * 9000)
]
SCALARS += ["1e400", "-1e400", "9" * 5000, "NaN", "-Infinity", "5", "0.5", "true", "null"]
NESTED = ["[]", "{}", '{"bytes": %s}', '{"path": %s}', '{"bytes": null, "path": %s}', "[%s]", "[[%s]]", '{"from": %s}']
DEEP = ["[" * depth + "]" * depth for depth in (300, 900, 5000)] + ['{"bytes": ' * 900 + "1" + "}" * 900]


def with_anything(place: str, value: str) -> str:
    """The record with any JSON in one of its places; a list of turns is replaced as a whole."""
    if place == '[{"from':
        return TEMPLATE.replace(TEMPLATE[TEMPLATE.index("[") : -1], value)
    if place == '{"from": "human"':
        return TEMPLATE.replace('{"from": "human", "value": "<image>What?"}', value)
    if place in ('"image"', '"id"'):  # a name: only texts can stand there
        return TEMPLATE.replace(place, value if value.startswith('"') else json.dumps(value))
    return TEMPLATE.replace(place, value)


def prepared_from(texts: list[str], lines: bool, **source) -> tuple[int, int]:
    """Records kept and rejected of these; every one of them is, and the last one, which is whole, is kept."""
    content = "\n".join([*texts, TEMPLATE]) if lines else f"[{', '.join([*texts, TEMPLATE])}]"
    Path("records.json").write_text(content, encoding="utf-8")
    for folder in ("prepared", "prepared.partial"):
        shutil.rmtree(folder, ignore_errors=True)
    report = prepare_data(config({"duplicate_ids": "number", **source}, tokenizer=TOKENIZER))
    assert report["read"] == report["kept"] + report["rejected"] == len(texts) + 1
    kept, rejected = load_prepared("prepared"), rejects()
    assert len(kept) == report["kept"] and kept["id"][-1].startswith("7")
    assert len(rejected) == report["rejected"] and all(line["reason"] and line["detail"] for line in rejected)
    assert inspect_data("records.json", language_field=source.get("language_field"))["read"] == report["read"]
    return report["kept"], report["rejected"]


@pytest.mark.parametrize("source", [{}, {"language_field": "language", "language": "en"}])
@pytest.mark.parametrize("lines", [False, True])
def test_anything_anywhere_in_a_record_is_kept_or_rejected(here, lines, source):
    values = [*SCALARS, *DEEP]
    values += [form.replace("%s", scalar) for form in NESTED for scalar in (SCALARS if "%s" in form else SCALARS[:1])]
    texts = [with_anything(place, value) for place in PLACES for value in values]
    kept, rejected = prepared_from(texts, lines, **source)
    assert kept > 200 < rejected


anything = st.recursive(
    st.sampled_from(SCALARS) | st.text(max_size=9).map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(
            st.tuples(st.sampled_from(["from", "value", "bytes", "path"]), inner).map(
                lambda pair: f'"{pair[0]}": {pair[1]}'
            ),
            max_size=3,
        ).map(lambda items: f"{{{', '.join(items)}}}")
    ),
    max_leaves=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.builds(with_anything, st.sampled_from(PLACES), anything), min_size=20, max_size=40), st.booleans())
def test_any_json_is_kept_or_rejected(here, texts, lines):
    prepared_from(texts, lines)


def test_strange_values_are_rejected_by_name(here):
    surrogate = (
        r'{"id": "surrogate", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "\ud83d"}]}'
    )
    deep = '{"id": ' + "[" * 5000 + "]" * 5000 + "}"
    twice = '{"id": "twice", "id": "again"}'
    large = json.dumps(record("large", answer="x" * 2**20))
    number = json.dumps(record("?", image="portrait.png")).replace('"?"', "9" * 5000)
    image = json.dumps(record("image", image={"bytes": 5}))
    path = json.dumps(record("path", image={"bytes": str(here / "images" / "portrait.png")}))
    Path("records.json").write_text(f"[{', '.join([surrogate, deep, twice, large, number, image, path])}]")
    prepare_data(config({"language": "en", "name": "a"}))
    assert reasons() == {
        "surrogate": "invalid_text",
        "a-1": "unreadable",
        "a-2": "unreadable",
        "a-3": "unreadable",
        "image": "malformed",
        "path": "malformed",
    }
    assert load_prepared("prepared")["id"][:] == ["a-4"]
    details = {line["id"]: line["detail"] for line in rejects()}
    assert details["a-3"].startswith("expected a record of 1,048,576 characters at most, found one of 1,048,")
    assert rejects()[3]["record"].startswith('{"id": "large", ') and len(rejects()[3]["record"]) == 1000
    assert details["path"].startswith("expected the path or the bytes of an image, found {'bytes': '")


def test_strange_columns_of_parquet(here):
    picture = Path("images/portrait.png").read_bytes()
    turns = record("", image="x")["conversations"]
    for name, values, expected in [
        ("integers", [5, None], {"integers-0": "malformed"}),
        ("floats", [float("nan"), None], {"floats-0": "malformed"}),
        ("bytes", [picture, b"no picture"], {"bytes-1": "image_unreadable"}),
        ("structs", [{"bytes": picture, "path": 5}, {"bytes": b"", "path": 6}], {"structs-1": "image_unreadable"}),
        ("times", [datetime.datetime(2026, 1, 1), None], {"times-0": "malformed"}),
    ]:
        pq.write_table(pa.table({"conversations": [turns, turns], "image": values}), f"{name}.parquet")
        report = prepare_data(config({"path": f"{name}.parquet", "language": "en"}, output_dir=name))
        assert (reasons(name), report["read"], report["kept"]) == (expected, 2, 1)
    assert load_prepared("bytes")[0]["images"] == [{"bytes": picture, "path": None}]
    assert rejects("floats")[0]["record"]["image"] == "NaN"


def test_large_records_are_looked_at_a_few_at_a_time(here, monkeypatch):
    monkeypatch.setattr(preparation, "BATCH_SIZE", 2**20)
    monkeypatch.setattr("transformers_palo.data.tokens.CHARACTERS_AT_ONCE", 2**18)
    sizes, tokenized = [], []
    look, count = examine.Examiner.examine, TokenCounter._count_texts
    monkeypatch.setattr(
        examine.Examiner,
        "examine",
        lambda self, records, *rest: sizes.append(len(records)) or look(self, records, *rest),
    )
    monkeypatch.setattr(
        TokenCounter, "_count_texts", lambda self, texts: tokenized.append(len(texts)) or count(self, texts)
    )
    write(*(record(str(number), answer="a " * 2**16) for number in range(20)))
    Path("folder").mkdir()
    pq.write_table(pa.Table.from_pylist(json.loads(Path("records.json").read_text())), "folder/train.parquet")
    reports = []
    for name, source in {
        "a": {},
        "b": {"path": "folder/train.parquet"},
        "c": {"path": None, "dataset": "./folder"},
    }.items():
        source = {**source, "language": "en", "name": "all"}
        reports.append(prepare_data(config(source, output_dir=name, tokenizer=TOKENIZER)))
    assert sum(sizes) == sum(tokenized) == 60 and max(sizes) <= 8 and max(tokenized) == 1
    assert reports[0] == reports[1] == reports[2]


# ---- failing


def test_too_many_rejects_fail_and_a_higher_limit_ends_at_once(here):
    with pytest.raises(
        ValueError, match=r"3 of 43 records were rejected .7.0%., more than max_reject_share 5.0%: .*odd_turns 1"
    ):
        prepare_data(config(max_reject_share=0.05))
    assert not Path("prepared").exists()
    assert len(rejects("prepared.partial")) == 3
    shard = Path("prepared.partial/shard-00000.parquet").stat()
    prepare_data(config(max_reject_share=0.1))
    assert Path("prepared/train-00000-of-00001.parquet").stat().st_mtime_ns == shard.st_mtime_ns


def test_no_record_left(here):
    write(record("1", answer=""))
    with pytest.raises(ValueError, match="No record is left to write: empty_turn 1"):
        prepare_data(config())


def test_a_mixture_that_does_not_fit_the_data_is_told_before_training(here):
    mixture = {"strategy": "weights", "weights": {"en": 1, "hi": 1}}
    write(record("1"), record("2", language="ur"))
    with pytest.raises(ValueError, match=r"no weight for ur .0 leaves it out.; no records of hi"):
        prepare_data(config({"language_field": "language"}, mixture=mixture))
    mixture["weights"] = {"en": 1, "ur": 0}
    assert prepare_data(config({"language_field": "language"}, mixture=mixture))["kept"] == 2


def test_nothing_is_overwritten(here):
    prepare_data(config())
    before = contents("prepared")
    with pytest.raises(FileExistsError, match="prepared exists already"):
        prepare_data(config())
    assert contents("prepared") == before


def test_the_folder_of_an_unfinished_run_is_no_data_set(here):
    write(record("1"))
    Path("records.json").write_text(Path("records.json").read_text()[:-1] + ", {")
    with pytest.raises(ValueError, match=r"records.json: record 2 cannot be read"):
        prepare_data(config({"language": "en"}))
    assert not Path("prepared").exists()
    with pytest.raises(ValueError, match="has finished, found an interrupted preparation"):
        load_prepared("prepared.partial")
    with pytest.raises(ValueError, match=r"expected a data set that .* has finished, found none"):
        load_prepared("images")


# ---- interrupted

SHARDED = """
import sys
from transformers_palo.data import prepare
from transformers_palo.data.config import PreparationConfig, SourceConfig, load_config
prepare.BATCH_RECORDS, prepare.SHARD_RECORDS = 50, 500
prepare.prepare_data(load_config("mixture.yaml"))
"""


def many_records():
    names = [path.name for path in sorted(Path("images").iterdir())]
    return [
        record(
            str(number % 5900),
            image=(*names, None)[number % 14],
            answer="" if number % 37 == 0 else f"{number} boats.",
        )
        for number in range(6000)
    ]


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(here, monkeypatch):
    write(*many_records())
    write(*many_records()[:1200], path="more.json")
    sources = [{"language": "en"}, {"path": "more.json", "language": "en", "limit": 1000}]
    config(*sources, embed_images=True)
    child = subprocess.Popen([sys.executable, "-c", SHARDED], stderr=subprocess.DEVNULL)
    while not Path("prepared.partial/shard-00004.partial").exists() and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "killed before it was done"
    assert not Path("prepared").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in Path("prepared.partial").glob("shard-*.parquet")}
    assert len(finished) >= 4

    monkeypatch.setattr(preparation, "BATCH_RECORDS", 50)
    monkeypatch.setattr(preparation, "SHARD_RECORDS", 500)
    # What the killed process wrote behind the last shard is not in the result.
    with Path("prepared.partial/rejects.jsonl").open("a") as file:
        file.write('{"id": "half a li')
    prepare_data(config(*sources, embed_images=True))
    for name, written in list(finished.items())[:4]:
        again = Path("prepared") / f"train-{name[6:11]}-of-00015.parquet"
        assert again.stat().st_mtime_ns == written, "what was whole is not written again"
    whole = contents("prepared")
    shutil.move("prepared", "first")
    prepare_data(config(*sources, embed_images=True))
    assert contents("prepared") == whole
    assert read_json(Path("prepared/report.json"))["read"] == 6000 + 1028


@pytest.mark.parametrize("stop", ["write_card", "_write_json"])
def test_a_run_that_dies_while_finishing_can_be_finished(here, monkeypatch, stop):
    prepare_data(config(output_dir="prepared"))
    whole = contents("prepared")
    shutil.rmtree("prepared")
    with monkeypatch.context() as patch:
        patch.setattr(preparation, stop, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                prepare_data(config())
            with Path("prepared.partial/rejects.jsonl").open("a") as file:
                file.write('{"id": "half a li')
    prepare_data(config())
    assert contents("prepared") == whole


def test_other_settings_do_not_go_on_with_an_interrupted_run(here):
    with pytest.raises(ValueError, match="were rejected"):
        prepare_data(config(max_reject_share=0))
    with pytest.raises(ValueError, match=r"interrupted run with other settings .sources.: restore them .* or remove"):
        prepare_data(config({"language": "en"}))
    os.utime("records.json", ns=(1, 1))
    with pytest.raises(ValueError, match=r"with other settings .files."):
        prepare_data(config())


def test_a_mistake_at_the_start_can_be_mended(here):
    with pytest.raises(OSError):
        prepare_data(config(tokenizer="nowhere"))
    Path("records.json").write_text("[3]")
    with pytest.raises(ValueError, match="record 1 cannot be read"):
        prepare_data(config())
    write(record("1"))
    assert prepare_data(config())["kept"] == 1


def test_two_runs_do_not_work_on_one_folder(here):
    from transformers_palo.data.state import State

    Path("prepared.partial").mkdir()
    state = State(Path("prepared.partial/state.sqlite"))
    with pytest.raises(OSError, match=r"prepared.partial is in use: another run is at work"):
        prepare_data(config())
    state.close()
    prepare_data(config())


# ---- the identity of a prepared folder


def test_the_fingerprint_is_that_of_the_records_and_the_mixture(here):
    write(record("1"), record("2", language="hi"))
    source = {"language_field": "language"}
    prepare_data(config(source, output_dir="first"))
    fingerprint = prepared_fingerprint("first")
    assert len(fingerprint) == 64
    prepare_data(config(source, output_dir="again"))
    shutil.copytree("first", "copied")
    assert prepared_fingerprint("again") == prepared_fingerprint("copied") == fingerprint

    others = {fingerprint}
    for number, changes in enumerate([{"seed": 1}, {"mixture": {"strategy": "temperature", "temperature": 2}}]):
        prepare_data(config(source, output_dir=f"other{number}", **changes))
        others.add(prepared_fingerprint(f"other{number}"))
    prepare_data(config({**source, "weight": 2}, output_dir="weighed"))
    others.add(prepared_fingerprint("weighed"))
    # As many bytes and rows, one letter of one answer changed.
    write(record("1"), record("2", language="hi", answer="this"))
    prepare_data(config(source, output_dir="letter"))
    others.add(prepared_fingerprint("letter"))
    assert len(others) == 5


def in_two_shards(monkeypatch, answer="That.", output_dir="prepared"):
    monkeypatch.setattr(preparation, "BATCH_RECORDS", 10)
    monkeypatch.setattr(preparation, "SHARD_RECORDS", 10)
    write(*(record(str(number), answer=answer) for number in range(20)))
    prepare_data(config({"language": "en"}, output_dir=output_dir))
    return sorted(Path(output_dir).glob("train-*.parquet"))


@pytest.mark.parametrize("read", [load_prepared, prepared_fingerprint])
def test_a_shard_that_is_not_as_it_was_written_is_named(here, monkeypatch, read):
    first, second = in_two_shards(monkeypatch)
    others = in_two_shards(monkeypatch, answer="This.", output_dir="other")
    whole = second.read_bytes()

    second.unlink()
    with pytest.raises(
        ValueError, match=r"prepared: expected 2 shards, train-00001-of-00002.parquet is missing. Copy"
    ):
        read("prepared")
    for half in (whole[: len(whole) // 2], b""):
        second.write_bytes(half)
        with pytest.raises(
            ValueError, match=r"train-00001-of-00002.parquet: expected a whole shard, found a damaged file"
        ):
            read("prepared")
    for replaced in (others[1].read_bytes(), first.read_bytes(), whole[:4] + b" " + whole[4:]):
        second.write_bytes(replaced)
        with pytest.raises(ValueError, match=r"train-00001-of-00002.parquet: this is not the file that"):
            read("prepared")
    second.write_bytes(whole)
    shutil.copy(others[0], "prepared/train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=r"train-00000-of-00001.parquet: this is not the file that"):
        read("prepared")
    Path("prepared/train-00000-of-00001.parquet").unlink()
    read("prepared")
    Path("prepared/mixture.json").write_text("{")
    with pytest.raises(ValueError, match=r"mixture.json: expected JSON as `palo data prepare` wrote it"):
        read("prepared")


# ---- the command


def palo(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["palo", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return (stop.value.code or 0, *capsys.readouterr())


def test_prepare_and_inspect(here, monkeypatch, capsys):
    config()
    code, out, _ = palo(monkeypatch, capsys, "data", "prepare", "--config", "mixture.yaml", "--output-dir", "other")
    assert code == 0
    assert "43 records read, 40 kept, 3 rejected (7.0%)." in out and "Wrote other" in out
    assert "| records | en       | odd_turns        |       1 |" in out

    code, table, _ = palo(monkeypatch, capsys, "data", "inspect", "other")
    assert code == 0 and table.strip() in out
    code, counted, _ = palo(monkeypatch, capsys, "data", "inspect", "other", "--tokenizer", TOKENIZER)
    assert "| tokens | tokens a record |" in counted and "not counted" not in counted
    code, of_file, _ = palo(monkeypatch, capsys, "data", "inspect", "records.json", "--tokenizer", TOKENIZER)
    assert code == 0 and of_file == counted


def test_inspecting_counts_the_tokens_that_preparing_counts(here):
    report = prepare_data(config(tokenizer=TOKENIZER))
    assert inspect_data("prepared") == report
    assert inspect_data("prepared", tokenizer=TOKENIZER) == report
    assert inspect_data("records.json", tokenizer=TOKENIZER) == report


@pytest.mark.parametrize("command", ["prepare", "inspect"])
def test_help_has_an_example(monkeypatch, capsys, command):
    code, out, _ = palo(monkeypatch, capsys, "data", command, "--help")
    assert code == 0
    assert f"Example:  palo data {command}" in out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "mixture.yaml: expected a YAML file that names sources and output_dir, found none."),
        ("a: [", "mixture.yaml is no YAML"),
        ("- 3", "mixture.yaml: expected fields such as sources and output_dir, found '[3]'."),
        ("sources: [{path: a.json}]", "mixture.yaml: missing 1 required positional argument: 'output_dir'"),
        ("{output_dir: a, sources: []}", "mixture.yaml: sources is empty"),
        ("{output_dir: a, sources: [3]}", "mixture.yaml: sources[0]: expected fields (path, "),
        ("{output_dir: a, sources: [{path: a, langage: hi}]}", "unknown field 'langage': did you mean language?"),
        ("{output_dir: a, sources: [{path: a, language: xx}]}", "sources[0]: Unknown language 'xx'"),
        ("{output_dir: a, sources: [{path: a, dataset: b}]}", "sources[0]: expected either path (a file) or dataset"),
        ("{output_dir: a, sources: [{path: a, image_root: b}]}", "expected a folder of images, found none at b"),
        ("{output_dir: a, sources: [{path: a, weight: -1}]}", "weight has to be 0 or above, found -1"),
        ("{output_dir: a, sources: [{path: a, limit: 0}]}", "limit has to be 1 or above, found 0"),
        ("{output_dir: a, sources: [{path: a}, {path: b/a}]}", "several sources are called a"),
        (
            "{output_dir: a, sources: [{path: a}], check_images: some}",
            "expected one of ('existence', 'header', 'full')",
        ),
        (
            "{output_dir: a, sources: [{path: a}], max_reject_share: 5}",
            "max_reject_share has to be from 0 to 1, found 5",
        ),
        ("{output_dir: a, sources: [{path: a}], max_length: 0}", "max_length has to be 1 or above"),
        (
            "{output_dir: a, sources: [{path: a}], mixture: {strategy: temperature}}",
            "mixture: temperature and strategy",
        ),
        ("{output_dir: a, sources: [{path: a.json}]}", "a.json: expected a file of records"),
        ("{output_dir: a, sources: [{dataset: ./nowhere}]}", "nowhere"),
        (
            "{output_dir: a, tokenizer: nowhere, sources: [{path: records.json}]}",
            "nowhere: expected the folder or Hub id",
        ),
    ],
)
def test_a_users_mistake_is_one_line(here, monkeypatch, capsys, content, complaint):
    if content is not None:
        Path("mixture.yaml").write_text(content)
    code, out, err = palo(monkeypatch, capsys, "data", "prepare", "--config", "mixture.yaml")
    lines = [line for line in err.splitlines() if line.startswith("palo: error:")]
    assert (code, out, len(lines)) == (1, "", 1)
    assert complaint in lines[0]


def test_without_the_extra(here, monkeypatch, capsys):
    from transformers_palo.cli import data

    monkeypatch.setattr(data, "find_spec", lambda package: None)
    code, _, err = palo(monkeypatch, capsys, "data", "inspect", "records.json")
    assert code == 1
    assert "palo data needs datasets" in err and "[train] extra" in err


# ---- the documentation, and the size


GUIDE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_guide_names_every_reason_and_every_repair():
    for code in [*RejectReason, *Repair]:
        assert f"| `{code}` |" in GUIDE


def test_the_guide_names_every_field():
    for field in [*dataclasses.fields(SourceConfig), *dataclasses.fields(PreparationConfig)]:
        assert f"`{field.name}`" in GUIDE or field.name == "sources"


def test_the_configuration_in_the_guide_is_one(here):
    example = GUIDE.split("```yaml")[1].split("```")[0].replace("/data/images", "images")
    Path("mixture.yaml").write_text(example)
    assert [source.name for source in load_config("mixture.yaml").sources] == [
        "palo_multilingual_dataset",
        "llava-instruct-urdu",
    ]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(here):
    """Prepared in a process that stays within 150 MB over what its imports take."""
    with Path("records.json").open("w") as file:
        for number in range(20_000):
            made = record(str(number), answer=f"{number} boats. " * 300, image="portrait.png")
            file.write(("[" if number == 0 else ", ") + json.dumps(made))
        file.write("]")
    config({"language": "en"})
    code = """
import re
from transformers_palo.data.config import PreparationConfig, SourceConfig, load_config
from transformers_palo.data.prepare import prepare_data
memory = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = memory()
prepare_data(load_config("mixture.yaml"))
print(memory() - before)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path("records.json").stat().st_size > 70e6
    assert float(result.stdout) < 150
