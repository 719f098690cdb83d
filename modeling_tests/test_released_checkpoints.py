"""What was released loads as it is; what is saved is native; what is not what it claims to be is refused."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor, Trainer, TrainingArguments, pipeline
from transformers.utils import logging

from transformers_palo import PaloForConditionalGeneration, PaloModel

from .conftest import GOLDEN, chat, golden_image, read_json


FOLDERS = {
    "sharded .bin, tower inside, LDP": "public_ldpnet/checkpoint",
    "one .bin, tower inside, MLP": "public_mlp2x/checkpoint",
    "safetensors, tower inside, MLP": "public_mlp2x/checkpoint_safetensors",
    "safetensors, tower absent, linear": "public_linear/checkpoint",
    "safetensors, tower absent, MLP of three": "public_mlp3x/checkpoint",
}


@pytest.fixture(params=FOLDERS.values(), ids=FOLDERS.keys())
def folder(request) -> Path:
    return GOLDEN / request.param


def copy_of(folder: str, tmp_path: Path) -> Path:
    """A released folder of one's own, with its tower where the configuration finds it."""
    shutil.copytree(GOLDEN / "public_shared" / "clip_tower", tmp_path / "public_shared" / "clip_tower")
    return Path(shutil.copytree(GOLDEN / folder, tmp_path / "models" / "checkpoint"))


def answer(model, processor) -> list[int]:
    inputs = processor.apply_chat_template(
        chat("What is it?", golden_image("portrait")),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return model.generate(**inputs, max_new_tokens=8, do_sample=False)[0].tolist()


# ---- loading


def test_one_line_each(folder, caplog):
    with caplog.at_level("WARNING"):
        model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(folder)
        headless = AutoModel.from_pretrained(folder)
    assert isinstance(model, PaloForConditionalGeneration)
    assert isinstance(headless, PaloModel)
    assert not any(info.values())
    assert not caplog.records, "a whole checkpoint loads without a word"
    assert answer(model, processor)


def test_vocabulary_and_weights_stay_as_they_were(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    files = sorted(folder.glob("*.bin")) or sorted(folder.glob("*.safetensors"))
    stored = {}
    for file in files:
        stored |= load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    assert model.get_input_embeddings().num_embeddings == model.lm_head.out_features == 600
    assert model.config.image_token_id == 600
    assert torch.equal(model.get_input_embeddings().weight, stored["model.embed_tokens.weight"])
    assert torch.equal(model.lm_head.weight, stored["lm_head.weight"])
    kept = [key for key in stored if "inv_freq" not in key]
    from_elsewhere = 0 if any("vision_tower" in key for key in stored) else len(model.model.vision_tower.state_dict())
    assert len(model.state_dict()) == len(kept) + from_elsewhere


def test_an_absent_tower_comes_from_where_the_configuration_says():
    tower = load_file(GOLDEN / "public_shared" / "clip_tower" / "model.safetensors")
    for load in (AutoModelForImageTextToText, AutoModel):
        model = load.from_pretrained(GOLDEN / "public_mlp3x" / "checkpoint")
        loaded = model.base_model.vision_tower.state_dict()
        assert len(loaded) == len(tower)
        for name, tensor in loaded.items():
            assert torch.equal(tensor, tower[f"vision_model.{name}"])


@pytest.mark.parametrize("options", [{"dtype": torch.bfloat16}, {"device_map": "auto"}, {"device_map": "cpu"}])
def test_an_absent_tower_with_other_options(options):
    model = AutoModelForImageTextToText.from_pretrained(GOLDEN / "public_linear" / "checkpoint", **options)
    assert {p.dtype for p in model.parameters()} == {options.get("dtype", torch.float32)}
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_half_precision_files_load_as_they_are(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    half = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    edit_config(folder, torch_dtype="float16")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    assert AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).dtype == torch.float32


def test_pipeline_on_a_released_folder(folder):
    pipe = pipeline("image-text-to-text", model=str(folder))
    (output,) = pipe(text=chat("What is it?", golden_image("portrait")), max_new_tokens=4, return_full_text=False)
    assert isinstance(output["generated_text"], str)


def test_both_forms_of_one_checkpoint_are_the_same_model():
    as_bin, as_safetensors = (
        AutoModelForImageTextToText.from_pretrained(GOLDEN / "public_mlp2x" / name).state_dict()
        for name in ("checkpoint", "checkpoint_safetensors")
    )
    assert as_bin.keys() == as_safetensors.keys()
    assert all(torch.equal(as_bin[name], as_safetensors[name]) for name in as_bin)


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**read_json(path), **changes}))


