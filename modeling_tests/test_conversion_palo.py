"""`palo convert`: every released kind of folder, every format, nothing dropped and nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPVisionModel,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from transformers_palo import PaloForConditionalGeneration
from transformers_palo.models.palo.export_palo import convert_checkpoint, whole_or_nothing, with_padding_rows
from transformers_palo.models.palo.key_map_palo import native_name, released_projector_name

from .conftest import GOLDEN, SHARED, chat, golden_image, read_json, tiny_model
from .test_golden import FEATURE_TOLERANCE, LOGIT_TOLERANCE, expand, prompts


LORA = GOLDEN / "public_lora" / "checkpoint"
BASE = str(GOLDEN / "public_lora" / "base")


def check_against(record_folder: Path, model, processor) -> None:
    """Features, logits and greedy continuations that the original recorded."""
    record, reference = read_json(record_folder / "model.json"), load_file(record_folder / "model.safetensors")
    images = [golden_image(name) for name in record["features"]["projected"]]
    pixel_values = processor.image_processor(images, return_tensors="pt").pixel_values
    with torch.no_grad():
        features = torch.stack(list(model.get_image_features(pixel_values, return_dict=True).pooler_output))
    torch.testing.assert_close(features, reference["features.projected"], atol=FEATURE_TOLERANCE, rtol=0)
    case = record["cases"]["image_text"]
    inputs = processor(
        text=prompts()[case["chats"][0]]["prompt"], images=golden_image(case["images"][0]), return_tensors="pt"
    )
    expected_ids = expand(case["input_ids"][0], processor.image_token_id, record["num_image_tokens"])
    assert inputs.input_ids[0].tolist() == expected_ids
    with torch.no_grad():
        logits = model(**inputs).logits[0, :, :600]
    positions = reference["image_text.0.positions"].long()
    torch.testing.assert_close(logits[positions], reference["image_text.0.logits"], atol=LOGIT_TOLERANCE, rtol=0)
    output = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    assert output[0, inputs.input_ids.shape[1] :].tolist() == record["generate"]["image_text"]["new_ids"]


def load(folder: Path):
    return AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


# ---- whole checkpoints


@pytest.mark.parametrize(
    "folder",
    ["public_mlp2x/checkpoint", "public_ldpnet/checkpoint", "public_linear/checkpoint", "public_mlp3x/checkpoint"],
)
def test_a_released_checkpoint(folder, tmp_path):
    source = GOLDEN / folder
    target = convert_checkpoint(str(source), tmp_path / "native", max_shard_bytes=300_000)
    direct = AutoModelForImageTextToText.from_pretrained(source)
    model, info = AutoModelForImageTextToText.from_pretrained(target, output_loading_info=True)
    assert not any(info.values())
    for name, tensor in direct.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    check_against(source.parent, model, AutoProcessor.from_pretrained(target))
    assert len(list(target.glob("model-*.safetensors"))) > 1 or folder != "public_mlp2x/checkpoint"
    assert model.generation_config.eos_token_id == 2


@pytest.mark.parametrize("model_type", ["llava", "mobilevlm"])
def test_the_papers_baselines(model_type, tmp_path):
    """LLaVA-1.5 and MobileVLM folders have the same layout under other model types."""
    name = {"llava": "public_mlp2x", "mobilevlm": "public_ldpnet"}[model_type]
    shutil.copytree(GOLDEN / "public_shared" / "clip_tower", tmp_path / "public_shared" / "clip_tower")
    source = Path(shutil.copytree(GOLDEN / name / "checkpoint", tmp_path / "models" / "baseline"))
    config = {**read_json(source / "config.json"), "model_type": model_type, "architectures": ["X"]}
    (source / "config.json").write_text(json.dumps(config))
    model, processor = load(convert_checkpoint(str(source), tmp_path / "native"))
    assert isinstance(model, PaloForConditionalGeneration)
    check_against(GOLDEN / name, model, processor)


def test_a_native_folder_in_another_precision(tmp_path, processor):
    tiny_model("ldp").save_pretrained(tmp_path / "native")
    processor.save_pretrained(tmp_path / "native")
    target = convert_checkpoint(str(tmp_path / "native"), tmp_path / "half", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(target / "model.safetensors").values()} == {torch.bfloat16}
    assert AutoModelForImageTextToText.from_pretrained(target).dtype == torch.bfloat16
    assert read_json(target / "config.json")["dtype"] == "bfloat16"


# ---- LoRA and stage 1


def test_a_merged_lora(tmp_path):
    target = convert_checkpoint(str(LORA), tmp_path / "merged", base_model=BASE)
    model, processor = load(target)
    check_against(LORA.parent, model, processor)
    for name, tensor in load_file(LORA.parent / "merged_sample.safetensors").items():
        torch.testing.assert_close(model.state_dict()[native_name(name)], tensor, atol=1e-6, rtol=1e-6)


def test_a_lora_kept_as_an_adapter(tmp_path):
    peft = pytest.importorskip("peft")
    target = convert_checkpoint(str(LORA), tmp_path / "kept", base_model=BASE, keep_adapter=True)
    model, processor = load(target)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = peft.PeftModel.from_pretrained(model, target / "adapter")
    touched = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    assert len(touched) == 28
    assert all("language_model" in name for name in touched), "CLIP has q_proj, k_proj and v_proj too"
    merged = adapted.merge_and_unload()
    check_against(LORA.parent, merged, processor)
    changed = {n for n, tensor in merged.state_dict().items() if not torch.equal(tensor, before[n])}
    assert len(changed) == 14


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_others_may_read_the_weights_if_they_may_read_the_rest(tmp_path, umask):
    """safetensors 0.8 writes files that their owner alone may read."""
    previous = os.umask(umask)
    try:
        convert_checkpoint(str(LORA), tmp_path / "target", base_model=BASE, keep_adapter=True)
    finally:
        os.umask(previous)
    files = [path for path in (tmp_path / "target").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}
    assert {"model.safetensors", "adapter_model.safetensors"} <= {path.name for path in files}


@pytest.mark.parametrize("name", ["public_mlp2x", "public_ldpnet"])
def test_a_stage_1_projector_over_a_base_model(name, tmp_path):
    """The base is the language model of the golden's checkpoint, cut out of it."""
    base = tmp_path / "base"
    shutil.copytree(GOLDEN / name / "checkpoint", base, ignore=shutil.ignore_patterns("*.bin*", "*.safetensors"))
    weights = {
        key: tensor
        for file in (GOLDEN / name / "checkpoint").glob("*.bin")
        for key, tensor in torch.load(file, weights_only=True).items()
        if "mm_projector" not in key and "vision_tower" not in key
    }
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    target = convert_checkpoint(str(GOLDEN / name / "stage1"), tmp_path / "native", base_model=str(base))
    check_against(GOLDEN / name / "stage1_golden", *load(target))


