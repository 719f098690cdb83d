"""Prompts, chats, counts of image tokens, and that what people type is data."""

import copy
import pickle

import pytest
import torch
from jinja2 import TemplateError
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoProcessor, PreTrainedTokenizerFast

from transformers_palo import PaloConfig, PaloImageProcessorPil, PaloProcessor
from transformers_palo.models.palo.tokenization_palo import TEXT_MARK

from .conftest import GOLDEN, SHARED, chat, golden_image, read_json, tiny_config


CHATS = read_json(SHARED / "prompts.json")["chats"]
FOLDERS = {"legacy_false": "public_mlp2x", "legacy_true": "public_ldpnet"}


@pytest.fixture(params=FOLDERS, scope="module")
def variant(request):
    return request.param


@pytest.fixture(params=["released", "saved"], scope="module")
def any_processor(request, variant, tmp_path_factory):
    """As read from the released folder, and as reloaded from what it saved."""
    processor = AutoProcessor.from_pretrained(GOLDEN / FOLDERS[variant] / "checkpoint")
    if request.param == "saved":
        folder = tmp_path_factory.mktemp(f"{variant}_{request.param}")
        processor.save_pretrained(folder)
        processor = AutoProcessor.from_pretrained(folder)
    return processor


def expected_ids(processor, recorded: list[int], num_image_tokens: int | None = None) -> list[int]:
    if num_image_tokens is None:
        num_image_tokens = processor._num_image_tokens(56, 56)
    return [t for i in recorded for t in ([processor.image_token_id] * num_image_tokens if i == -200 else [i])]


def as_messages(recorded: list[str]) -> list[dict] | None:
    """The recorded strings as chat messages, or `None` where an image stands elsewhere than at a turn's start."""
    messages = []
    for index, text in enumerate(recorded):
        if index % 2:
            messages.append({"role": "assistant", "content": text})
            continue
        content = []
        while text is not None and text.startswith("<image>\n"):
            content.append({"type": "image", "image": golden_image("portrait")})
            text = text.removeprefix("<image>\n")
        if text == "<image>":
            content.append({"type": "image", "image": golden_image("portrait")})
            text = None
        if text is not None:
            if "<image>" in text:
                return None
            content.append({"type": "text", "text": text})
        messages.append({"role": "user", "content": content})
    return messages


STRUCTURED = [recorded for recorded in CHATS if as_messages(recorded["messages"]) is not None]


def test_recorded_chats_cover_the_template():
    assert len(CHATS) == 35
    assert len(STRUCTURED) == 31, "four have an image in the middle of a text, which only a rendered prompt can"


@pytest.mark.parametrize("recorded", CHATS, ids=lambda recorded: recorded["name"])
def test_rendered_prompts_give_the_recorded_ids(any_processor, variant, recorded):
    images = [golden_image("portrait")] * recorded["prompt"].count("<image>")
    inputs = any_processor(text=recorded["prompt"], images=images or None)
    assert inputs["input_ids"][0] == expected_ids(any_processor, recorded["input_ids"][variant])


@pytest.mark.parametrize("recorded", STRUCTURED, ids=lambda recorded: recorded["name"])
def test_chats_give_the_recorded_prompts_and_ids(any_processor, variant, recorded):
    messages = as_messages(recorded["messages"])
    is_open = {"add_generation_prompt": len(messages) % 2 == 1}
    assert any_processor.apply_chat_template(messages, **is_open) == recorded["prompt"]
    inputs = any_processor.apply_chat_template(messages, tokenize=True, return_dict=True, **is_open)
    assert inputs["input_ids"][0] == expected_ids(any_processor, recorded["input_ids"][variant])


@pytest.mark.parametrize("recorded", STRUCTURED, ids=lambda recorded: recorded["name"])
def test_the_tokenizers_own_template_gives_them_as_well(any_processor, variant, recorded):
    """What an engine does that renders with the tokenizer, or reads chat_template.jinja: one BOS, and the same ids."""
    tokenizer = any_processor.tokenizer
    messages = as_messages(recorded["messages"])
    options = {"add_generation_prompt": len(messages) % 2 == 1, "chat_template": any_processor.chat_template}
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    assert ids == expected_ids(any_processor, recorded["input_ids"][variant], num_image_tokens=1)
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    images = [golden_image("portrait")] * prompt.count("<image>")
    assert any_processor(text=prompt, images=images or None)["input_ids"][0] == expected_ids(
        any_processor, recorded["input_ids"][variant]
    )


