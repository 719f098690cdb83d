"""Files of records: the same records from every format, in bounded memory, and clear words for what is broken."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palo.record_files import open_records


RECORDS = [
    {
        "id": "000000033471",
        "image": "coco/1.jpg",
        "conversations": [{"from": "human", "value": "नाव का रंग?\n<image>"}],
    },
    {"id": "2", "image": None, "conversations": [{"from": "gpt", "value": '船は赤です。 😀 \\ "'}]},
]


def write(path: Path, form: str, records: list[dict]) -> Path:
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(records), path)
        return path
    name, _, option = form.partition("-")
    dumps = {"": {"ensure_ascii": False}, "ascii": {}, "indented": {"indent": 1}}.get(option, {})
    if name == "array":
        text = json.dumps(records, **dumps)
    else:
        text = "".join(json.dumps(record, **dumps) + "\n" for record in records)
    content = text.encode("utf-8-sig" if option == "mark" else "utf-8")
    path.write_bytes(gzip.compress(content) if option == "gz" else content)
    return path


FORMS = [
    "array",
    "array-ascii",
    "array-indented",
    "array-gz",
    "array-mark",
    "lines",
    "lines-gz",
    "lines-mark",
    "parquet",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_records(tmp_path, form):
    reader = open_records(write(tmp_path / "records", form, RECORDS))
    assert list(reader) == RECORDS
    assert reader.position == reader.size == (tmp_path / "records").stat().st_size
    assert list(reader) == RECORDS, "iterating again begins again"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=5), st.sampled_from(FORMS[:-1])
)
def test_json_comes_back_as_it_was_written(tmp_path_factory, records, form):
    path = write(tmp_path_factory.getbasetemp() / "any.json", form, records)
    assert list(open_records(path)) == records


def test_blank_lines_and_a_missing_last_newline(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('\n{"id": 1}\n\n  \n{"id": 2}')
    assert [record["id"] for record in open_records(path)] == [1, 2]


def test_an_empty_array_has_no_records(tmp_path):
    path = tmp_path / "records.json"
    path.write_text("[]")
    assert list(open_records(path)) == []


@pytest.mark.parametrize("form", ["array", "lines", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, form):
    records = [{"id": str(number), "text": f"{number} " * 1000} for number in range(4000)]
    path = write(tmp_path / "records", form, records)
    del records
    tracemalloc.start()
    count = sum(1 for _ in open_records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < 5e6, "the texts together are 20 MB"


def test_position_follows_the_reading(tmp_path):
    path = write(tmp_path / "records", "array", [{"text": "x" * 1000}] * 1000)
    reader = open_records(path)
    positions = [reader.position for _ in reader]
    assert positions == sorted(positions)
    assert 0 < positions[0] < reader.size / 2 < positions[-1] <= reader.size


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'[{"id": 1}, {"id": ', "record 2 cannot be read, near byte 19 of 19: parse error: premature EOF"),
        (b'[{"id": 1}, {"id": tru}]', "record 2 cannot be read"),
        (b'[{"id": 1}] [', "record 2 cannot be read, near byte 13 of 13: parse error: trailing garbage"),
        (b'[{"id": 1}, "two"]', "record 2 cannot be read, near byte 18 of 18: expected an object, found 'two'"),
        (b'{"id": 1}\n{"id": 2\n{"id": 3}\n', "record 2 cannot be read, near byte 19 of 29"),
        (b'{"id": 1}\n[2]\n', "record 2 cannot be read, near byte 14 of 14: expected an object, found '[2]'"),
        (b'{"id": "\xff"}\n', "record 1 cannot be read"),
        (b'[{"id": "\xff"}]', "record 1 cannot be read"),
        (b'{\n "id": 1\n}\n', "record 1 cannot be read, near byte 2 of 13"),
    ],
)
def test_malformed_content_is_named_with_its_place(tmp_path, content, complaint):
    path = tmp_path / "records"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        list(open_records(path))
    assert str(error.value).startswith(f"{path}: ")
    assert complaint in str(error.value)
    assert "Mend the file, or get it again" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_gzip_archive(tmp_path):
    path = write(tmp_path / "records", "lines-gz", [{"id": number} for number in range(10_000)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"record \d+ cannot be read, near byte .* end-of-stream"):
        list(open_records(path))
    path.write_bytes(whole[:15])
    with pytest.raises(ValueError, match="the gzip archive is damaged"):
        open_records(path)


def test_a_damaged_parquet_file(tmp_path):
    path = write(tmp_path / "records", "parquet", RECORDS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="record 1 cannot be read"):
        list(open_records(path))


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers_palo.record_files.MAX_LINE_BYTES", 1000)
    path = write(tmp_path / "records", "lines", [{"text": "x" * 2000}])
    with pytest.raises(ValueError, match="a line of more than 1,000 bytes"):
        list(open_records(path))


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "an empty file"), (b"id,text\n", "a file that begins with b'id,text"), (b"\n \n", "begins")],
)
def test_other_content_is_refused_when_it_is_opened(tmp_path, content, found):
    path = tmp_path / "records.json"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match="expected a JSON array of objects, JSON lines or parquet, found .*" + found[:8]
    ):
        open_records(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="found a folder"):
        open_records(tmp_path)
    with pytest.raises(FileNotFoundError, match="found nothing"):
        open_records(tmp_path / "missing.json")


@pytest.mark.parametrize(("form", "package"), [("array", "ijson"), ("parquet", "pyarrow.parquet")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, form, package):
    path = write(tmp_path / "records", form, RECORDS)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=f"needs the {package.split('.')[0]} package"):
        list(open_records(path))
