"""Batches: labels as the original's where it was right, nothing cut into, nothing lost without a name."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, Features, Image, List, Value, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_palo.data.collation import LOST, PaloDataCollator, RowEvent, count_events
from transformers_palo.data.lengths import has_images, num_tokens
from transformers_palo.data.sampling import ModalityLengthSampler
from transformers_palo.training.templates import chat_template

from .conftest import GOLDEN, SHARED, read_json
from .training_data import examples, golden_example, golden_records, image_example, text_example


PREPROCESSED = read_json(SHARED / "train_preprocessed.json")
# The original zeroes the labels of these ("tokenization mismatch"): they are supervised here.
ZEROED = {"edge_answer_has_role", "edge_question_has_eos", "edge_unk_in_text"}
# A placeholder without an image, which the original takes for an image: it is text here, and the answer is the same.
LITERAL = {"edge_text_literal_image"}
# Rejected by name when data is prepared; the original zeroes them, too.
REJECTED = {"edge_ends_with_human", "edge_empty_answer"}


def expanded(reference: dict, image_token_id: int, tokens_per_image: int) -> tuple[list[int], list[int]]:
    """The original's ids and labels with each image's tokens in place."""
    ids, labels = [], []
    for token, label in zip(reference["input_ids"], reference["labels"], strict=True):
        count = tokens_per_image if token == -200 else 1
        ids += [image_token_id if token == -200 else token] * count
        labels += [label] * count
    return ids, labels


def row(batch, index: int = 0) -> tuple[list[int], list[int]]:
    mask = batch["attention_mask"][index].bool()
    return batch["input_ids"][index][mask].tolist(), batch["labels"][index][mask].tolist()


@pytest.mark.parametrize(("variant", "name"), [("legacy_false", "processor"), ("legacy_true", "ldp_processor")])
def test_labels_are_the_originals_where_it_was_right(variant, name, request):
    processor = request.getfixturevalue(name)
    collator = PaloDataCollator(processor)
    tokens_per_image = {"processor": 16, "ldp_processor": 4}[name]
    references = {item["id"]: item for item in PREPROCESSED[f"{variant}.max2048"]}
    assert len(references) == 42
    assert references.keys() - golden_records().keys() == set()
    zeroed = {id for id, reference in references.items() if set(reference["labels"]) == {-100}}
    assert zeroed == ZEROED | REJECTED, "nothing else is without supervision in the original"
    for record_id in references.keys() - REJECTED:
        reference = references[record_id]
        ids, labels = row(collator([golden_example(record_id)]))
        expected_ids, expected_labels = expanded(reference, processor.image_token_id, tokens_per_image)
        if record_id in ZEROED:
            assert supervised(labels) == answers(record_id, processor)
        elif record_id in LITERAL:
            assert supervised(labels) == supervised(expected_labels) == answers(record_id, processor)
        else:
            assert (ids, labels) == (expected_ids, expected_labels), record_id


def supervised(labels: list[int]) -> list[int]:
    return [label for label in labels if label != -100]


def answers(record_id: str, processor) -> list[int]:
    """The tokens of a record's answers, each as a text of its own with the end of turn behind it."""
    ids: list[int] = []
    for turn in golden_records()[record_id]["conversations"]:
        if turn["from"] == "gpt":
            text = turn["value"].replace("</s>", "<\ufdd0/s>").replace("<unk>", "<\ufdd0unk>")
            ids += processor.tokenizer(text, add_special_tokens=False)["input_ids"]
            ids.append(processor.tokenizer.eos_token_id)
    return ids


def test_whole_batches_are_the_originals(processor):
    """Records with and without images in one batch, padded on the right, text-only rows without an image."""
    training = read_json(GOLDEN / "public_mlp2x" / "training.json")
    batch = PaloDataCollator(processor)(examples(*training["mixed"]["record_ids"]))
    assert batch["pixel_values"].shape == (2, 3, 56, 56)
    assert int((batch["labels"][:, 1:] != -100).sum()) == training["mixed"]["n_supervised"]
    assert batch["languages"] == ["zh", "ar", "ja", "en"]
    assert batch["events"] == []


