"""`palo train`: recipes on paper, a run from raw records to a model that loads, and what kill -9 leaves."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from transformers_palo.cli.main import main
from transformers_palo.data.config import PreparationConfig, SourceConfig, load_config
from transformers_palo.data.prepare import prepare_data
from transformers_palo.hub.publish import NotPublishableError, prepare
from transformers_palo.languages import LANGUAGES
from transformers_palo.training.arguments import DataArguments, ModelArguments
from transformers_palo.training.checkpoints import MARKER, last_whole_checkpoint, set_broken_aside
from transformers_palo.training.dataset import load_training_data
from transformers_palo.training.estimate import empty_model
from transformers_palo.training.parameters import count_parameters
from transformers_palo.training.plan import format_plan, plan
from transformers_palo.training.recipe import read_recipe

from .card_metadata import card_errors
from .conftest import GOLDEN, SHARED, chat, golden_image, read_json


ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "examples" / "recipes").rglob("*.yaml"))
PALO = (sys.executable, "-m", "transformers_palo.cli.main")


def palo(*arguments: object, **kwargs) -> subprocess.CompletedProcess:
    command = [*PALO, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **kwargs)


# ---- on paper


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT / "examples" / "recipes")))
def test_every_recipe_can_be_read_and_worked_out(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(["--config", str(path)])
    planned = plan(recipe)
    assert planned.declared
    assert planned.flops is not None and planned.memory.total > 0
    assert {size.part: size.trainable for size in planned.sizes}["vision tower"] == 0
    assert "declared in the recipe, not counted" in format_plan(planned)


def test_the_papers_stages(tmp_path, monkeypatch):
    """The values of the paper and of its released scripts: global batches, learning rates, what is trained."""
    monkeypatch.chdir(tmp_path)
    for size, lora in (("mobilepalo-1.7b", False), ("palo-7b", True), ("palo-13b", True)):
        folder = ROOT / "examples" / "recipes" / size
        first = read_recipe(["--config", str(folder / "stage1.yaml")])
        second = read_recipe(["--config", str(folder / "stage2.yaml")])
        stage1, stage2 = plan(first), plan(second)
        assert [part.part for part in stage1.sizes if part.trainable] == ["projector"]
        assert first.training.learning_rate == 2e-3 and first.data.template == "caption"
        assert 8 * first.training.per_device_train_batch_size * first.training.gradient_accumulation_steps == 256
        assert 8 * second.training.per_device_train_batch_size * second.training.gradient_accumulation_steps == 128
        for recipe in (first, second):
            assert recipe.training.lr_scheduler_type == "cosine" and recipe.training.warmup_steps == 0.03
            assert recipe.training.num_train_epochs == 1 and recipe.training.weight_decay == 0
            assert recipe.training.max_length == 2048 and recipe.checkpointing
        assert stage1.steps == -(-595000 // 256)
        # English 665K and nine times 150K, in batches of 128.
        assert stage2.steps == -(-(665000 + 9 * 150000) // 128)
        assert (second.peft_config is not None) == lora
        if lora:
            assert (second.model.lora_r, second.model.lora_alpha, second.model.lora_dropout) == (128, 256, 0.05)
            assert (second.training.learning_rate, second.training.projector_learning_rate) == (2e-4, 2e-5)
        else:
            assert second.training.learning_rate == 2e-5


def test_sizes_on_paper_are_those_of_the_model_that_is_trained():
    recipe = read_recipe(
        ["--model_name_or_path", str(GOLDEN / "public_mlp2x" / "checkpoint"), "--use_peft", "true", "--lora_r", "4"]
    )
    model = AutoModelForImageTextToText.from_pretrained(recipe.model.model_name_or_path)
    on_paper = count_parameters(empty_model(model.config, recipe.peft_config, recipe.training))
    from peft import get_peft_model

    from transformers_palo.training.parameters import freeze

    freeze(model, train_projector=True, train_language_model=False)
    assert on_paper == count_parameters(get_peft_model(model, recipe.peft_config))


def test_the_ablations_differ_in_their_language_alone():
    """The paper's Table 2."""
    texts = set()
    for path in (ROOT / "examples" / "recipes" / "ablation").glob("*.yaml"):
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        weights = recipe.pop("mixture_weights")
        assert weights == {language.code: int(language.code == path.stem) for language in LANGUAGES}
        texts.add(json.dumps(recipe).replace(f"ablation-{path.stem}", "ablation-LANGUAGE"))
        planned = plan(read_recipe(["--config", str(path)]))
        drawn = {code: draws for code, _, draws, _ in planned.mixture if draws}
        assert drawn == {path.stem: 665_000 if path.stem == "en" else 150_000}
        assert planned.steps == 1172 == math.ceil(150_000 / (16 * 8))
    assert len(texts) == 1
    # Their data is what the data recipe of stage 2 writes.
    data = yaml.safe_load((ROOT / "examples" / "data" / "instructions.yaml").read_text(encoding="utf-8"))
    assert recipe["dataset"] == data["output_dir"]