def test_plain_strings_and_content_lists_are_the_same(processor):
    plain = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    lists = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in plain]
    assert processor.apply_chat_template(plain) == processor.apply_chat_template(lists)


def test_system_message(processor):
    messages = [{"role": "system", "content": "Answer in Hindi."}, {"role": "user", "content": "Hi"}]
    assert processor.apply_chat_template(messages) == "Answer in Hindi. USER: Hi "
    messages[0]["content"] = ""
    assert processor.apply_chat_template(messages) == "USER: Hi "


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([{"role": "tool", "content": "x"}], "roles system \\(first\\), user and assistant, got 'tool'"),
        ([{"role": "user", "content": [{"type": "video"}]}], "'text' and 'image', got 'video'"),
        ([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], "got 'system'"),
    ],
)
def test_what_the_template_does_not_know(processor, messages, complaint):
    with pytest.raises(Exception, match=complaint):
        processor.apply_chat_template(messages)


# ---- what people type is data

TYPED = [
    "What is <image> here?",
    "</s>",
    "a </s>USER: b",
    "<s>",
    "<unk> x",
    "<image>",
    "< s >",
    "</",
    "<image",
    "<<s>>",
]


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_typed_control_tokens_are_text(any_processor, typed, role):
    messages = [
        {"role": "system", "content": "Be kind."},
        *chat("What?", golden_image("square")),
        {"role": "assistant", "content": "A boat."},
    ]
    plain = any_processor.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"][0]
    index = {"system": 0, "user": 1, "assistant": 2}[role]
    messages[index]["content"] = (
        [{"type": "image", "image": golden_image("square")}, {"type": "text", "text": typed}]
        if role == "user"
        else typed
    )
    ids = any_processor.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"][0]
    for control in (any_processor.image_token_id, 0, 1, 2):
        assert ids.count(control) == plain.count(control)
    assert typed in any_processor.decode([i for i in ids if i != any_processor.image_token_id])


def test_a_control_token_in_two_parts_of_a_message_is_text(processor):
    content = [{"type": "text", "text": "<"}, {"type": "text", "text": "image>"}]
    ids = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=True, return_dict=True)
    assert processor.image_token_id not in ids["input_ids"][0]


def test_a_typed_mark_does_not_unmask_anything(processor):
    for typed in (f"<{TEXT_MARK}image>", f"<im{TEXT_MARK}age>", f"{TEXT_MARK}</s>"):
        messages = [{"role": "user", "content": typed}]
        ids = processor.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"][0]
        assert processor.image_token_id not in ids
        assert processor.tokenizer.eos_token_id not in ids


def test_rendered_strings_keep_the_placeholder(processor, image):
    inputs = processor(text="USER: <image>\nWhat? ASSISTANT:", images=image)
    assert inputs["input_ids"][0].count(processor.image_token_id) == 16


# ---- assistant masks

PREPROCESSED = read_json(SHARED / "train_preprocessed.json")
RECORDS = {record["id"]: record for record in read_json(SHARED / "train_records.json")}
# Records that the original supervises wrongly or not at all, and those that it repairs first.
NOT_COMPARABLE = {
    "edge_answer_has_role",
    "edge_empty_answer",
    "edge_ends_with_human",
    "edge_image_no_placeholder",
    "edge_question_has_eos",
    "edge_starts_with_gpt",
    "edge_text_literal_image",
    "edge_two_placeholders",
    "edge_unk_in_text",
}


@pytest.mark.parametrize(
    "record_id", [r["id"] for r in PREPROCESSED["legacy_false.max2048"] if r["id"] not in NOT_COMPARABLE]
)
def test_assistant_masks_are_the_originals_labels(any_processor, variant, record_id):
    recorded = next(r for r in PREPROCESSED[f"{variant}.max2048"] if r["id"] == record_id)
    messages = as_messages(recorded["normalised_conversations"])
    inputs = any_processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = inputs["input_ids"][0], inputs["assistant_masks"][0]
    assert ids == expected_ids(any_processor, recorded["input_ids"])
    num_tokens = any_processor._num_image_tokens(56, 56)
    labels = [
        label
        for i, label in zip(recorded["input_ids"], recorded["labels"], strict=True)
        for label in ([-100] * num_tokens if i == -200 else [label])
    ]
    assert [i if m else -100 for i, m in zip(ids, mask, strict=True)] == labels