def test_a_batch_of_text_alone_has_no_images(processor):
    batch = PaloDataCollator(processor)(examples("en_text", "ru_text"))
    assert "pixel_values" not in batch


def test_several_images_in_one_record(processor):
    example = image_example(str(SHARED / "images" / "square.png"), "Which is larger?", "The second.")
    example["images"] *= 2
    example["messages"][0]["content"].insert(0, {"type": "image"})
    batch = PaloDataCollator(processor)([example, *examples("en_text")])
    assert batch["pixel_values"].shape[0] == 2
    assert int((batch["input_ids"] == processor.image_token_id).sum()) == 32


def test_records_read_back_from_arrow_give_the_same_batch(processor):
    rows = examples("zh_multi", "ar_text", "three_turns")
    dataset = Dataset.from_list(rows).cast_column("images", List(Image(decode=False)))
    direct, read = PaloDataCollator(processor)(rows), PaloDataCollator(processor)([dataset[i] for i in range(3)])
    assert torch.equal(direct["input_ids"], read["input_ids"])
    assert torch.equal(direct["labels"], read["labels"])
    assert torch.equal(direct["pixel_values"], read["pixel_values"])


# ---- truncation


def test_truncation_is_the_originals_and_is_counted(processor):
    training = read_json(GOLDEN / "public_mlp2x" / "training.json")["truncated"]
    batch = PaloDataCollator(processor, max_length=112)(examples(*training["record_ids"]))
    assert batch["input_ids"].shape == (3, 112)
    assert int((batch["labels"][:, 1:] != -100).sum()) == training["n_supervised"]
    assert [(event["id"], event["reason"]) for event in batch["events"]] == [
        ("edge_long_text", "truncated"),
        ("edge_long_answer", "truncated"),
        ("en_multi", "truncated"),
    ]


def test_a_record_that_is_cut_before_its_answer_is_named(processor):
    batch = PaloDataCollator(processor, max_length=70)(examples("en_text"))
    assert (batch["labels"] == -100).all()
    assert [event["reason"] for event in batch["events"]] == ["nothing_left_to_learn"]


def test_a_record_whose_image_would_be_cut_is_left_out_with_its_image(processor):
    batch = PaloDataCollator(processor, max_length=70)(examples("en_multi", "hi_multi", "en_text"))
    assert "pixel_values" not in batch
    assert (batch["input_ids"] != processor.image_token_id).all()
    assert (batch["labels"][:2] == -100).all()
    assert [(event["id"], event["reason"]) for event in batch["events"]][:2] == [
        ("en_multi", "image_beyond_max_length"),
        ("hi_multi", "image_beyond_max_length"),
    ]
    assert len(batch["input_ids"]) == 3


USABLE = sorted(golden_records().keys() - REJECTED - {"edge_corrupt_true"})


