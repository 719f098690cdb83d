"""PaloConfig: fields, derived values, sizes, and the flat layout of the released checkpoints."""

import json
import shutil

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import AutoConfig, LlamaConfig, Qwen3Config

from transformers_palo import PaloConfig, PaloForConditionalGeneration

from .conftest import GOLDEN, TINY_TEXT, TINY_VISION, read_json, tiny_config


@pytest.mark.parametrize(
    ("size", "parameters", "projector_type", "tokens"),
    [
        ("1.7b", 1_686_742_016, "ldp", 144),
        ("7b", 7_062_902_784, "mlp", 576),
        ("13B", 13_350_839_296, "mlp", 576),
    ],
)
def test_sizes_of_the_paper(size, parameters, projector_type, tokens):
    config = PaloConfig.from_size(size)
    assert (config.projector_type, config.image_seq_length, config.image_token_id) == (projector_type, tokens, 32000)
    with torch.device("meta"):
        model = PaloForConditionalGeneration(config)
    assert model.num_parameters() == parameters


def test_a_size_that_the_paper_has_not():
    with pytest.raises(ValueError, match=r"Unknown PALO size '70b': expected one of 1.7b, 7b, 13b"):
        PaloConfig.from_size("70b")


def test_fields_of_a_size_can_differ():
    assert PaloConfig.from_size("7b", projector_type="ldp").image_seq_length == 144


def test_defaults():
    config = PaloConfig()
    assert config.vision_config.model_type == "clip_vision_model"
    assert config.vision_config.image_size == 336
    assert isinstance(config.text_config, LlamaConfig)
    assert config.get_text_config() is config.text_config
    assert (config.projector_type, config.projector_num_layers, config.vision_feature_layer) == ("mlp", 2, -2)
    assert config.image_token_index == config.image_token_id == config.text_config.vocab_size


def test_the_placeholder_lies_outside_the_vocabulary_unless_said_otherwise():
    assert tiny_config().image_token_id == 600
    assert tiny_config(image_token_index=7).image_token_id == 7
    assert tiny_config(image_token_id=7).image_token_index == 7
    large = PaloConfig(text_config={"model_type": "qwen3", "vocab_size": 151936})
    assert isinstance(large.text_config, Qwen3Config)
    assert large.image_token_id == 151936


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"projector_type": "ldpnetv2"}, StrictDataclassFieldValidationError, "ldpnetv2"),
        ({"projector_num_layers": "two"}, StrictDataclassFieldValidationError, "projector_num_layers"),
        ({"projector_num_layers": 0}, ValueError, "must be at least 1, got 0"),
        ({"image_token_index": -200}, ValueError, "must not be negative, got -200"),
        ({"image_seq_length": 4}, ValueError, "image_seq_length is 4, but the mlp projector makes 16 tokens"),
        ({"projector_type": "identity"}, ValueError, "as wide as the language model, got 32 and 64"),
        (
            {"projector_type": "ldp", "vision_feature_select_strategy": "full"},
            ValueError,
            "needs a square grid of patch features, but got 17",
        ),
        (
            {"projector_type": "ldp", "text_config": {**TINY_TEXT, "hidden_size": 60, "head_dim": 16}},
            ValueError,
            "a multiple of 8, got 60",
        ),
    ],
)
def test_parts_that_do_not_fit(fields, error, complaint):
    with pytest.raises(error, match=complaint):
        PaloConfig(**{"vision_config": dict(TINY_VISION), "text_config": dict(TINY_TEXT), **fields})