@pytest.mark.parametrize("source", [LORA, GOLDEN / "public_mlp2x" / "stage1"])
def test_a_part_without_its_base_model(source, tmp_path):
    with pytest.raises(ValueError, match="holds no language model: say which one it was trained on with --base-model"):
        convert_checkpoint(str(source), tmp_path / "x")
    assert not list(tmp_path.iterdir())


def lora_copy(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "public_shared" / "clip_tower", tmp_path / "public_shared" / "clip_tower")
    return Path(shutil.copytree(LORA, tmp_path / "models" / "lora"))


@pytest.mark.parametrize("moved", [False, True])
def test_a_kept_adapter_from_anywhere(tmp_path, monkeypatch, moved):
    """From another working directory, and after both folders went elsewhere together."""
    peft = pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    target = convert_checkpoint(str(LORA), "kept", base_model=BASE, keep_adapter=True)
    if moved:
        target.rename(tmp_path / "elsewhere")
    target = tmp_path / ("elsewhere" if moved else "kept")
    (tmp_path / "other" / "place").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "other" / "place")

    processor = AutoProcessor.from_pretrained(target)
    base = AutoModelForImageTextToText.from_pretrained(target)
    check_against(LORA.parent, peft.PeftModel.from_pretrained(base, target / "adapter").merge_and_unload(), processor)
    loaded = AutoModelForImageTextToText.from_pretrained(target)
    loaded.load_adapter(str(target / "adapter"))
    check_against(LORA.parent, loaded, processor)
    if not moved:
        # The folder alone: the configuration names its base model.
        check_against(LORA.parent, AutoModelForImageTextToText.from_pretrained(str(target / "adapter")), processor)