@st.composite
def with_images(draw):
    """A record with up to three pictures, in any of its questions."""
    counts = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
    texts = st.text("an <image>\n", max_size=60).map(lambda text: f"{text}.")
    messages = []
    for count in counts:
        parts = [{"type": "image"}] * count + [{"type": "text", "text": draw(texts)}]
        answer = [{"type": "text", "text": draw(texts)}]
        messages += [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
    pictures = [str(SHARED / "images" / "square.png")] * sum(counts)
    return {"id": str(draw(st.integers(0, 10**9))), "messages": messages, "images": pictures}


@settings(max_examples=60, deadline=None)
@given(
    max_length=st.integers(1, 250),
    rows=st.lists(
        st.sampled_from(USABLE).map(golden_example) | with_images(),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row["id"],
    ),
)
def test_images_are_whole_at_every_limit(processor, max_length, rows):
    """As many image tokens as the pictures have, no row longer than the limit, and every cut is named."""
    batch = PaloDataCollator(processor, max_length=max_length)(rows)
    num_images = len(batch["pixel_values"]) if "pixel_values" in batch else 0
    assert int((batch["input_ids"] == processor.image_token_id).sum()) == 16 * num_images
    assert batch["input_ids"].shape[1] <= max_length
    assert len(batch["input_ids"]) == len(rows)
    whole = PaloDataCollator(processor)(rows)
    events = {event["id"]: event["reason"] for event in batch["events"]}
    for index, example in enumerate(rows):
        (ids, labels), (whole_ids, whole_labels) = row(batch, index), row(whole, index)
        match events.get(example["id"]):
            case None:
                assert (ids, labels) == (whole_ids, whole_labels) and len(ids) <= max_length
            case RowEvent.TRUNCATED:
                assert (ids, labels) == (whole_ids[:max_length], whole_labels[:max_length])
                assert len(ids) == max_length and supervised(labels)
            case reason:
                assert reason in LOST and not supervised(labels)
                has_cut_image = processor.image_token_id in whole_ids[max_length:]
                assert has_cut_image == (reason == RowEvent.IMAGE_BEYOND_MAX_LENGTH)


# ---- records that cannot be used


@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_a_broken_image_is_left_out_by_name_and_the_batch_keeps_its_size(processor, tmp_path, damage):
    path = tmp_path / "broken.png"
    content = (SHARED / "images" / "square.png").read_bytes()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"not a picture")
    broken = image_example(str(path), "What is it?", "A boat.", record_id="7", language="ur")
    batch = PaloDataCollator(processor)([*examples("en_multi"), broken])
    assert len(batch["input_ids"]) == 2
    assert (batch["labels"][1] == -100).all()
    assert len(batch["pixel_values"]) == 1
    (event,) = batch["events"]
    assert (event["id"], event["reason"]) == ("7", "image_unreadable")
    assert "broken.png" in event["detail"]
    alone = PaloDataCollator(processor)([broken, broken])
    assert (alone["labels"] == -100).all()
    assert len(alone["input_ids"]) == 2


def test_images_and_placeholders_that_do_not_match_are_left_out_by_name(processor):
    wrong = {**golden_example("en_multi"), "images": []}
    batch = PaloDataCollator(processor)([wrong])
    assert batch["events"] == [{"id": "en_multi", "reason": "image_count", "detail": "1 placeholders, 0 images"}]


def test_records_as_trl_takes_them(processor, tmp_path):
    """Texts in place of lists of parts, no images in every spelling, one picture in a column `image`."""
    picture = str(SHARED / "images" / "square.png")
    chat = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A boat."}]
    collator = PaloDataCollator(processor)
    expected = collator([text_example("What is it?", "A boat.")])
    for images in ({}, {"images": None}, {"images": []}, {"image": None}):
        batch = collator([{"messages": chat, **images}])
        assert torch.equal(batch["input_ids"], expected["input_ids"]) and batch["events"] == []
        assert torch.equal(batch["labels"], expected["labels"]) and "pixel_values" not in batch
    expected = collator([image_example(picture, "What is it?", "A boat.")])
    for images in ({"images": [picture]}, {"image": picture}, {"image": {"bytes": None, "path": picture}}):
        batch = collator([{"messages": chat, **images}])
        assert torch.equal(batch["input_ids"], expected["input_ids"]) and batch["events"] == []
        assert torch.equal(batch["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "What is it?",
        [],
        [3],
        [{"role": "user", "content": None}, {"role": "assistant", "content": "A boat."}],
        [{"role": "user", "content": [3]}, {"role": "assistant", "content": "A boat."}],
        [{"role": "user", "content": [{"text": "What?"}]}, {"role": "assistant", "content": "A boat."}],
        [{"role": "human", "content": "What?"}, {"role": "assistant", "content": "A boat."}],
        [{"content": "What?"}, {"role": "assistant", "content": "A boat."}],
    ],
)
def test_messages_that_no_chat_can_be_made_of_are_left_out_by_name(processor, messages):
    batch = PaloDataCollator(processor)([{"id": "7", "messages": messages, "images": None}, *examples("en_text")])
    (event,) = batch["events"]
    assert (event["id"], event["reason"]) == ("7", RowEvent.MALFORMED) and event["detail"]
    assert (batch["labels"][0] == -100).all() and (batch["labels"][1] != -100).any()