def test_round_trip(tmp_path):
    config = tiny_config("ldp", image_token_index=3, vision_feature_layer=-3)
    config.save_pretrained(tmp_path)
    for reloaded in (PaloConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert reloaded.to_json_string() == config.to_json_string()
    saved = read_json(tmp_path / "config.json")
    assert saved["model_type"] == "palo"
    assert saved["projector_type"] == "ldp"
    assert saved["image_seq_length"] == 4


# ---- the flat layout


def released_config(**changes) -> dict:
    flat = read_json(GOLDEN / "public_mlp2x" / "checkpoint" / "config.json")
    return {**flat, "mm_vision_tower": "openai/clip-vit-large-patch14-336", **changes}


def test_flat_layout_becomes_nested():
    config = PaloConfig.from_dict(released_config(mm_vision_select_layer=-3, rms_norm_eps=3e-6))
    assert config.text_config.hidden_size == 64
    assert config.text_config.vocab_size == 600
    assert config.text_config.rms_norm_eps == 3e-6
    assert config.text_config.rope_parameters["rope_theta"] == 10000.0
    assert config.vision_config.hidden_size == 1024
    assert config.vision_config.hidden_act == "quick_gelu"
    assert (config.projector_type, config.projector_num_layers) == ("mlp", 2)
    assert config.vision_feature_layer == -3
    assert config.image_token_id == 600
    assert not [key for key in config.text_config.to_dict() if key.startswith("mm_")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", ("linear", 2)),
        ("mlp2x_gelu", ("mlp", 2)),
        ("mlp3x_gelu", ("mlp", 3)),
        ("mlp16x_gelu", ("mlp", 16)),
        ("ldpnet", ("ldp", 2)),
    ],
)
def test_projector_names_of_the_original(name, expected):
    config = PaloConfig.from_dict(released_config(mm_projector_type=name))
    assert (config.projector_type, config.projector_num_layers) == expected


@pytest.mark.parametrize("name", ["ldpnetv2", "ldpnet2", "mlp0x_gelu", "mlp2x", "mlpx_gelu", "mlp17x_gelu", "", "LDP"])
def test_projector_names_that_the_original_did_not_have(name):
    with pytest.raises(ValueError, match="Unknown mm_projector_type"):
        PaloConfig.from_dict(released_config(mm_projector_type=name))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end: true"),
        ({"mm_use_im_patch_token": True}, "mm_use_im_patch_token: true"),
        ({"mm_vision_select_feature": "cls"}, "Unknown mm_vision_select_feature 'cls'"),
        ({"mm_vision_tower": "no/such-tower"}, "Cannot find the vision tower 'no/such-tower'"),
        ({"model_type": "llama", "mm_vision_tower": None}, "found model_type 'llama'"),
        ({"model_type": "bert"}, "Expected a PALO configuration"),
    ],
)
def test_flat_layouts_that_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        PaloConfig.from_dict(released_config(**changes))


def test_a_tower_with_its_class_token():
    config = PaloConfig.from_dict(released_config(mm_vision_select_feature="cls_patch"))
    assert config.vision_feature_select_strategy == "full"
    assert config.image_seq_length == 577


@pytest.mark.parametrize("model_type", ["palo", "llava", "mobilevlm"])
def test_model_types_of_the_layout(model_type):
    assert PaloConfig.from_dict(released_config(model_type=model_type)).model_type == "palo"


def test_towers_are_found_beside_the_checkpoint_or_the_working_directory(tmp_path, monkeypatch):
    checkpoint = tmp_path / "models" / "palo"
    checkpoint.mkdir(parents=True)
    flat = read_json(GOLDEN / "public_mlp2x" / "checkpoint" / "config.json")
    (checkpoint / "config.json").write_text(json.dumps({**flat, "mm_vision_tower": "towers/clip"}))
    with pytest.raises(ValueError, match="Cannot find the vision tower 'towers/clip'"):
        AutoConfig.from_pretrained(checkpoint)
    shutil.copytree(GOLDEN / "public_shared" / "clip_tower", tmp_path / "towers" / "clip")
    for load in (AutoConfig, PaloConfig):
        assert load.from_pretrained(checkpoint).vision_config.hidden_size == 32
    shutil.move(tmp_path / "towers", tmp_path / "elsewhere" / "towers")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert AutoConfig.from_pretrained(checkpoint).vision_config.hidden_size == 32


def test_a_folder_saved_from_the_flat_layout_forgets_it(tmp_path):
    AutoConfig.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint").save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert "mm_" not in text
    assert "_released" not in text
    assert str(GOLDEN) not in text
    assert AutoConfig.from_pretrained(tmp_path)._released is None