@pytest.mark.parametrize("variant", [True, False, None])
def test_the_legacy_flag_and_its_absence(variant, tmp_path):
    """A missing flag meant true when the checkpoints were made, and means false in Transformers 5."""
    folder = copy_of("public_mlp2x/checkpoint", tmp_path)
    config = read_json(folder / "tokenizer_config.json")
    config.pop("legacy")
    if variant is not None:
        config["legacy"] = variant
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ids = AutoProcessor.from_pretrained(folder)(text="x</s>y")["input_ids"][0]
    assert ids == ([1, 445, 499, 2, 471] if variant is False else [1, 445, 499, 2, 445, 471])


def test_the_image_processor_follows_the_checkpoint(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint", tmp_path)
    image_processor = AutoProcessor.from_pretrained(folder).image_processor
    assert image_processor.do_pad
    assert image_processor.size.shortest_edge == 56
    edit_config(folder, image_aspect_ratio=None)
    assert AutoProcessor.from_pretrained(folder).image_processor.do_pad
    edit_config(folder, image_aspect_ratio="square")
    assert not AutoProcessor.from_pretrained(folder).image_processor.do_pad


# ---- saving


def keys_of(folder: Path) -> set[str]:
    keys = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as content:
            keys |= set(content.keys())
    return keys


@pytest.mark.parametrize("how", ["save_pretrained", "sharded", "trainer", "push_to_hub"])
def test_what_is_saved_has_native_names_and_reloads_bit_for_bit(folder, how, tmp_path, monkeypatch):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    target = tmp_path / "saved"
    if how == "save_pretrained":
        model.save_pretrained(target)
    elif how == "sharded":
        model.save_pretrained(target, max_shard_size="300KB")
        assert len(list(target.glob("*.safetensors"))) > 1
    elif how == "trainer":
        arguments = TrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, report_to=[])
        Trainer(model=model, args=arguments, processing_class=processor).save_model(str(target))
    else:
        push_to_folder(model, target, monkeypatch)
    processor.save_pretrained(target)

    assert keys_of(target) == set(model.state_dict())
    assert not list(target.glob("pytorch_model*"))
    assert "mm_" not in (target / "config.json").read_text()
    reloaded, info = AutoModelForImageTextToText.from_pretrained(target, output_loading_info=True)
    assert not any(info.values())
    for name, tensor in model.state_dict().items():
        assert torch.equal(reloaded.state_dict()[name], tensor), name
    assert answer(reloaded, AutoProcessor.from_pretrained(target)) == answer(model, processor)


def push_to_folder(model, target: Path, monkeypatch) -> None:
    """`push_to_hub` with the network's end replaced: what it would upload is copied to a folder."""
    monkeypatch.setattr(
        "transformers.utils.hub.PushToHubMixin._upload_modified_files",
        lambda self, working_dir, *args, **kwargs: shutil.copytree(working_dir, target),
    )

    class Api:
        def create_repo(self, repo_id, **kwargs):
            return type("Url", (), {"repo_id": repo_id})

    for module in ("transformers.utils.hub", "transformers.modeling_utils"):
        monkeypatch.setattr(f"{module}.hf_api", lambda *args, **kwargs: Api())
    monkeypatch.setattr(
        "transformers.modeling_utils.create_and_tag_model_card",
        lambda *args, **kwargs: type("Card", (), {"save": lambda self, path: None})(),
    )
    model.push_to_hub("someone/palo-tiny")


def test_a_trained_checkpoint_has_native_names(tmp_path, processor):
    model = AutoModelForImageTextToText.from_pretrained(GOLDEN / "public_ldpnet" / "checkpoint")
    rows = [{"input_ids": torch.tensor([1, 5, 6, 7]), "labels": torch.tensor([1, 5, 6, 7])}] * 2
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, save_steps=1, use_cpu=True, report_to=[], disable_tqdm=True
    )
    Trainer(model=model, args=arguments, train_dataset=rows).train()
    assert keys_of(tmp_path / "checkpoint-1") == set(model.state_dict())


