"""Files of records: the same records from every format, in bounded memory, and clear words for what is broken."""

import gzip
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palo import record_files
from transformers_palo.record_files import UnreadableRecord, open_records


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
        (b'[{"id": 1}, {"id": ', "record 2 cannot be read, near byte 19 of 19: Expecting value (character 7"),
        (b'[{"id": 1}, {"id": tru}]', "record 2 cannot be read"),
        (
            b'[{"id": 1}] [',
            "record 2 cannot be read, near byte 13 of 13: expected nothing behind the array, found '['",
        ),
        (
            b'[{"id": 1}',
            "record 2 cannot be read, near byte 10 of 10: expected a comma or the end of the array, found 'the",
        ),
        (
            b'[{"id": 1} {"id": 2}]',
            "record 2 cannot be read, near byte 21 of 21: expected a comma or the end of the array",
        ),
        (b'[{"id": 1},]', "record 2 cannot be read, near byte 12 of 12: Expecting value"),
        (b"[", "record 1 cannot be read, near byte 1 of 1: Expecting value"),
        (b'[{"id": "an unfinished text', "record 1 cannot be read, near byte 27 of 27: Unterminated string"),
        (b'[{"id": "a\nb"}]', "record 1 cannot be read, near byte 15 of 15: Invalid control character"),
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


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=5),
    st.sampled_from(["array", "array-ascii", "array-indented", "array-mark", "lines", "lines-ascii"]),
    st.integers(1, 40),
)
def test_records_do_not_depend_on_where_the_reading_stops(tmp_path_factory, records, form, chunk):
    path = write(tmp_path_factory.getbasetemp() / "any.json", form, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_files, "_CHUNK_BYTES", chunk)
        assert list(open_records(path)) == records


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=5),
    st.sampled_from(["array", "array-ascii", "array-indented", "lines", "lines-ascii"]),
    st.integers(1, 40),
    st.integers(2, 100),
)
def test_what_is_too_large_is_passed_over_and_what_follows_is_read(tmp_path_factory, records, form, chunk, limit):
    path = write(tmp_path_factory.getbasetemp() / "any.json", form, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_files, "_CHUNK_BYTES", chunk)
        patch.setattr(record_files, "MAX_RECORD_SIZE", limit)
        found = list(open_records(path).records())
        again = list(open_records(path).records())
    assert found == again and len(found) == len(records)
    for record, read in zip(records, found, strict=True):
        dumped = json.dumps(record, ensure_ascii=False)
        if isinstance(read, UnreadableRecord):
            assert "found" in read.fault and read.start.startswith("{")
            assert limit < len(json.dumps(record, indent=1)) + 10
        else:
            assert read == record and len(dumped) <= max(limit, 2)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_giant_record_does_not_fill_the_memory(tmp_path, form):
    """A text of 120 MB, and one record before and one behind it."""
    path = tmp_path / "records"
    before, between, behind = {"array": (b"[", b",\n", b"]"), "lines": (b"", b"\n", b"\n")}[form]
    with path.open("wb") as file:
        file.write(before + b'{"id": "1"}' + between + b'{"id": "2", "text": "')
        for _ in range(120):
            file.write(b'\\" ]}[{ ' + b"x" * 2**20)
        file.write(b'"}' + between + b'{"id": "3"}' + behind)
    tracemalloc.start()
    first, giant, last = open_records(path).records()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (first, last) == ({"id": "1"}, {"id": "3"})
    assert isinstance(giant, UnreadableRecord) and giant.start.startswith('{"id": "2", "text": "')
    assert peak < 20e6
    with pytest.raises(ValueError, match=r"record 2 cannot be read, near byte .*1,048,576"):
        list(open_records(path))


@pytest.mark.parametrize("form", ["array", "lines"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "expected an object with a few levels inside"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "expected an object with a few levels inside"),
        ('{"a": 1, "b": [{"c": 2, "c": "}]"}]}', "expected each key once in an object, found 'c' again"),
    ],
)
def test_records_that_cannot_be_taken_as_they_are(tmp_path, form, text, fault):
    path = tmp_path / "records"
    parts = ('[{"id": 1}, ', ', {"id": 3}]') if form == "array" else ('{"id": 1}\r\n', '\r\n{"id": 3}\r\n')
    path.write_text(text.join(parts))
    first, unreadable, last = open_records(path).records()
    assert (first, last) == ({"id": 1}, {"id": 3})
    assert unreadable.fault.startswith(fault) and unreadable.start == text[:1000]
    with pytest.raises(ValueError, match="record 2 cannot be read"):
        list(open_records(path))


@pytest.mark.parametrize("form", ["array", "lines"])
def test_numbers_that_no_float_holds_are_decimals(tmp_path, form):
    path = tmp_path / "records"
    numbers = ["1e400", "-1e400", "9" * 5000, "NaN", "-Infinity", "1e" + "9" * 30, "0." + "1" * 5000, "1e-400"]
    text = f'{{"a": [{", ".join(numbers)}]}}'
    path.write_text(f"[{text}]" if form == "array" else text)
    ((record,),) = (list(open_records(path)),)
    assert [str(number) for number in record["a"][:5]] == ["1E+400", "-1E+400", "9" * 5000, "NaN", "-Infinity"]
    assert record["a"][5:] == [Decimal("Infinity"), 1 / 9, 0.0]


@pytest.mark.parametrize("form", ["array", "lines"])
def test_half_a_surrogate_pair_is_read_as_it_stands(tmp_path, form):
    path = tmp_path / "records"
    text = r'{"a": "\ud83d", "\ude00": "\ud83d\ude00"}'
    path.write_text(f"[{text}]" if form == "array" else text)
    assert list(open_records(path)) == [{"a": "\ud83d", "\ude00": "\U0001f600"}]


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


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "records", "parquet", RECORDS)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="needs the pyarrow package"):
        list(open_records(path))