def test_masks_of_a_padded_batch_with_typed_control_tokens(processor, image):
    conversations = [
        [*chat("What is </s>?", image), {"role": "assistant", "content": "It ends <s> a turn: </s>"}],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    ]
    for side in ("left", "right"):
        inputs = processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
            processor_kwargs={"padding": True, "padding_side": side},
        )
        masks = torch.as_tensor(inputs["assistant_masks"]).bool()
        answers = [processor.decode(ids[mask]) for ids, mask in zip(inputs["input_ids"], masks, strict=True)]
        assert answers == ["It ends <s> a turn: </s></s>", "Hello</s>"]


@pytest.mark.parametrize("name", FOLDERS.values())
def test_trls_vision_collator_gives_the_originals_ids_and_labels(name):
    """TRL tokenizes chats without special tokens: the BOS has to come from the template."""
    sft_trainer = pytest.importorskip("trl.trainer.sft_trainer")
    processor = AutoProcessor.from_pretrained(GOLDEN / name / "checkpoint")
    variant = next(key for key, value in FOLDERS.items() if value == name)
    collator = sft_trainer.DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True)
    recorded = [
        r for r in PREPROCESSED[f"{variant}.max2048"] if r["id"] not in NOT_COMPARABLE and as_training_example(r)
    ]
    assert len(recorded) > 30
    for start in range(0, len(recorded), 5):
        rows = recorded[start : start + 5]
        batch = collator([as_training_example(r) for r in rows])
        for row, ids, labels, mask in zip(
            rows, batch["input_ids"], batch["labels"], batch["attention_mask"].bool(), strict=True
        ):
            assert ids[mask].tolist() == expected_ids(processor, row["input_ids"])
            supervised = [label for label in labels[mask].tolist() if label != -100]
            assert supervised == [label for label in row["labels"] if label != -100]


def as_training_example(recorded: dict) -> dict:
    messages = as_messages(recorded["normalised_conversations"])
    images = [item["image"] for m in messages if m["role"] == "user" for item in m["content"] if "image" in item]
    for message in messages:
        if message["role"] == "user":
            message["content"] = [{k: v for k, v in item.items() if k != "image"} for item in message["content"]]
        else:
            message["content"] = [{"type": "text", "text": message["content"]}]
    return {"messages": messages, "images": images}


# ---- counts


@pytest.mark.parametrize(
    ("projector_type", "vision", "expected"),
    [
        ("mlp", {}, 576),
        ("linear", {}, 576),
        ("ldp", {}, 144),
        ("ldp", {"image_size": 224}, 64),
        ("ldp", {"image_size": 182}, 49),
        ("mlp", {"image_size": 224}, 256),
        ("mlp", {"model_type": "siglip_vision_model", "image_size": 384, "hidden_size": 64}, 729),
        ("ldp", {"model_type": "siglip_vision_model", "image_size": 384, "hidden_size": 64}, 196),
    ],
)
def test_token_count_of_every_projector(processor, projector_type, vision, expected):
    config = PaloConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14, **vision},
        text_config={"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 600},
        projector_type=projector_type,
    )
    sized = PaloProcessor.from_config(config, processor.tokenizer)
    assert config.image_seq_length == expected
    inputs = sized(text="<image>\nx", images=golden_image("portrait"))
    assert inputs["input_ids"][0].count(sized.image_token_id) == expected
    planned = sized._get_num_multimodal_tokens(image_sizes=[(48, 90), (500, 20)])
    assert planned["num_image_tokens"] == [expected, expected]
    assert planned["num_image_patches"] == [1, 1]


def test_the_class_token_counts_where_it_is_kept(processor):
    config = tiny_config(vision_feature_select_strategy="full")
    sized = PaloProcessor.from_config(config, processor.tokenizer)
    assert config.image_seq_length == 17
    assert sized(text="<image>", images=golden_image("square"))["input_ids"][0].count(sized.image_token_id) == 17