def test_a_language_that_is_never_drawn_is_not_counted_as_trained_on(tmp_path):
    """The model's card names the languages that are counted here."""
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    rows = [
        {"id": str(n), "language": code, "conversations": turns} for n, code in enumerate(("en", "en", "hi", "ur"))
    ]
    (tmp_path / "records.json").write_text(json.dumps(rows))
    source = SourceConfig(path=str(tmp_path / "records.json"), language_field="language")
    prepare_data(PreparationConfig(output_dir=str(tmp_path / "prepared"), sources=[source]))
    weights = {"en": 1, "hi": 0, "ur": 2}
    chosen = DataArguments(dataset=str(tmp_path / "prepared"), mixture="weights", mixture_weights=weights)
    data = load_training_data(chosen)
    assert data.counts == {"en": 2, "ur": 1} and data.drawn == {"en": 1, "ur": 2}


def test_dry_run_needs_neither_weights_nor_data_nor_network(tmp_path):
    recipe = ROOT / "examples" / "recipes" / "palo-7b" / "stage2.yaml"
    chosen = ("--mixture", "temperature", "--mixture_temperature", "2")
    done = palo("train", "--config", recipe, "--dry-run", *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # 128 x (inputs + outputs) over the seven linear layers of 32 blocks, and the projector.
    lora = 128 * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008))
    assert f"{lora:,}" in done.stdout and f"{20979712:,}" in done.stdout
    assert "15,743 of 128 records" in done.stdout
    assert "language model 0.0002, projector 2e-05" in done.stdout
    assert "GiB estimated" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml: expected a recipe (YAML), found no such file"),
        (["--config", "list.yaml"], "expected fields with values"),
        (["--config", "broken.yaml"], "expected YAML"),
        (["--config", "unknown.yaml"], "no such field: learning_speed"),
        (["--config", "good.yaml", "--learning_speed", "1"], "--learning_speed"),
        (["--config", "good.yaml", "--max_steps", "many"], "invalid int value: 'many'"),
        (["--config", "good.yaml", "--template", "poem"], "invalid choice: 'poem'"),
        (["--config", "good.yaml", "--language_model", "other"], "found both"),
        (["--config", "good.yaml"], "expected a data set that `palo data prepare` has finished"),
        (["--config", "good.yaml", "--dry-run", "--model_size", "7b"], "declared_records"),
    ],
)
def test_mistakes_get_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    good = "model_name_or_path: somewhere\ndataset: nothing-there\n"
    (tmp_path / "good.yaml").write_text(good)
    (tmp_path / "unknown.yaml").write_text(f"{good}learning_speed: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["palo", "train", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert message in error, error
    assert error.count("\n") == 1 and error.startswith("palo: error: ")


def test_new_models_name_their_parts():
    with pytest.raises(ValueError, match="vision_tower is missing"):
        ModelArguments(language_model="somewhere")
    with pytest.raises(ValueError, match="found neither"):
        ModelArguments()


# ---- a run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """The golden records, prepared."""
    folder = tmp_path_factory.mktemp("data")
    sources = [
        {"path": str(SHARED / "train_records.json"), "image_root": str(SHARED / "images"), "language": "detect"}
    ]
    config = {"output_dir": str(folder / "prepared"), "sources": sources, "max_reject_share": 0.5}
    (folder / "mixture.yaml").write_text(json.dumps(config))
    prepare_data(load_config(folder / "mixture.yaml"))
    return folder / "prepared"


@pytest.fixture(scope="module")
def write_recipe(prepared, tmp_path_factory):
    """Writes a recipe; its run begins with a language model, a tower and a new projector."""
    folder = tmp_path_factory.mktemp("recipes")

    def write(output: Path, **fields) -> Path:
        recipe = {
            "language_model": str(GOLDEN / "public_lora" / "base"),
            "vision_tower": str(SHARED / "clip_tower"),
            "dataset": str(prepared),
            "output_dir": str(output),
            "max_steps": 6,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "eval_records": 5,
            "save_steps": 2,
            "logging_steps": 2,
            "report_to": "none",
            "dataloader_num_workers": 0,
            "use_cpu": True,
        }
        path = folder / f"{output.name}.yaml"
        path.write_text(json.dumps({**recipe, **fields}))
        return path

    return write


LORA = {"use_peft": True, "lora_r": 4, "lora_alpha": 8}


@pytest.fixture(scope="module")
def lora_run(write_recipe, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "palo-lora"
    done = palo("train", "--config", write_recipe(output, **LORA))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Wrote {output / 'model'}" in done.stdout
    return output


def logits(model, processor) -> torch.Tensor:
    inputs = processor.apply_chat_template(
        chat("What is the color of the boat?", golden_image("square")),
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
    )
    with torch.no_grad():
        return model.eval()(**inputs).logits


def test_the_adapter_and_the_merged_model_answer_alike(lora_run):
    """By `from_pretrained` and by `PeftModel`."""
    processor = AutoProcessor.from_pretrained(lora_run / "model")
    merged = AutoModelForImageTextToText.from_pretrained(lora_run / "model")
    expected = logits(merged, processor)
    base = AutoModelForImageTextToText.from_pretrained(lora_run / "untrained")
    untrained = logits(base, processor)
    assert (expected - untrained).abs().max() > 0.01
    adapted = PeftModel.from_pretrained(base, str(lora_run / "adapter"))
    torch.testing.assert_close(logits(adapted, processor), expected, atol=1e-4, rtol=0)
    # The folder names its base, so Transformers finds it.
    automatic = AutoModelForImageTextToText.from_pretrained(lora_run / "adapter")
    torch.testing.assert_close(logits(automatic, processor), expected, atol=1e-4, rtol=0)


def test_a_run_leaves_native_safetensors_and_no_pickle(lora_run):
    for folder in ("model", "adapter"):
        files = {path.name for path in (lora_run / folder).iterdir()}
        assert {"README.md", "chat_template.jinja", "generation_config.json", "processor_config.json"} <= files
        assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
        GenerationConfig.from_pretrained(lora_run / folder)
    with safe_open(lora_run / "model" / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert "model.multi_modal_projector.linear_1.weight" in names
    assert "model.language_model.layers.0.self_attn.q_proj.weight" in names
    with safe_open(lora_run / "adapter" / "adapter_model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert any("multi_modal_projector" in name for name in names)
    assert not any("vision_tower" in name for name in names)


def test_the_card_states_data_recipe_versions_and_metrics(lora_run, prepared):
    card = (lora_run / "model" / "README.md").read_text(encoding="utf-8")
    for words in ("learning_rate", "0.001", "lora_r", "trl", "transformers", prepared.name, "eval_loss", "ar", "hi"):
        assert words in card
    assert str(lora_run) not in card and str(GOLDEN) not in card
    assert "max_steps" in card and "num_train_epochs" not in card
    merged = AutoModelForImageTextToText.from_pretrained(lora_run / "model")
    assert f"| Parameters | {merged.num_parameters():,} |" in card
    assert "from a data set of" in card and "| processes | 1 |" in card and "| global batch size |" in card
    assert "The terms of the model that it was made from" in card
    # Most of the golden records are English.
    assert "What is in this picture?" in card


def test_the_hub_takes_what_a_run_leaves(lora_run, tmp_path):
    """The model as it is, with its own answers in its card; the adapter once its base model has an id there."""
    for name in ("model", "adapter"):
        card = (lora_run / name / "README.md").read_text(encoding="utf-8")
        assert card_errors(card) == []
        modes = {path.stat().st_mode & 0o777 for path in (lora_run / name).iterdir() if path.is_file()}
        assert len(modes) == 1
    publication = prepare(lora_run / "model", "user/trained")
    assert card_errors(publication.card) == []
    widget = ModelCard(publication.card).data.widget
    assert widget[0]["example_title"] == "English" and all("text" in example["output"] for example in widget)
    assert "## Examples" in publication.card
    with pytest.raises(NotPublishableError) as refused:
        prepare(lora_run / "adapter", "user/adapter")
    assert any("is no id on the Hub" in problem for problem in refused.value.problems)


def test_a_finished_run_is_left_alone(lora_run, write_recipe):
    before = (lora_run / "model" / "model.safetensors").stat().st_mtime_ns
    done = palo("train", "--config", write_recipe(lora_run, **LORA))
    assert done.returncode == 0
    assert "is finished" in done.stderr
    assert (lora_run / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_another_recipe_needs_another_folder(lora_run, write_recipe):
    done = palo("train", "--config", write_recipe(lora_run, **LORA), "--learning_rate", "1e-4", "--logging_steps", "1")
    assert done.returncode == 1
    assert "learning_rate was 0.001, is 0.0001" in done.stderr
    assert "logging_steps" not in done.stderr


def test_the_first_stage_from_parts_and_the_second_from_its_result(write_recipe, tmp_path):
    first = palo(
        "train",
        "--config",
        write_recipe(tmp_path / "stage1", template="caption", train_language_model=False, max_steps=2),
    )
    assert first.returncode == 0, first.stderr[-3000:]
    path = write_recipe(tmp_path / "stage2", max_steps=2, model_name_or_path=str(tmp_path / "stage1" / "model"))
    recipe = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("language_model", "vision_tower")}
    path.write_text(json.dumps(recipe))
    second = palo("train", "--config", path)
    assert second.returncode == 0, second.stderr[-3000:]
    before = AutoModelForImageTextToText.from_pretrained(tmp_path / "stage1" / "untrained").state_dict()
    stage1 = AutoModelForImageTextToText.from_pretrained(tmp_path / "stage1" / "model").state_dict()
    stage2 = AutoModelForImageTextToText.from_pretrained(tmp_path / "stage2" / "model").state_dict()
    assert {n.split(".")[1] for n in before if not torch.equal(before[n], stage1[n])} == {"multi_modal_projector"}
    changed = {n for n in stage1 if not torch.equal(stage1[n], stage2[n])}
    assert {n.split(".")[1] for n in changed} == {
        "multi_modal_projector",
        "language_model",
        "weight",
    }  # lm_head.weight
    assert not (tmp_path / "stage2" / "adapter").exists()
    assert read_json(tmp_path / "stage2" / "model" / "config.json")["use_cache"] is True


def test_qlora_from_the_command(write_recipe, tmp_path):
    """The merged model is in full precision."""
    recipe = write_recipe(tmp_path / "qlora", **LORA, load_in_4bit=True, max_steps=2, eval_records=0)
    done = palo("train", "--config", recipe)
    assert done.returncode == 0, done.stderr[-3000:]
    config = read_json(tmp_path / "qlora" / "model" / "config.json")
    assert "quantization_config" not in config
    AutoModelForImageTextToText.from_pretrained(tmp_path / "qlora" / "model")


def test_a_start_that_failed_does_not_claim_the_folder(write_recipe, tmp_path):
    recipe = write_recipe(tmp_path / "run", dataset=str(tmp_path / "nothing"))
    done = palo("train", "--config", recipe)
    assert done.returncode == 1
    assert "expected a data set" in done.stderr
    assert not (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eval_records", "-3"),
        ("max_length", "-5"),
        ("num_train_epochs", "0"),
        ("declared_num_gpus", "0"),
        ("mixture_temperature", "5"),
        ("chat_template_path", "somewhere"),
    ],
)
def test_values_that_cannot_be_or_have_no_effect_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        read_recipe(["--model_name_or_path", "somewhere", f"--{field}", value])


# ---- interrupted


def start(*arguments: object) -> subprocess.Popen:
    command = [*PALO, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.0005)


def test_killed_in_the_middle_of_a_checkpoint_the_run_ends_with_the_same_weights(lora_run, write_recipe, tmp_path):
    """Bit for bit, dropout included."""
    output = tmp_path / "palo-lora"
    recipe = write_recipe(output, **LORA)
    process = start("train", "--config", recipe)
    wait_for(output / "checkpoint-4", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "checkpoint-4" / MARKER).exists(), "killed too late to say anything"
    assert (output / "checkpoint-2" / MARKER).exists()

    done = palo("train", "--config", recipe)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "checkpoint-4 was not written to its end" in done.stderr
    assert "Going on from" in done.stderr and "checkpoint-2" in done.stderr
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert (output / name).read_bytes() == (lora_run / name).read_bytes(), name
    losses = [
        [entry["loss"] for entry in read_json(folder / "trainer_state.json")["log_history"] if "loss" in entry]
        for folder in (output, lora_run)
    ]
    assert losses[0] == losses[1]


def test_killed_while_results_are_written_the_run_writes_them_anew(lora_run, write_recipe, tmp_path):
    output = tmp_path / "palo-lora"
    recipe = write_recipe(output, **LORA)
    process = start("train", "--config", recipe)
    wait_for(output / "model.partial", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "model").exists(), "killed too late to say anything"
    done = palo("train", "--config", recipe)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (output / "model.partial").exists()
    assert (output / "model" / "model.safetensors").read_bytes() == (
        lora_run / "model" / "model.safetensors"
    ).read_bytes()


def test_only_whole_checkpoints_count(tmp_path):
    for step in (2, 10, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 10:
            (tmp_path / f"checkpoint-{step}" / MARKER).touch()
    (tmp_path / "checkpoint-notes").mkdir()
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert set_broken_aside(tmp_path) == [tmp_path / "incomplete-checkpoint-10"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-notes",
        "incomplete-checkpoint-10",
    ]
    assert last_whole_checkpoint(tmp_path / "nowhere") is None
