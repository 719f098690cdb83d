"""`palo convert` and `from_pretrained` on what is damaged, incomplete, or more than a format can express: one line each."""

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from transformers_palo import PaloConfig, PaloForConditionalGeneration, PaloModel
from transformers_palo.models.palo.export_palo import convert_checkpoint
from transformers_palo.models.palo.llama_cpp_palo import check_llama_cpp_can_express

from .conftest import GOLDEN, SHARED, read_json, tiny_config


LORA = GOLDEN / "public_lora" / "checkpoint"
BASE = str(GOLDEN / "public_lora" / "base")
PALO = Path(sys.executable).with_name("palo")
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


# ---- llama.cpp


@pytest.mark.parametrize("size", ["1.7b", "7b", "13b"])
def test_llama_cpp_takes_the_papers_models(size):
    check_llama_cpp_can_express(PaloConfig.from_size(size))


@pytest.mark.parametrize(
    ("config", "obstacle"),
    [
        ({"projector_type": "linear"}, "a projector of type 'linear', expected 'mlp' or 'ldp'"),
        ({"projector_num_layers": 3}, "an MLP projector of 3 layers, expected 2"),
        ({"projector_num_layers": 1}, "an MLP projector of 1 layers, expected 2"),
        ({"projector_hidden_act": "relu"}, "without bias or with another activation than GELU"),
        ({"multimodal_projector_bias": False}, "without bias or with another activation than GELU"),
        ({"projector_type": "ldp"}, "an LDP projector over 4 x 4 patches, expected 24 x 24"),
        (
            {"projector_type": "ldp", "vision": {"image_size": 336, "layer_norm_eps": 1e-6}},
            "under a tower with layer_norm_eps 1e-06, expected 1e-05",
        ),
        ({"vision_feature_select_strategy": "full"}, "the class token among the image features"),
        ({"vision_feature_layer": [-2, -1]}, r"features of the layers \[-2, -1\] side by side, expected one layer"),
        ({"vision": {"hidden_act": "relu"}}, "a vision tower with the activation 'relu'"),
        ({"vision": {"model_type": "siglip_vision_model"}}, "a vision tower of type 'siglip_vision_model'"),
        ({"text": {"model_type": "qwen3", "head_dim": 16}}, "a language model of type 'qwen3', expected 'llama'"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(config, obstacle):
    """Its converter takes most of these without a word; then the graph leaves a layer out, or stops."""
    with pytest.raises(ValueError, match=rf"llama\.cpp cannot run this model: it has .*{obstacle}"):
        check_llama_cpp_can_express(tiny_config(**config))


@pytest.mark.parametrize("name", ["public_linear", "public_mlp3x", "public_ldpnet"])
def test_a_refused_export_writes_nothing(name, tmp_path):
    with pytest.raises(ValueError, match=r"llama\.cpp cannot run this model"):
        convert_checkpoint(str(GOLDEN / name / "checkpoint"), tmp_path / "x", format="llama.cpp")
    assert not list(tmp_path.iterdir())


# ---- damaged LoRA folders


@pytest.fixture
def lora(tmp_path) -> Path:
    shutil.copytree(SHARED / "clip_tower", tmp_path / "public_shared" / "clip_tower")
    return Path(shutil.copytree(LORA, tmp_path / "models" / "lora"))


def refusal(here, folder: Path, *options: str) -> str:
    target = folder.parent / "native"
    code, out, err = here("convert", str(folder), str(target), "--base-model", BASE, *options)
    assert (code, out) == (1, "")
    assert not list(folder.parent.glob("native*"))
    (line,) = [line for line in err.splitlines() if "Converting" not in line]
    return line


@pytest.mark.parametrize("options", [[], ["--keep-adapter"]])
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({Q_PROJ.format("A"): None}, "found no lora_A for model.language_model.layers.0.self_attn.q_proj.weight"),
        ({Q_PROJ.format("B"): None}, "found no lora_B for model.language_model.layers.0.self_attn.q_proj.weight"),
        (
            {Q_PROJ.format("A"): torch.zeros(8, 64)},
            "expected updates of rank 4 (r in adapter_config.json), found lora_A",
        ),
        ({Q_PROJ.format("B"): torch.zeros(64)}, "expected updates of rank 4 (r in adapter_config.json), found lora_A"),
    ],
)
def test_weights_of_a_lora_that_do_not_fit_together(here, lora, change, complaint, options):
    weights = torch.load(lora / "adapter_model.bin", weights_only=True) | change
    torch.save({name: tensor for name, tensor in weights.items() if tensor is not None}, lora / "adapter_model.bin")
    assert complaint in refusal(here, lora, *options)


def test_a_lora_without_weights(here, lora):
    torch.save({}, lora / "adapter_model.bin")
    assert "expected LoRA weights, found none" in refusal(here, lora)


@pytest.mark.parametrize("file", ["adapter_model.bin", "non_lora_trainables.bin"])
def test_a_file_of_something_else(here, lora, file):
    torch.save([torch.zeros(2)], lora / file)
    assert f"{file}: expected a state dict of tensors, found list" in refusal(here, lora)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"r": None}, "expected r, a whole number from 1, and lora_alpha, a number; found r None and lora_alpha 8"),
        ({"r": 0}, "found r 0"),
        ({"r": "4"}, "found r '4'"),
        ({"lora_alpha": None}, "found r 4 and lora_alpha None"),
        ({"peft_type": None}, "expected a plain LoRA adapter as PALO's training writes it, found None"),
        ({"peft_type": "IA3"}, "expected a plain LoRA adapter as PALO's training writes it, found 'IA3'"),
    ],
)
def test_the_settings_of_a_lora(here, lora, change, complaint):
    config = {k: v for k, v in (read_json(lora / "adapter_config.json") | change).items() if v is not None}
    (lora / "adapter_config.json").write_text(json.dumps(config))
    assert complaint in refusal(here, lora)