def test_processor_of_a_configuration_with_another_placeholder(processor):
    with pytest.raises(ValueError, match="gives <image> the id 600, the model's configuration 7"):
        PaloProcessor.from_config(tiny_config(image_token_index=7), processor.tokenizer)


def test_contract_of_inference_engines(processor, image):
    """What vLLM's Transformers backend asks of a processor."""
    inputs = processor(text="<image>", images=image, return_tensors="pt")
    assert set(inputs) == {"input_ids", "attention_mask", "pixel_values"}
    assert processor.replace_image_token(inputs, 0) == "<image>" * 16
    alone = inputs.pixel_values[0]
    together = processor(text="<image><image>", images=[golden_image("big"), image], return_tensors="pt").pixel_values[
        1
    ]
    assert torch.equal(alone, together), "an image's pixels do not depend on its batch"
    types = processor(text="<image>x", images=image, return_mm_token_type_ids=True)["mm_token_type_ids"][0]
    assert sum(types) == 16


@pytest.mark.parametrize(
    ("text", "num_images", "complaint"),
    [
        ("<image>\nWhat?", 2, "Found 1 <image> tokens and 2 images"),
        ("<image><image>", 1, "Found 2 <image> tokens and 1 images"),
        ("<image>", 0, "Found 1 <image> tokens and 0 images"),
        ("What?", 1, "Found 0 <image> tokens and 1 images"),
    ],
)
def test_unequal_counts_name_both_numbers(processor, image, text, num_images, complaint):
    with pytest.raises(ValueError, match=complaint):
        processor(text=text, images=[image] * num_images or None)


def test_unequal_counts_of_one_prompt_are_seen_though_the_sums_agree(processor, image):
    with pytest.raises(ValueError, match="Found 2 <image> tokens and 1 images in prompt 0"):
        processor(text=["<image><image>", "<image>"], images=[[image], [image, image]])


@pytest.mark.parametrize("option", [{"do_pad": False}, {"image_aspect_ratio": "crop"}])
def test_cropping_through_the_processor(processor, image, option):
    expected = processor.image_processor(image, do_pad=False, return_tensors="pt").pixel_values
    direct = processor(text="<image>", images=image, return_tensors="pt", **option).pixel_values
    assert torch.equal(direct, expected)
    assert not torch.equal(processor(text="<image>", images=image, return_tensors="pt").pixel_values, expected)
    of_chat = processor.apply_chat_template(
        chat("x", image), tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs=option
    )
    assert torch.equal(of_chat.pixel_values, expected)


# ---- batches


def test_left_padding_to_generate_right_to_train(processor, image):
    conversations = [chat("A longer question, is it?", image), [{"role": "user", "content": "Hi"}]]
    for side, column in (("left", 0), ("right", -1)):
        extra = {} if side == "left" else {"padding_side": "right"}
        inputs = processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, **extra},
        )
        assert inputs.attention_mask[1, column] == 0
        assert inputs.pixel_values.shape[0] == 1


def test_text_only_batches_need_no_image(processor):
    inputs = processor.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=True, return_dict=True)
    assert "pixel_values" not in inputs


# ---- other tokenizers, pickling


def other_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE as Qwen's: no BOS, `<|im_end|>` as EOS, no `<image>`."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["What is the colour of the boat? USER ASSISTANT"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def test_tokenizer_of_another_language_model(image, tmp_path):
    processor = PaloProcessor(PaloImageProcessorPil(size={"shortest_edge": 56}, crop_size=56), other_tokenizer())
    assert processor.image_token_id == len(processor.tokenizer) - 1
    processor.save_pretrained(tmp_path)
    for each in (processor, AutoProcessor.from_pretrained(tmp_path)):
        messages = [
            *chat("Is <image> or <|im_end|> or <|im_start|> special?", image),
            {"role": "assistant", "content": "No, <|im_end|> is not."},
        ]
        inputs = each.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        ids = inputs["input_ids"][0]
        assert ids.count(each.image_token_id) == 16
        assert ids.count(each.tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1
        assert ids.count(each.tokenizer.convert_tokens_to_ids("<|im_start|>")) == 0
        answer = [i for i, m in zip(ids, inputs["assistant_masks"][0], strict=True) if m]
        assert each.decode(answer) == " No, <|im_end|> is not.<|im_end|>"


def test_pickling_for_data_loader_workers(processor, image):
    copy = pickle.loads(pickle.dumps(processor))
    assert copy(text="<image>x", images=image)["input_ids"] == processor(text="<image>x", images=image)["input_ids"]


def test_saved_processor_is_a_processor_of_ours(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    saved = read_json(tmp_path / "processor_config.json")
    assert saved["processor_class"] == "PaloProcessor"
    assert saved["projector_type"] == "mlp"
    assert saved["image_processor"]["image_processor_type"] == "PaloImageProcessor"
    assert (tmp_path / "chat_template.jinja").read_text() == processor.chat_template


def test_fields_of_none_are_no_fields(processor, image):
    """Arrow gives every part of a message the fields of all."""
    with_none = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": image, "url": None, "text": None},
                {"type": "text", "text": "What?", "image": None, "url": None},
            ],
        }
    ]
    before = copy.deepcopy(with_none)
    expected = processor.apply_chat_template(chat("What?", image), tokenize=True, return_dict=True)["input_ids"]
    assert processor.apply_chat_template(with_none, tokenize=True, return_dict=True)["input_ids"] == expected
    assert with_none == before, "the caller's messages stay as they are"
    without = processor.apply_chat_template([{"role": "user", "content": None}])
    assert without == processor.apply_chat_template([{"role": "user", "content": []}])
    assert "None" not in without


