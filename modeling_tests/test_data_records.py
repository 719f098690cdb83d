"""One record: what becomes of it, by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palo.data.records import (
    PLACEHOLDER,
    Converted,
    Rejected,
    RejectReason,
    Repair,
    convert_record,
    record_id,
    texts_of,
)

from .conftest import SHARED, read_json


RECORDS = {record["id"]: record for record in read_json(SHARED / "train_records.json")}
NORMALISED = {
    record["id"]: record["normalised_conversations"]
    for record in read_json(SHARED / "train_preprocessed.json")["legacy_true.max2048"]
}


def human(value):
    return {"from": "human", "value": value}


def gpt(value):
    return {"from": "gpt", "value": value}


def convert(*turns, **fields):
    return convert_record({"id": "7", "conversations": list(turns), **fields}, source="mine", language="hi")


def shown(example) -> list[str]:
    """The turns as the original writes them, placeholders in front."""
    texts = []
    for message in example["messages"]:
        kinds = [item["type"] for item in message["content"]]
        assert kinds == ["image"] * kinds.count("image") + ["text"] * kinds.count("text")
        texts.append(
            "\n".join([PLACEHOLDER] * kinds.count("image") + [c["text"] for c in message["content"] if "text" in c])
        )
    return texts


REJECTED = {
    "edge_corrupt_true": RejectReason.CORRUPT_FLAG,
    "edge_ends_with_human": RejectReason.ODD_TURNS,
    "edge_empty_answer": RejectReason.EMPTY_TURN,
}
REPAIRED = {
    "edge_starts_with_gpt": [Repair.LEADING_ANSWER_DROPPED],
    "edge_two_placeholders": [Repair.PLACEHOLDER_COLLAPSED],
    "edge_image_no_placeholder": [Repair.PLACEHOLDER_MISSING],
    "edge_text_literal_image": [Repair.PLACEHOLDER_AS_TEXT],
    "edge_image_second_turn": [Repair.PLACEHOLDER_MOVED],
    "single_image_end": [Repair.PLACEHOLDER_MOVED],
    "single_image_mid": [Repair.PLACEHOLDER_MOVED],
    "zh_multi": [Repair.PLACEHOLDER_MOVED],
    "en_multi": [],
    "edge_question_whitespace": [],
    "edge_corrupt_false": [],
}


@pytest.mark.parametrize("id", sorted(set(RECORDS) - set(REJECTED)))
def test_conversations_become_those_of_the_original(id):
    converted = convert_record(RECORDS[id], source="golden", language="en")
    assert isinstance(converted, Converted)
    expected = NORMALISED[id]
    if id == "edge_starts_with_gpt":
        expected = expected[1:]  # the original drops the leading answer later
    assert shown(converted.example) == expected
    has_image = any(text.startswith(PLACEHOLDER) for text in expected)
    assert converted.example["images"] == ([RECORDS[id]["image"]] if has_image else [])
    assert (converted.example["id"], converted.example["source"]) == (id, "golden")


@pytest.mark.parametrize("id", REJECTED)
def test_what_the_original_zeroes_or_drops_is_rejected_by_name(id):
    rejected = convert_record(RECORDS[id], source="golden", language="en")
    assert isinstance(rejected, Rejected)
    assert rejected.reason is REJECTED[id]


@pytest.mark.parametrize("id", ["edge_answer_has_role", "edge_question_has_eos", "edge_unk_in_text"])
def test_control_words_inside_a_text_are_text(id):
    """The original masks these records as a whole."""
    converted = convert_record(RECORDS[id], source="golden", language="en")
    assert converted.repairs == []
    assert shown(converted.example) == NORMALISED[id]


@pytest.mark.parametrize("id", REPAIRED)
def test_repairs_are_named(id):
    assert convert_record(RECORDS[id], source="golden", language="en").repairs == REPAIRED[id]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, RejectReason.MALFORMED),
        ({"conversations": "text"}, RejectReason.MALFORMED),
        ({"conversations": []}, RejectReason.MALFORMED),
        ({"conversations": ["text"]}, RejectReason.MALFORMED),
        ({"conversations": [{"from": "human", "value": None}]}, RejectReason.MALFORMED),
        ({"conversations": [human("Was?"), gpt("Das.")], "image": 3}, RejectReason.MALFORMED),
        ({"conversations": [human("Was?"), {"from": "tool", "value": "Das."}]}, RejectReason.UNKNOWN_ROLE),
        ({"conversations": [human("Was?"), {"value": "Das."}]}, RejectReason.UNKNOWN_ROLE),
        ({"conversations": [human("Was?")]}, RejectReason.ODD_TURNS),
        ({"conversations": [gpt("Das.")]}, RejectReason.ODD_TURNS),
        ({"conversations": [human("Was?"), human("Wo?")]}, RejectReason.TURNS_OUT_OF_ORDER),
        ({"conversations": [human("Was?"), gpt("a"), gpt("b"), human("Wo?")]}, RejectReason.TURNS_OUT_OF_ORDER),
        ({"conversations": [human("Was?"), gpt(" \n")]}, RejectReason.EMPTY_TURN),
        ({"conversations": [human(""), gpt("Das.")]}, RejectReason.EMPTY_TURN),
        ({"conversations": [human("Was?"), gpt("Das <image>.")]}, RejectReason.PLACEHOLDER_IN_ANSWER),
        ({"conversations": [human("<image>"), gpt("Das.")], "image": ["a", "b"]}, RejectReason.IMAGE_COUNT),
        ({"conversations": [human("Was?"), gpt("\ud83d")]}, RejectReason.INVALID_TEXT),
        ({"conversations": [human("<image>"), gpt("Das.")], "image": "\ud83d.png"}, RejectReason.INVALID_TEXT),
        ({"conversations": [human("Was?"), gpt("Das.")], "corrupt": True}, RejectReason.CORRUPT_FLAG),
    ],
)
def test_every_other_fault_has_its_reason(record, reason):
    rejected = convert_record(record, source="mine", language="hi")
    assert isinstance(rejected, Rejected)
    assert rejected.reason is reason
    assert rejected.detail


def test_an_example_has_the_shape_that_chat_templates_take():
    assert convert(human("<image>\nक्या है?"), gpt("नाव।"), image="a.jpg") == Converted(
        {
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "क्या है?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "नाव।"}]},
            ],
            "images": ["a.jpg"],
            "language": "hi",
            "source": "mine",
            "id": "7",
        },
        [],
    )


def test_several_images_stay_in_their_turns():
    converted = convert(human("<image>\n<image>\na"), gpt("b"), human("c <image>"), gpt("d"), images=["1", "2", "3"])
    assert shown(converted.example) == ["<image>\n<image>\na", "b", "<image>\nc", "d"]
    assert converted.example["images"] == ["1", "2", "3"]
    assert converted.repairs == [Repair.PLACEHOLDER_MOVED]


def test_one_image_with_placeholders_in_several_turns_stands_in_the_first():
    converted = convert(human("a"), gpt("b"), human("<image>\nc"), gpt("d"), human("e\n<image>"), gpt("f"), image="1")
    assert shown(converted.example) == ["a", "b", "<image>\nc", "d", "e", "f"]
    assert Repair.PLACEHOLDER_COLLAPSED in converted.repairs


@pytest.mark.parametrize("image", [None, "", [], {"image": None}])
def test_no_image_in_any_of_its_spellings(image):
    fields = image if isinstance(image, dict) else {"image": image}
    assert convert(human("a"), gpt("b"), **fields).example["images"] == []


def test_images_may_come_as_bytes():
    image = {"bytes": b"...", "path": None}
    assert convert(human("<image>\na"), gpt("b"), image=image).example["images"] == [image]


@pytest.mark.parametrize(("value", "id"), [("7", "7"), (7, "7"), (0, "0"), ("", None), (None, None), ([], None)])
def test_ids_are_text(value, id):
    assert record_id({"id": value}) == id


def test_the_language_is_read_from_answers_first():
    record = {"conversations": [human("<image>\nq1"), gpt("a1"), human("q2"), gpt("a2"), 3, {"from": "gpt"}]}
    assert list(texts_of(record)) == ["a1", "a2", " \nq1", "q2"]
    assert list(texts_of({"conversations": 3})) == []


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["human", "gpt", "<image>", "a <image> b", "", " ", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "value"]), inner, max_size=2),
)
texts = st.lists(st.sampled_from(["<image>", "\n", "a", " ", "</s>", "ASSISTANT:"]), max_size=4).map("".join)
turns = st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt"]), "value": texts})
records = st.fixed_dictionaries(
    {"conversations": st.lists(turns, max_size=5) | anything},
    optional={
        "image": st.sampled_from(["a", "b"]) | st.lists(st.just("c"), max_size=3) | anything,
        "corrupt": st.booleans(),
    },
)


@given(records)
def test_any_record_is_either_whole_or_rejected(record):
    """What is kept has questions and answers in turn, none of them empty, and a place for every image."""
    result = convert_record(record, source="mine", language="en")
    if isinstance(result, Rejected):
        return
    messages = result.example["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)
    assert messages and all(message["content"] for message in messages)
    kinds = [item["type"] for message in messages for item in message["content"]]
    assert kinds.count("image") == len(result.example["images"])
    answers = [item["text"] for message in messages[1::2] for item in message["content"]]
    assert all(answer.strip() and PLACEHOLDER not in answer for answer in answers)
    given_texts = {turn["value"].replace(PLACEHOLDER, "").strip() for turn in record["conversations"]}
    texts = [item["text"] for message in messages for item in message["content"] if item["type"] == "text"]
    assert {text.replace(PLACEHOLDER, "").strip() for text in texts} <= given_texts, "no text is changed"