def test_a_kept_adapter_of_some_layers_only(tmp_path):
    """A pattern over the modules' names would adapt the other layers too."""
    peft = pytest.importorskip("peft")
    folder = lora_copy(tmp_path)
    change_adapter(folder, lambda w: [w.pop(key) for key in list(w) if ".layers.0." in key])
    config = {**read_json(folder / "adapter_config.json"), "layers_to_transform": [1]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    target = convert_checkpoint(str(folder), tmp_path / "kept", base_model=BASE, keep_adapter=True)
    merged = convert_checkpoint(str(folder), tmp_path / "merged", base_model=BASE)
    model = peft.PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(target), target / "adapter")
    assert len({name for name, _ in model.named_parameters() if "lora_" in name}) == 14
    expected = AutoModelForImageTextToText.from_pretrained(merged).state_dict()
    for name, tensor in model.merge_and_unload().state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def change_adapter(folder: Path, change) -> None:
    weights = torch.load(folder / "adapter_model.bin", weights_only=True)
    change(weights)
    torch.save(weights, folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("base_model.model.model.layers.9.self_attn.q_proj.lora_{}.weight", "1 adapter weights have no home"),
        ("base_model.model.model.layers.0.self_attn.odd_proj.lora_{}.weight", "have no home in the base model"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_{}", "is no LoRA weight"),
        ("model.layers.0.self_attn.q_proj.lora_{}.weight", "is no LoRA weight"),
    ],
)
@pytest.mark.parametrize("keep_adapter", [False, True])
def test_an_adapter_key_without_a_home_is_an_error(tmp_path, key, complaint, keep_adapter):
    folder = lora_copy(tmp_path)
    change_adapter(
        folder, lambda w: w.update({key.format("A"): torch.zeros(4, 32), key.format("B"): torch.zeros(32, 4)})
    )
    with pytest.raises(ValueError, match=complaint):
        convert_checkpoint(str(folder), tmp_path / "native", base_model=BASE, keep_adapter=keep_adapter)
    assert not list(tmp_path.glob("native*"))


def test_an_adapter_of_another_base_model(tmp_path):
    folder = lora_copy(tmp_path)
    wide = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    change_adapter(folder, lambda weights: weights.update({wide: torch.zeros(64, 4)}))
    with pytest.raises(ValueError, match="this adapter belongs to another base model"):
        convert_checkpoint(str(folder), tmp_path / "native", base_model=BASE)


def test_an_adapter_that_is_no_plain_lora(tmp_path):
    folder = lora_copy(tmp_path)
    config = {**read_json(folder / "adapter_config.json"), "use_dora": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"expected a plain LoRA adapter .* found one with use_dora"):
        convert_checkpoint(str(folder), tmp_path / "native", base_model=BASE)


def test_a_lora_without_its_projector(tmp_path):
    folder = lora_copy(tmp_path)
    (folder / "non_lora_trainables.bin").unlink()
    with pytest.raises(ValueError, match=r"expected the trained projector in non_lora_trainables\.bin"):
        convert_checkpoint(str(folder), tmp_path / "native", base_model=BASE)


# ---- a padded vocabulary