def test_records_without_messages_are_told_at_once(processor):
    with pytest.raises(
        ValueError, match=r"expected a column `messages`.*found text, id. `palo data prepare` makes them"
    ):
        PaloDataCollator(processor)([{"text": "What is it?", "id": "7"}])


def test_what_happened_to_rows_comes_out_of_workers_and_adds_up(processor, tmp_path):
    broken = [
        image_example(str(tmp_path / f"{number}.png"), "What is it?", "A boat.", record_id=f"broken-{number}")
        for number in range(3)
    ]
    rows = [*examples("en_text", "edge_long_text"), *broken, *examples("hi_multi", "ru_text")]
    loader = torch.utils.data.DataLoader(
        rows, batch_size=3, num_workers=2, collate_fn=PaloDataCollator(processor, max_length=112)
    )
    batches = list(loader)
    assert [len(batch["input_ids"]) for batch in batches] == [3, 3, 1], "the batches stay whole"
    events = [event for batch in batches for event in batch["events"]]
    assert [event["id"] for event in events if event["reason"] in LOST] == [f"broken-{n}" for n in range(3)]
    counts = torch.stack([count_events(batch) for batch in batches]).sum(0)
    assert counts[0] == len(rows)
    assert dict(zip(RowEvent, counts[1:].tolist(), strict=True)) == {
        event: sum(found["reason"] == event for found in events) for event in RowEvent
    }
    assert counts[1:].sum() == len(events) and counts[1 + list(RowEvent).index(RowEvent.IMAGE_UNREADABLE)] == 3


def test_a_row_has_one_event_at_most(processor, tmp_path):
    broken = image_example(str(tmp_path / "gone.png"), "What is it?", "A boat.")
    rows = [broken, *examples("edge_long_text", "hi_multi", "en_text")]
    for max_length in (5, 20, 40, 70, 112):
        events = PaloDataCollator(processor, max_length=max_length)(rows)["events"]
        assert len({event["id"] for event in events}) == len(events)
        assert events[0]["reason"] == RowEvent.IMAGE_UNREADABLE


def test_every_token_where_the_whole_chat_is_learnt(processor):
    batch = PaloDataCollator(processor, assistant_only_loss=False)(examples("en_text"))
    ids, labels = row(batch)
    assert labels == ids


def test_the_template_of_the_first_stage(processor, ldp_processor):
    """Image tokens, caption, line break; the caption and the line break are supervised."""
    example = image_example(str(SHARED / "images" / "square.png"), "Describe the picture.", "The boat is red.")
    for chosen, tokens_per_image in ((processor, 16), (ldp_processor, 4)):
        ids, labels = row(PaloDataCollator(chosen, chat_template=chat_template("caption", chosen))([example]))
        caption = chosen.tokenizer("The boat is red.\n", add_special_tokens=False)["input_ids"]
        assert ids == [1, *[chosen.image_token_id] * tokens_per_image, *caption]
        assert labels == [-100] * (1 + tokens_per_image) + caption


# ---- lengths and order


def test_lengths_are_those_of_the_batches(processor):
    rows = examples("en_multi", "hi_text", "three_turns")
    dataset = Dataset.from_list(rows)
    collator = PaloDataCollator(processor)
    expected = [int(collator([example])["attention_mask"].sum()) for example in rows]
    assert num_tokens(dataset, processor, "num_tokens").tolist() == expected
    assert has_images(dataset).tolist() == [True, False, True]
    assert has_images(dataset.select([1, 0])).tolist() == [False, True]


