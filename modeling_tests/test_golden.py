"""Equality with the original code (commit cfb2116), recorded in fixtures/golden: float32 on a CPU."""

from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from .conftest import GOLDEN, SHARED, golden_image, read_json


FEATURE_TOLERANCE = 5e-5
LOGIT_TOLERANCE = 1e-4

FOLDERS = [
    "public_mlp2x/checkpoint",
    "public_mlp2x/checkpoint_safetensors",
    "public_ldpnet/checkpoint",
    "public_linear/checkpoint",
    "public_mlp3x/checkpoint",
]


@cache
def released(folder: str):
    path = GOLDEN / folder
    return (
        AutoModelForImageTextToText.from_pretrained(path),
        AutoProcessor.from_pretrained(path),
        read_json(path.parent / "model.json"),
        load_file(path.parent / "model.safetensors"),
    )


@cache
def prompts() -> dict:
    return {chat["name"]: chat for chat in read_json(SHARED / "prompts.json")["chats"]}


def expand(ids: list[int], image_token_id: int, num_image_tokens: int) -> list[int]:
    """The original marks an image with one -200; here it is as many placeholders as the image has tokens."""
    return [token for i in ids for token in ([image_token_id] * num_image_tokens if i == -200 else [i])]


def cases(section: str) -> list[tuple[str, str]]:
    return [
        (folder, name)
        for folder in FOLDERS
        for name, case in read_json((GOLDEN / folder).parent / "model.json")[section].items()
        if not (section == "features" and "." in name) and case
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_projected_features(folder):
    model, processor, record, reference = released(folder)
    images = [golden_image(name) for name in record["features"]["projected"]]
    pixel_values = processor.image_processor(images, return_tensors="pt").pixel_values
    with torch.no_grad():
        features = torch.stack(list(model.get_image_features(pixel_values, return_dict=True).pooler_output))
    torch.testing.assert_close(features, reference["features.projected"], atol=FEATURE_TOLERANCE, rtol=0)


@pytest.mark.parametrize("folder", FOLDERS)
def test_vision_features(folder):
    model, processor, record, reference = released(folder)
    images = [golden_image(name) for name in record["features"]["vision"]]
    pixel_values = processor.image_processor(images, return_tensors="pt").pixel_values
    with torch.no_grad():
        hidden_states = model.model.vision_tower(pixel_values, output_hidden_states=True).hidden_states
    torch.testing.assert_close(hidden_states[-2][:, 1:], reference["features.vision"], atol=FEATURE_TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("folder", "key", "setting"),
    [
        ("public_mlp2x/checkpoint", "select_layer-1", {"vision_feature_layer": -1}),
        ("public_mlp2x/checkpoint", "select_layer-3", {"vision_feature_layer": -3}),
        ("public_mlp2x/checkpoint", "cls_patch", {"vision_feature_select_strategy": "full"}),
        ("public_ldpnet/checkpoint", "select_layer-1", {"vision_feature_layer": -1}),
        ("public_ldpnet/checkpoint", "select_layer-3", {"vision_feature_layer": -3}),
    ],
)
def test_other_features_of_the_tower(folder, key, setting):
    model, processor, record, reference = released(folder)
    first = golden_image(record["features"]["projected"][0])
    pixel_values = processor.image_processor(first, return_tensors="pt").pixel_values
    with torch.no_grad():
        output = model.get_image_features(pixel_values, return_dict=True, **setting)
    features = torch.stack(list(output.pooler_output))
    torch.testing.assert_close(features, reference[f"features.projected.{key}"], atol=FEATURE_TOLERANCE, rtol=0)


@pytest.mark.parametrize(("folder", "name"), cases("cases"))
def test_logits(folder, name):
    model, processor, record, reference = released(folder)
    case = record["cases"][name]
    # In a mixed batch the original gives a text-only row an image of zeros; here it needs none.
    images = [golden_image(image) for image in case["images"] or [] if image != "<zeros>"]
    num_positions = case["config_override"].get("tokenizer_model_max_length")
    for row, (chat, ids) in enumerate(zip(case["chats"], case["input_ids"], strict=True)):
        row_images = [images.pop(0) for _ in range(ids.count(-200))]
        inputs = processor(text=prompts()[chat]["prompt"], images=row_images or None, return_tensors="pt")
        expected_ids = expand(ids, processor.image_token_id, record["num_image_tokens"])
        assert inputs.input_ids[0].tolist() == expected_ids
        with torch.no_grad():
            logits = model(**inputs).logits[0][:num_positions]
        key = f"{name}.{row}"
        positions = reference[f"{key}.positions"].long()
        torch.testing.assert_close(logits[positions], reference[f"{key}.logits"], atol=LOGIT_TOLERANCE, rtol=0)
        torch.testing.assert_close(logits.logsumexp(-1), reference[f"{key}.logsumexp"], atol=LOGIT_TOLERANCE, rtol=0)
        assert torch.equal(logits.argmax(-1).int(), reference[f"{key}.argmax"])


@pytest.mark.parametrize(("folder", "name"), cases("generate"))
def test_greedy_continuations(folder, name):
    model, processor, record, _ = released(folder)
    case = record["generate"][name]
    images = [golden_image(image) for image in case["images"] or []]
    inputs = processor(text=prompts()[case["chat"]]["prompt"], images=images or None, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    assert output[0, inputs.input_ids.shape[1] :].tolist() == case["new_ids"]


TRAINING = [
    (folder, batch)
    for folder in ("public_mlp2x", "public_ldpnet")
    for batch in read_json(GOLDEN / folder / "training.json")
    if batch != "optimisation"
]


@pytest.mark.parametrize(("folder", "batch"), TRAINING)
def test_training_loss(folder, batch):
    """The mean over the supervised tokens of a batch, from the original's ids and labels, in one padded batch."""
    model, processor, record, _ = released(f"{folder}/checkpoint")
    tensors = load_file(GOLDEN / folder / "training.safetensors")
    training = read_json(GOLDEN / folder / "training.json")[batch]
    records = {item["id"]: item for item in read_json(SHARED / "train_records.json")}
    images = [records[i]["image"] for i in training["record_ids"] if "image" in records[i]]
    num_tokens = record["num_image_tokens"]
    rows = []
    for ids, labels, mask in zip(
        *(tensors[f"{batch}.{key}"] for key in ("input_ids", "labels", "attention_mask")), strict=True
    ):
        ids, labels = ids[mask].tolist(), labels[mask].tolist()
        row_ids = expand(ids, processor.image_token_id, num_tokens)
        row_labels = [n for i, n in zip(ids, labels, strict=True) for n in ([-100] * num_tokens if i == -200 else [n])]
        limit = training["model_max_length"]
        rows.append((row_ids[:limit], row_labels[:limit]))
    length = max(len(ids) for ids, _ in rows)
    input_ids = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in rows])
    attention_mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows])
    pixel_values = None
    if images:
        pictures = [golden_image(Path(name).stem) for name in images]
        pixel_values = processor.image_processor(pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        output = model(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask, labels=labels)
    assert int((labels[:, 1:] != -100).sum()) == training["n_supervised"]
    assert output.loss.item() == pytest.approx(training["loss"], abs=LOGIT_TOLERANCE)