@pytest.mark.parametrize("multiple", [1, 64])
def test_a_padded_vocabulary_gives_the_placeholder_a_row(tmp_path, multiple):
    source = GOLDEN / "public_ldpnet" / "checkpoint"
    model, processor = load(convert_checkpoint(str(source), tmp_path / "padded", pad_vocab_to_multiple_of=multiple))
    rows = {1: 601, 64: 640}[multiple]
    assert model.get_input_embeddings().num_embeddings == model.lm_head.out_features == rows
    assert model.config.text_config.vocab_size == rows
    assert model.config.image_token_id == processor.image_token_id == 600
    check_against(source.parent, model, processor)


def test_padding_rows_never_win_and_tie_with_no_token():
    """In a byte-level vocabulary the first row is `!`, as likely as any."""
    torch.manual_seed(0)
    head = torch.randn(50, 16)
    hidden = torch.cat([torch.randn(200, 16), head, -head])
    logits = hidden @ with_padding_rows(head, 64).T
    real, padding = logits[:, :50], logits[:, 50:]
    assert torch.equal(real, hidden @ head.T)
    assert (padding < real.amax(dim=1, keepdim=True)).all()
    assert not (padding[:, :1] == real).any()
    # By Jensen: a padding id is at most as likely as a token is on average.
    assert (logits.softmax(-1)[:, 50:] <= 1 / 50).all()


@pytest.mark.parametrize("format", ["palo", "llava"])
@pytest.mark.parametrize("stated", [True, False])
def test_sampling_gives_no_padding_id(tmp_path, format, stated):
    """At a temperature that makes every id as likely as the next."""
    shutil.copytree(SHARED / "clip_tower", tmp_path / "public_shared" / "clip_tower")
    source = Path(shutil.copytree(GOLDEN / "public_mlp2x" / "checkpoint", tmp_path / "models" / "source"))
    (source / "generation_config.json").unlink(missing_ok=True)
    if stated:
        (source / "generation_config.json").write_text(json.dumps({"eos_token_id": 7, "suppress_tokens": [5]}))
    target = convert_checkpoint(str(source), tmp_path / "out", format=format, pad_vocab_to_multiple_of=400)
    model = AutoModelForImageTextToText.from_pretrained(target)
    assert model.lm_head.out_features == 800
    assert model.generation_config.suppress_tokens == [5] * stated + list(range(600, 800))
    assert model.generation_config.eos_token_id == (7 if stated else 2)
    ids = model.generate(
        torch.ones(64, 1, dtype=torch.long), do_sample=True, temperature=1e4, top_k=0, max_new_tokens=8
    )
    assert ids.max() < 600


# ---- llava


@cache
def as_llava(target: str) -> Path:
    return convert_checkpoint(str(GOLDEN / "public_mlp2x" / "checkpoint"), target, format="llava")


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory):
    return as_llava(str(tmp_path_factory.mktemp("llava") / "model"))


def test_a_plain_llava(llava_folder):
    model = LlavaForConditionalGeneration.from_pretrained(llava_folder)
    processor = LlavaProcessor.from_pretrained(llava_folder)
    check_against(GOLDEN / "public_mlp2x", model, processor)
    ours = AutoProcessor.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint")
    messages = chat("What is </s> here?", golden_image("landscape"))
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    theirs, expected = (each.apply_chat_template(messages, **options) for each in (processor, ours))
    assert torch.equal(theirs["input_ids"], expected["input_ids"])
    assert torch.equal(theirs["pixel_values"], expected["pixel_values"])


def test_a_plain_llava_has_the_names_of_llava_hf(llava_folder):
    with safe_open(llava_folder / "model.safetensors", framework="pt") as content:
        names = set(content.keys())
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in names
    assert "language_model.lm_head.weight" in names
    assert "multi_modal_projector.linear_1.weight" in names
    assert "vision_tower.vision_model.embeddings.class_embedding" in names