def test_lengths_of_records_as_trl_takes_them(processor):
    picture = str(SHARED / "images" / "square.png")
    chat = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A boat."}]
    rows = [{"messages": chat, "images": [picture, picture]}, {"messages": chat, "images": None}]
    collator = PaloDataCollator(processor)
    expected = [int(collator([row])["attention_mask"].sum()) for row in rows]
    assert num_tokens(Dataset.from_list(rows), processor, "num_tokens").tolist() == expected
    assert has_images(Dataset.from_list(rows)).tolist() == [True, False]
    one = Dataset.from_list([{"messages": chat, "image": picture}, {"messages": chat, "image": None}])
    assert has_images(one).tolist() == [True, False]
    assert num_tokens(one, processor, "num_tokens").tolist() == [
        int(collator([row])["attention_mask"].sum()) for row in one
    ]
    assert has_images(one.remove_columns("image")).tolist() == [False, False]
    assert has_images(Dataset.from_list([{"messages": chat, "images": None}])).tolist() == [False]
    none = Dataset.from_list([{"messages": None, "images": None}, {"messages": [{"role": "user", "content": "a"}]}])
    assert num_tokens(none, processor, "num_tokens")[0] == 0 < num_tokens(none, processor, "num_tokens")[1]


def test_telling_modalities_copies_no_picture(tmp_path):
    """The pictures are 64 MB, in a file that is mapped into memory."""
    picture = {"bytes": b"\xff" * 2**20, "path": None}
    rows = [{"messages": [], "images": [picture] if number % 3 else None} for number in range(96)]
    features = Features({"messages": List(Value("string")), "images": List(Image(decode=False))})
    Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "data")
    dataset = load_from_disk(tmp_path / "data").select([number for number in range(96) if number != 5])
    usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counted)
    try:
        assert has_images(dataset).sum() == 63
    finally:
        pa.set_memory_pool(usual)
    assert counted.max_memory() < 2**20


def test_a_length_column_is_taken_as_it_is(processor):
    dataset = Dataset.from_list([{**text_example("a", "b"), "num_tokens": 77}])
    assert num_tokens(dataset, processor, "num_tokens").tolist() == [77]


@given(
    lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=300),
    batch_size=st.integers(1, 16),
    seed=st.integers(0, 10),
    data=st.data(),
)
def test_batches_are_of_one_modality_and_every_record_comes_once(lengths, batch_size, seed, data):
    with_image = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    sampler = ModalityLengthSampler(lengths, with_image, batch_size, seed)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(sampler) and len(sampler) == len(lengths)
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    mixed = [batch for batch in batches if len({with_image[i] for i in batch}) > 1]
    # Only what is left over of both modalities, at the very end.
    assert len(mixed) <= 1 and all(batch in batches[-2:] for batch in mixed)


def test_the_longest_images_come_first_and_padding_is_small():
    rng = np.random.default_rng(0)
    lengths, with_image = rng.integers(50, 2000, 5000), rng.random(5000) < 0.7
    order = np.array(list(ModalityLengthSampler(lengths, with_image, batch_size=16, seed=0)))
    assert lengths[order[:16]].max() == lengths[with_image].max()

    def padding(order):
        batches = lengths[order[: len(order) // 16 * 16]].reshape(-1, 16)
        return 1 - batches.sum() / (batches.max(1) * 16).sum()

    assert padding(order) < 0.06 < 0.4 < padding(rng.permutation(5000))


def test_epochs_differ_and_follow_the_mixture():
    draws = {0: np.array([0, 0, 1]), 1: np.array([2, 3, 1])}
    sampler = ModalityLengthSampler([5] * 4, [False] * 4, 1, seed=0, epoch_indices=lambda epoch: draws[epoch])
    assert sorted(sampler) == [0, 0, 1]
    sampler.set_epoch(1)
    assert sorted(sampler) == [1, 2, 3]