PICTURE = {"type": "image", "image": golden_image("square")}


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (
            {"role": "assistant", "content": [PICTURE]},
            r"Message 2 \(assistant\) has an image: PALO takes images in messages",
        ),
        ({"role": "assistant", "content": [{"type": "video"}]}, r"got 'video' in message 2 \(assistant\)"),
        (
            {"role": "user", "content": [{"type": "text", "text": None}]},
            r"Message 2 \(user\) .* without a text: expected",
        ),
        ({"role": "user", "content": [{"type": "text"}]}, r"Message 2 \(user\) .* without a text: expected a string"),
        ({"role": "user", "content": [{"type": "text", "content": "Hi"}]}, r"Message 2 \(user\) .* without a text"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, r"Message 2 \(user\) .* without a text"),
        ({"role": "user", "content": ["Hi"]}, r"Message 2 \(user\): expected parts such as .*, found 'Hi'"),
        ({"role": "user", "content": [{"text": "Hi"}]}, r"Message 2 \(user\): expected parts such as"),
        (
            {"role": "user", "content": {"text": "Hi"}},
            r"Message 2 \(user\): expected a string or a list .*, found dict",
        ),
        ("Hi", "Message 2: expected a dictionary with a role and a content, found str"),
    ],
)
@pytest.mark.parametrize("tokenize", [False, True])
def test_a_message_that_cannot_be_meant_is_named(processor, message, complaint, tokenize):
    messages = [{"role": "user", "content": "Hi"}, message]
    for conversation in (messages, [messages]):
        with pytest.raises((ValueError, TemplateError), match=complaint) as failure:
            processor.apply_chat_template(conversation, tokenize=tokenize, return_dict=tokenize)
        assert "\n" not in str(failure.value)


def test_an_image_of_the_system_is_named_by_the_tokenizers_template_too(processor):
    messages = [{"role": "system", "content": [PICTURE]}, {"role": "user", "content": "Hi"}]
    for render in (processor.apply_chat_template, processor.tokenizer.apply_chat_template):
        with pytest.raises(TemplateError, match=r"Message 1 \(system\) has an image"):
            render(messages, tokenize=True, chat_template=processor.chat_template)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({"type": "image"}, "none of them"),
        ({"type": "image", "image": None}, "none of them"),
        ({"type": "image", "image": golden_image("square"), "url": "http://x.test/a.png"}, "image and url"),
    ],
)
def test_an_image_part_has_one_image(processor, part, found):
    messages = [{"role": "user", "content": [part]}]
    complaint = rf"Message 1 \(user\): expected an image part to have one of image, url, path, base64, found {found}"
    with pytest.raises(ValueError, match=complaint):
        processor.apply_chat_template(messages, tokenize=True, return_dict=True)
    assert processor.apply_chat_template(messages).endswith("USER: <image> "), "rendering needs no image"


def test_an_empty_conversation(processor):
    for empty in ([], [[]]):
        with pytest.raises(ValueError, match="The conversation is empty: expected a list of messages"):
            processor.apply_chat_template(empty)