@pytest.mark.parametrize(("content", "complaint"), [("{", "expected JSON"), ("[]", "found 'list'")])
def test_settings_of_a_lora_that_are_none(here, lora, content, complaint):
    (lora / "adapter_config.json").write_text(content)
    assert complaint in refusal(here, lora)


@pytest.mark.parametrize("file", ["adapter_model.bin", "non_lora_trainables.bin"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_in_a_lora(here, lora, file, value):
    weights = torch.load(lora / file, weights_only=True)
    name = sorted(weights)[0]
    weights[name].view(-1)[3] = value
    torch.save(weights, lora / file)
    line = refusal(here, lora)
    assert f"{file}: expected finite numbers, found NaN or infinity in {name}" in line


def test_a_merge_that_leaves_the_range_of_its_precision(here, lora):
    """Finite updates on a finite base, in float32; what would be written is infinite."""
    weights = torch.load(lora / "adapter_model.bin", weights_only=True)
    weights[Q_PROJ.format("A")] = torch.full_like(weights[Q_PROJ.format("A")], 1e30)
    weights[Q_PROJ.format("B")] = torch.full_like(weights[Q_PROJ.format("B")], 1e30)
    torch.save(weights, lora / "adapter_model.bin")
    code, _, err = here("convert", str(lora), str(lora.parent / "native"), "--base-model", BASE)
    assert code == 1
    weight = "model.language_model.layers.0.self_attn.q_proj.weight as merged (float32)"
    # The first lines are the progress bar's.
    assert f"expected finite numbers, found NaN or infinity in {weight}" in err.splitlines()[-1]
    assert not list(lora.parent.glob("native*"))


def test_a_lora_that_is_its_own_base_model(here, lora):
    code, out, err = here("convert", str(lora), str(lora.parent / "native"), "--base-model", str(lora))
    assert (code, out) == (1, "")
    line = err.splitlines()[-1]
    assert f"--base-model {lora}: expected a whole language model, found no weights" in line
    assert not list(lora.parent.glob("native*"))


# ---- a missing tokenizer


def beside_its_tower(folder: Path, tmp_path: Path, ignore=None) -> Path:
    shutil.copytree(SHARED / "clip_tower", tmp_path / "public_shared" / "clip_tower", dirs_exist_ok=True)
    return Path(shutil.copytree(folder, tmp_path / "models" / "source", ignore=ignore))


def without_tokenizer(folder: Path, tmp_path: Path) -> Path:
    return beside_its_tower(folder, tmp_path, ignore=shutil.ignore_patterns("tokenizer*", "special_tokens_map*"))


def test_a_checkpoint_without_its_tokenizer(here, tmp_path):
    source = without_tokenizer(GOLDEN / "public_mlp2x" / "checkpoint", tmp_path)
    for arguments in (("convert", str(source), str(tmp_path / "native")), ("ask", "Was?", "--model", str(source))):
        code, _, err = here(*arguments)
        assert code == 1
        assert (
            f"{source}: expected a tokenizer (tokenizer.json or tokenizer.model), found none" in err.splitlines()[-1]
        )


def test_a_base_model_without_its_tokenizer(here, lora, tmp_path):
    base = without_tokenizer(Path(BASE), tmp_path)
    code, _, err = here("convert", str(lora), str(tmp_path / "native"), "--base-model", str(base))
    assert code == 1
    assert f"{base}: expected a tokenizer (tokenizer.json or tokenizer.model), found none" in err.splitlines()[-1]


# ---- a configuration that is none


@pytest.mark.parametrize(("content", "found"), [("[]", "list"), ('"palo"', "str"), ("3", "int"), ("null", "NoneType")])
def test_a_configuration_that_is_no_object(here, tmp_path, content, found):
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(content)
    expected = rf"config\.json: expected a JSON object of settings, found {found}"
    for load in (PaloConfig.from_pretrained, PaloForConditionalGeneration.from_pretrained):
        with pytest.raises(ValueError, match=expected):
            load(source)
    for arguments in (("convert", str(source), str(tmp_path / "native")), ("ask", "Was?", "--model", str(source))):
        code, _, err = here(*arguments)
        assert code == 1
        assert re.search(expected, err.splitlines()[-1]), err


def test_an_image_mode_that_palo_does_not_have(here, tmp_path):
    """LLaVA-1.6's tiles: converted as if they were cropping, answers would only be worse."""
    source = beside_its_tower(GOLDEN / "public_mlp2x" / "checkpoint", tmp_path)
    config = {**read_json(source / "config.json"), "model_type": "llava", "image_aspect_ratio": "anyres"}
    (source / "config.json").write_text(json.dumps(config))
    code, _, err = here("convert", str(source), str(tmp_path / "native"))
    assert code == 1
    assert "expected image_aspect_ratio 'pad', 'crop' or 'square', found 'anyres'" in err.splitlines()[-1]
    assert not (tmp_path / "native").exists()


def test_settings_of_a_lora_that_merging_does_not_need(lora, tmp_path):
    config = read_json(lora / "adapter_config.json")
    (lora / "adapter_config.json").write_text(json.dumps({k: config[k] for k in ("peft_type", "r", "lora_alpha")}))
    for keep_adapter in (False, True):
        target = convert_checkpoint(
            str(lora), tmp_path / str(keep_adapter), base_model=BASE, keep_adapter=keep_adapter
        )
        assert (target / "config.json").is_file()


# ---- a full disk


def limited_to(num_bytes: int, *arguments: str) -> subprocess.CompletedProcess:
    """`palo` in a process whose files cannot grow larger, as on a disk that is full."""
    return subprocess.run(
        [PALO, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes)),
    )


@pytest.mark.parametrize(
    ("num_bytes", "options", "stopped_at"),
    [
        (100_000, [], "shard-0"),
        (100_000, ["--format", "llava"], "shard-0"),
        (100_000, ["--format", "llama.cpp"], "language_model/shard-0"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, num_bytes, options, stopped_at):
    target = tmp_path / "native"
    result = limited_to(num_bytes, "convert", str(GOLDEN / "public_mlp2x" / "checkpoint"), str(target), *options)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("palo: error:")]
    assert f"{stopped_at} could not be written" in line
    assert "File too large" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "write",
    [
        "torch.save(dict(a=torch.zeros(9999)), path)",
        "save_file(dict(a=torch.zeros(9999)), path)",
        "write_json(path, 'x' * 9999)",
        "path.write_bytes(bytes(9999))",
        "Tokenizer(WordLevel(dict(zip(map(str, range(9999)), range(9999))))).save(str(path))",
    ],
)
def test_every_way_of_writing_says_what_stopped_it(tmp_path, write):
    code = (
        "import resource, torch; from pathlib import Path\n"
        "from safetensors.torch import save_file; from tokenizers import Tokenizer\n"
        "from tokenizers.models import WordLevel\n"
        "from transformers_palo.models.palo.writing_palo import write_json, writing\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        f"path = Path({str(tmp_path / 'file')!r})\n"
        "try:\n"
        f"    with writing(path): {write}\n"
        "except OSError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{tmp_path / 'file'} could not be written (" in result.stdout, result.stderr
    assert result.stdout.count("\n") == 1


# ---- loading what is only a part


@pytest.mark.parametrize(
    "load",
    [
        AutoModelForImageTextToText.from_pretrained,
        PaloForConditionalGeneration.from_pretrained,
        PaloModel.from_pretrained,
    ],
)
@pytest.mark.parametrize(
    ("folder", "holds", "base"),
    [
        (LORA, "a LoRA", "public_lora/base"),
        (GOLDEN / "public_mlp2x" / "stage1", "the projector of a first stage", "LANGUAGE_MODEL"),
    ],
)
def test_a_part_loaded_as_a_whole_names_the_command(load, folder, holds, base):
    expected = f"{folder} holds {holds} and no language model.* palo convert {folder} NEW_FOLDER --base-model {base}"
    with pytest.raises(OSError, match=expected):
        load(folder)


def test_a_folder_without_anything_is_told_as_before(tmp_path):
    shutil.copy(GOLDEN / "public_mlp2x" / "checkpoint_safetensors" / "config.json", tmp_path)
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        PaloForConditionalGeneration.from_pretrained(tmp_path, config=tiny_config())


def test_palo_ask_of_a_part(here):
    code, _, err = here("ask", "Was?", "--model", str(LORA), "--device", "cpu")
    assert code == 1
    assert f"palo convert {LORA} NEW_FOLDER --base-model public_lora/base" in err.splitlines()[-1]


def test_an_adapter_is_not_kept_beside_what_cannot_load_it(tmp_path):
    """llama.cpp's commands would make a model of the base alone, without the LoRA."""
    with pytest.raises(ValueError, match="format cannot hold an adapter"):
        convert_checkpoint(str(LORA), tmp_path / "out", base_model=BASE, keep_adapter=True, format="llama.cpp")
    assert not (tmp_path / "out").exists()