def test_a_plain_llava_needs_nothing_of_this_package(llava_folder):
    code = (
        "import sys\n"
        "from transformers import AutoModelForImageTextToText as M, AutoProcessor as P\n"
        f"m, p = M.from_pretrained({str(llava_folder)!r}), P.from_pretrained({str(llava_folder)!r})\n"
        "print(type(m).__name__, type(p).__name__, 'transformers_palo' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "LlavaForConditionalGeneration LlavaProcessor False"


def test_what_llava_cannot_express(tmp_path):
    with pytest.raises(ValueError, match="Llava has an MLP projector of two layers, this model 'ldp'"):
        convert_checkpoint(str(GOLDEN / "public_ldpnet" / "checkpoint"), tmp_path / "x", format="llava")


# ---- llama.cpp


def with_336_pixels(checkpoint: Path, tmp_path: Path) -> Path:
    """A released checkpoint whose tower sees 24 x 24 patches, as the paper's do: llama.cpp's LDP takes no other grid."""
    tower = Path(shutil.copytree(SHARED / "clip_tower", tmp_path / "public_shared" / "clip_tower"))
    (tower / "config.json").write_text(json.dumps({**read_json(tower / "config.json"), "image_size": 336}))
    source = Path(shutil.copytree(checkpoint, tmp_path / "models" / "checkpoint"))
    for file in source.glob("*.bin"):
        weights = torch.load(file, weights_only=True)
        for name in [name for name in weights if name.endswith("position_embedding.weight")]:
            weights[name] = torch.randn(24 * 24 + 1, weights[name].shape[1])
        torch.save(weights, file)
    return source


@pytest.mark.parametrize("name", ["public_mlp2x", "public_ldpnet"])
@pytest.mark.parametrize("native_first", [False, True])
def test_the_parts_for_llama_cpp(name, native_first, tmp_path):
    source = with_336_pixels(GOLDEN / name / "checkpoint", tmp_path)
    given = convert_checkpoint(str(source), tmp_path / "native") if native_first else source
    target = convert_checkpoint(str(given), tmp_path / "parts", format="llama.cpp")
    whole = AutoModelForImageTextToText.from_pretrained(source)

    language_model, info = LlamaForCausalLM.from_pretrained(target / "language_model", output_loading_info=True)
    assert not any(info.values())
    for key, tensor in language_model.model.state_dict().items():
        assert torch.equal(tensor, whole.model.language_model.state_dict()[key])
    assert (target / "language_model" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()

    tower, info = CLIPVisionModel.from_pretrained(target / "vision_tower", output_loading_info=True)
    assert not any(info.values())
    for key, tensor in tower.state_dict().items():
        assert torch.equal(tensor, whole.model.vision_tower.state_dict()[key])
    assert read_json(target / "vision_tower" / "config.json")["mm_vision_select_layer"] == -2

    projector = torch.load(target / "llava.projector", weights_only=True)
    released = {}
    for file in source.glob("*.bin"):
        released |= {k: v for k, v in torch.load(file, weights_only=True).items() if "mm_projector" in k}
    assert projector.keys() == released.keys()
    assert all(torch.equal(projector[key], released[key]) for key in released)


@pytest.mark.parametrize("projector_type", ["mlp", "ldp", "linear"])
def test_projector_names_go_there_and_back(projector_type):
    for name in tiny_model(projector_type).state_dict():
        if "multi_modal_projector" in name:
            assert native_name(released_projector_name(name, projector_type)) == name


# ---- nothing half-written


def test_an_existing_target_is_not_touched(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="exists already: choose another folder, or remove it first"):
        convert_checkpoint(str(GOLDEN / "public_mlp2x" / "checkpoint"), tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


def test_two_conversions_to_one_target_do_not_mix(tmp_path):
    """Who is done first has the target, whole; the other is told."""
    source, target = GOLDEN / "public_mlp2x" / "checkpoint", tmp_path / "native"
    with pytest.raises(FileExistsError), whole_or_nothing(target) as first:
        (first / "one").touch()
        convert_checkpoint(str(source), target)
    assert not (target / "one").exists()
    check_against(source.parent, *load(target))


def test_a_failed_conversion_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk full"), whole_or_nothing(tmp_path / "native"):
        raise OSError("disk full")
    assert not list(tmp_path.iterdir())


def test_a_tower_with_a_missing_weight_is_refused(tmp_path):
    """It would be random."""
    shutil.copytree(GOLDEN / "public_mlp3x" / "checkpoint", tmp_path / "a" / "palo")
    shutil.copytree(SHARED / "clip_tower", tmp_path / "tower")
    weights = load_file(tmp_path / "tower" / "model.safetensors")
    name = next(name for name in weights if "layers.0.mlp.fc1.weight" in name)
    del weights[name]
    save_file(weights, tmp_path / "tower" / "model.safetensors", {"format": "pt"})
    config = read_json(tmp_path / "a" / "palo" / "config.json")
    (tmp_path / "a" / "palo" / "config.json").write_text(
        json.dumps({**config, "mm_vision_tower": str(tmp_path / "tower")})
    )
    with pytest.raises(ValueError, match=r"expected a whole vision tower, found no .*layers.0.mlp.fc1.weight"):
        convert_checkpoint(str(tmp_path / "a" / "palo"), tmp_path / "native")
    with pytest.raises(ValueError, match="expected a whole vision tower"):
        PaloForConditionalGeneration.from_pretrained(tmp_path / "a" / "palo")
    assert not list(tmp_path.glob("native*"))


def test_a_killed_conversion_leaves_nothing_that_looks_whole_and_runs_again(tmp_path, caplog):
    """Killed with -9 while the weights are written: the source is a pipe-slow copy with many shards."""
    source, target = GOLDEN / "public_mlp2x" / "checkpoint", tmp_path / "native"
    code = (
        "import time, transformers_palo.models.palo.export_palo as e\n"
        "flush = e.ShardWriter._flush\n"
        "e.ShardWriter._flush = lambda self: (flush(self), time.sleep(0.3))\n"
        f"e.convert_checkpoint({str(source)!r}, {str(target)!r}, max_shard_bytes=50_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("native.partial-*/shard-*"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    (partial,) = tmp_path.glob("native.partial-*")
    assert not (partial / "config.json").exists(), "what is left is no checkpoint either"
    with caplog.at_level("WARNING"):
        convert_checkpoint(str(source), target)
    # It could be another run's, at work.
    assert partial.exists() and str(partial) in caplog.text
    check_against(source.parent, *load(target))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("public_shared/images", "expected a checkpoint's folder, found no config.json"),
        ("public_lora/base", "Expected a PALO configuration"),
    ],
)
def test_folders_that_are_no_checkpoint_of_ours(tmp_path, source, complaint):
    with pytest.raises(ValueError, match=complaint):
        convert_checkpoint(str(GOLDEN / source), tmp_path / "x")


def test_wrong_weights_stop_the_conversion(tmp_path):
    shutil.copytree(GOLDEN / "public_shared" / "clip_tower", tmp_path / "public_shared" / "clip_tower")
    source = Path(shutil.copytree(GOLDEN / "public_mlp2x" / "checkpoint_safetensors", tmp_path / "models" / "m"))
    weights = load_file(source / "model.safetensors")
    for change, complaint in (
        ({"model.norm.weight": torch.zeros(3)}, r"norm\.weight has shape \(3,\), expected \(64,\)"),
        ({"model.extra.weight": torch.zeros(3)}, r"model\.extra\.weight belongs nowhere"),
    ):
        save_file({**weights, **change}, source / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=complaint):
            convert_checkpoint(str(source), tmp_path / "x")
        assert not (tmp_path / "x").exists()
    weights.pop("lm_head.weight")
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks lm_head\.weight"):
        convert_checkpoint(str(source), tmp_path / "x")