def test_the_headless_model_saves_native_names(tmp_path):
    model = AutoModel.from_pretrained(GOLDEN / "public_ldpnet" / "checkpoint")
    model.save_pretrained(tmp_path)
    assert keys_of(tmp_path) == set(model.state_dict())
    reloaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(reloaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


# ---- what is not what it claims to be


class Payload:
    def __reduce__(self):
        return (os.system, ("touch /tmp/palo-was-here",))


def refuse(folder: Path, complaint: str, error: type[Exception] = OSError, **options) -> None:
    logging.set_verbosity_error()
    try:
        with pytest.raises(error, match=complaint) as caught:
            AutoModelForImageTextToText.from_pretrained(folder, **options)
    finally:
        logging.set_verbosity_warning()
    assert "\n" not in str(caught.value).strip(), "one line"


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint", tmp_path)
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Payload(), file)
    refuse(folder, r"pytorch_model\.bin: expected tensors, found pickled Python code, which is refused")
    torch.save({"model.norm.weight": Payload()}, folder / "pytorch_model.bin")
    refuse(folder, "found pickled Python code")
    refuse(folder, "found pickled Python code", weights_only=False)
    assert not Path("/tmp/palo-was-here").exists()


@pytest.mark.parametrize("keep", [0, 100, 100_000])
def test_a_truncated_bin_is_refused(tmp_path, keep):
    folder = copy_of("public_ldpnet/checkpoint", tmp_path)
    shard = folder / "pytorch_model-00002-of-00004.bin"
    shard.write_bytes(shard.read_bytes()[:keep])
    refuse(folder, r"pytorch_model-00002-of-00004\.bin .*truncated or damaged")


@pytest.mark.parametrize("keep", [0, 7, 1000, 500_000])
def test_a_truncated_safetensors_file_is_refused(tmp_path, keep):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refuse(folder, r"model\.safetensors .*truncated or damaged")


def test_a_missing_shard_is_named(tmp_path):
    folder = copy_of("public_ldpnet/checkpoint", tmp_path)
    (folder / "pytorch_model-00003-of-00004.bin").unlink()
    refuse(folder, r"pytorch_model-00003-of-00004\.bin")


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_missing_weight_is_an_error(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    rewrite(folder, lambda weights: weights.pop("model.mm_projector.2.weight"))
    refuse(folder, r"it lacks model\.multi_modal_projector\.linear_2\.weight", ValueError)


def test_a_partly_missing_tower_is_not_mixed_with_another(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    rewrite(folder, lambda weights: weights.pop(next(key for key in weights if "vision_tower" in key)))
    refuse(folder, r"it lacks model\.vision_tower\.", ValueError)


def test_an_unexpected_weight_is_an_error(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    rewrite(folder, lambda weights: weights.update({"model.mm_projector.4.weight": torch.zeros(2)}))
    refuse(folder, r"it has model\.multi_modal_projector\.linear_3\.weight, which belong nowhere", ValueError)


def test_wrong_shapes_are_an_error(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    rewrite(folder, lambda weights: weights.update({"model.norm.weight": torch.zeros(3)}))
    refuse(folder, r"has model\.language_model\.norm\.weight of shape \(3,\), expected \(64,\)", ValueError)


def test_an_absent_tower_that_is_nowhere(tmp_path):
    folder = copy_of("public_linear/checkpoint", tmp_path)
    (tmp_path / "public_shared" / "clip_tower" / "model.safetensors").unlink()
    refuse(folder, "holds no vision tower; its weights are those of")


def test_another_model_type_is_refused(tmp_path):
    folder = copy_of("public_mlp2x/checkpoint_safetensors", tmp_path)
    edit_config(folder, model_type="llama")
    logging.set_verbosity_error()
    with pytest.raises(
        ValueError, match=r"Expected a PALO configuration \(model_type 'palo'\), found model_type 'llama'"
    ):
        PaloForConditionalGeneration.from_pretrained(folder)
    logging.set_verbosity_warning()


def test_a_native_folder_that_lacks_a_weight_is_reported(tmp_path, caplog):
    """As for every model of Transformers: random in its place, and said so."""
    PaloForConditionalGeneration.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint").save_pretrained(tmp_path)
    rewrite(tmp_path, lambda weights: weights.pop("model.multi_modal_projector.linear_2.weight"))
    with caplog.at_level("WARNING"):
        _, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {"model.multi_modal_projector.linear_2.weight"}
