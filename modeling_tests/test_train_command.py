"""`palo train`: recipes on paper, a run from raw records to a model that loads, and what kill -9 leaves."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from peft import PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from trl import ModelConfig, SFTConfig

from transformers_palo import PaloProcessor
from transformers_palo.cli.main import main
from transformers_palo.data.config import PreparationConfig, SourceConfig, load_config
from transformers_palo.data.prepare import prepare_data
from transformers_palo.hub.publish import NotPublishableError, prepare
from transformers_palo.languages import LANGUAGES
from transformers_palo.training import base, language_model_lora
from transformers_palo.training.arguments import DataArguments, ModelArguments
from transformers_palo.training.checkpoints import MARKER, last_whole_checkpoint, set_broken_aside
from transformers_palo.training.dataset import load_training_data
from transformers_palo.training.estimate import empty_model
from transformers_palo.training.finish import merge_adapter
from transformers_palo.training.lock import locked
from transformers_palo.training.parameters import count_parameters, keep_lora_in_language_model
from transformers_palo.training.plan import format_plan, plan
from transformers_palo.training.recipe import read_recipe
from transformers_palo.training.refused import REFUSED
from transformers_palo.training.run import train

from .card_metadata import card_errors
from .conftest import GOLDEN, SHARED, chat, golden_image, read_json, tiny_model


ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "examples" / "recipes").rglob("*.yaml"))
PALO = (sys.executable, "-m", "transformers_palo.cli.main")


def palo(*arguments: object, **kwargs) -> subprocess.CompletedProcess:
    command = [*PALO, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **kwargs)


# What comes with trl.ModelConfig and trl.SFTConfig (and so with transformers.TrainingArguments), and does what it says here.
HONOURED = set(
    """
    model_name_or_path model_revision dtype attn_implementation use_peft lora_r lora_alpha lora_dropout lora_target_modules
    lora_modules_to_save use_rslora use_dora load_in_8bit load_in_4bit bnb_4bit_quant_type use_bnb_nested_quant
    bnb_4bit_quant_storage model_init_kwargs dataset_num_proc max_length pad_to_multiple_of assistant_only_loss loss_type
    activation_offloading output_dir per_device_train_batch_size num_train_epochs max_steps learning_rate lr_scheduler_type
    lr_scheduler_kwargs warmup_steps optim optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon optim_target_modules
    gradient_accumulation_steps average_tokens_across_devices max_grad_norm bf16 fp16 tf32 activation_checkpointing
    activation_checkpointing_kwargs gradient_checkpointing gradient_checkpointing_kwargs torch_compile torch_compile_backend
    torch_compile_mode neftune_noise_alpha torch_empty_cache_steps logging_strategy logging_steps logging_first_step
    log_on_each_node logging_nan_inf_filter include_num_input_tokens_seen log_level log_level_replica disable_tqdm report_to
    run_name project trackio_space_id trackio_bucket_id trackio_static_space_id eval_strategy eval_steps eval_delay
    per_device_eval_batch_size eval_on_start save_strategy save_steps save_on_each_node save_total_limit
    load_best_model_at_end metric_for_best_model greater_is_better full_determinism seed data_seed use_cpu
    dataloader_drop_last dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers
    dataloader_prefetch_factor dataloader_multiprocessing_context train_sampling_strategy length_column_name
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout fsdp
    fsdp_config deepspeed debug skip_memory_metrics restore_callback_states_from_checkpoint
    """.split()
)
# No effect here, and nobody would expect one: of parts that a recipe cannot have (metrics of one's own, experts, code from
# the Hub), of scripts that ask for them, or overwritten by whoever starts the processes.
HARMLESS = set(
    """
    trust_remote_code router_aux_loss_coef use_cache prediction_loss_only eval_do_concat_batches eval_use_gather_object
    eval_accumulation_steps include_for_metrics batch_eval_metrics do_train do_eval local_rank
    """.split()
)


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


def test_an_adapter_has_the_originals_matrices(lora_run):
    """Names (but for the new layout's), counts, shapes and precision, all recorded from the original's trainer."""
    recorded = read_json(GOLDEN / "public_lora" / "lora_keys.json")
    expected = {name: value for part in ("lora_adapter", "lora_non_lora") for name, value in recorded[part].items()}
    found = Counter()
    with safe_open(lora_run / "adapter" / "adapter_model.safetensors", framework="pt") as file:
        for name in list(file.keys()):
            old = re.sub(r"language_model\.layers\.\d+", "layers.N", name)
            old = old.replace("multi_modal_projector.linear_1", "mm_projector.0")
            old = old.replace("multi_modal_projector.linear_2", "mm_projector.2")
            found[old] += 1
            assert list(file.get_tensor(name).shape) == expected[old]["shape"], name
            assert file.get_tensor(name).dtype == torch.float32, name
    assert found == {name: value["count"] for name, value in expected.items()}


def test_the_card_states_data_recipe_versions_and_metrics(lora_run, prepared):
    card = (lora_run / "model" / "README.md").read_text(encoding="utf-8")
    for words in ("learning_rate", "0.001", "lora_r", "trl", "transformers", prepared.name, "eval_loss", "ar", "hi"):
        assert words in card
    assert "Of 24 records drawn in training (a record counts in each epoch), 0 were left out and 0 cut at 2048" in card
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


@pytest.fixture
def short_run(write_recipe, prepared, tmp_path) -> list[str]:
    """Arguments for a run of one step, in this process, on a copy of the data that a test may spoil."""
    shutil.copytree(prepared, tmp_path / "prepared")
    fields = {**LORA, "dataset": str(tmp_path / "prepared"), "max_steps": 1, "eval_records": 0, "save_steps": 1}
    return ["--config", str(write_recipe(tmp_path / "run", **fields))]


def test_other_records_are_noticed_when_a_run_goes_on(short_run, prepared, tmp_path):
    train(read_recipe(short_run))
    config = yaml.safe_load((prepared.parent / "mixture.yaml").read_text())
    shutil.rmtree(tmp_path / "prepared")
    config["sources"][0]["limit"] = 9
    (tmp_path / "mixture.yaml").write_text(json.dumps({**config, "output_dir": str(tmp_path / "prepared")}))
    prepare_data(load_config(tmp_path / "mixture.yaml"))
    with pytest.raises(ValueError, match=r"run of another recipe or of other data: dataset \(its records\) differs"):
        train(read_recipe(short_run))
    next((tmp_path / "prepared").glob("train-*.parquet")).unlink()
    with pytest.raises(ValueError, match="train-"):
        train(read_recipe(short_run))


def flip_embeddings(folder: Path) -> None:
    """Another model in a file of the same size and header."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("embed_tokens.weight"))
    save_file({**weights, name: weights[name].flip(0)}, path, metadata={"format": "pt"})


def test_a_run_does_not_go_on_with_another_base(short_run, tmp_path):
    """A copy of the folder is the same base, also under other times; the same name with other weights is not."""
    begun = tmp_path / "base"
    tiny_model().save_pretrained(begun)
    PaloProcessor.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint").save_pretrained(begun)
    path = Path(short_run[1])
    recipe = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("language_model", "vision_tower")}
    path.write_text(json.dumps({**recipe, "model_name_or_path": str(begun)}))
    train(read_recipe(short_run))
    # As if it had been killed before it wrote its results.
    shutil.rmtree(tmp_path / "run" / "model")
    for file in begun.iterdir():
        os.utime(file, (1, 1))
    train(read_recipe(short_run))
    shutil.rmtree(tmp_path / "run" / "model")
    flip_embeddings(begun)
    with pytest.raises(ValueError, match="holds a run on another base: weights or configuration of") as refused:
        train(read_recipe(short_run))
    assert "\n" not in str(refused.value)


def test_what_a_base_is_known_by(tmp_path, monkeypatch):
    """Every tensor of a stride, the configuration and the names of files count; who wrote the configuration does not."""
    monkeypatch.setattr(base, "_WHOLE", 2**10)
    monkeypatch.setattr(base, "_STRIDE", 2**12)
    monkeypatch.setattr(base, "_BLOCK", 2**6)
    folder = tmp_path / "model"
    folder.mkdir()
    weights = {f"t{number}": torch.full((2**10,), float(number)) for number in range(8)}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text('{"a": 1, "transformers_version": "5.0.0"}')
    seen = {base.base_identity(str(folder), None)}
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text('{"transformers_version": "6.0.0", "a": 1}')
    assert {base.base_identity(str(tmp_path / "copy"), None)} == seen
    for name in weights:
        save_file({**weights, name: weights[name] + 0.5}, folder / "model.safetensors")
        seen.add(base.base_identity(str(folder), None))
    (folder / "config.json").write_text('{"a": 2}')
    seen.add(base.base_identity(str(folder), None))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    seen.add(base.base_identity(str(folder), None))
    assert len(seen) == 1 + len(weights) + 2


def test_two_runs_in_one_folder_do_not_meet(short_run, tmp_path):
    with locked(tmp_path / "run"), pytest.raises(ValueError, match="another palo train is at work in this folder"):
        train(read_recipe(short_run))
    assert not (tmp_path / "run" / "untrained").exists()


def test_how_the_model_is_loaded_can_be_said(short_run, tmp_path):
    """By a revision of the Hub (here: of its cache), and by model_init_kwargs; the adapter names the revision, too."""
    repository = tmp_path / "hub" / "models--me--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "tuned").write_text("0" * 40)
    tiny_model().save_pretrained(repository / "snapshots" / ("0" * 40))
    PaloProcessor.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint").save_pretrained(
        repository / "snapshots" / ("0" * 40)
    )
    path = Path(short_run[1])
    recipe = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("language_model", "vision_tower")}
    recipe |= {"model_name_or_path": "me/tiny", "model_revision": "tuned", "lora_modules_to_save": ["lm_head"]}
    path.write_text(json.dumps({**recipe, "model_init_kwargs": {"attn_implementation": "eager"}}))
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = palo("train", *short_run, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_json(tmp_path / "run" / "adapter" / "adapter_config.json")["revision"] == "tuned"
    assert read_json(tmp_path / "run" / "recipe.json")["base model (its weights)"] == "0" * 40
    before, after = tiny_model(), AutoModelForImageTextToText.from_pretrained(tmp_path / "run" / "model")
    assert (after.lm_head.weight - before.lm_head.weight).abs().max() > 1e-5
    assert torch.equal(after.model.language_model.embed_tokens.weight, before.model.language_model.embed_tokens.weight)


def test_a_lora_is_merged_in_float32_and_rounded_once(tmp_path):
    tiny_model().save_pretrained(tmp_path / "base")
    adapted = get_peft_model(tiny_model(), language_model_lora(r=4, lora_alpha=8))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=generator)
    adapted.save_pretrained(tmp_path / "adapter")
    merge_adapter(str(tmp_path / "base"), tmp_path / "adapter", tmp_path / "merged", dtype=torch.bfloat16)
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    assert merged.dtype == torch.bfloat16
    exact = adapted.merge_and_unload().state_dict()
    for name, weight in merged.state_dict().items():
        assert torch.equal(weight, exact[name].bfloat16()), name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eval_records", "-3"),
        ("max_length", "-5"),
        ("num_train_epochs", "0"),
        ("per_device_train_batch_size", "0"),
        ("gradient_accumulation_steps", "0"),
        ("declared_num_gpus", "0"),
        ("declared_records", '{"en": -5}'),
        ("declared_records", '{"en": "many"}'),
        ("mixture_temperature", "5"),
        ("max_reject_share", "1.5"),
        ("load_in_4bit", "true"),
        ("chat_template_path", "somewhere"),
        ("packing", "true"),
        ("save_only_model", "true"),
        ("resume_from_checkpoint", "somewhere"),
        ("push_to_hub", "true"),
        ("ignore_data_skip", "true"),
        ("accelerator_config", '{"split_batches": true}'),
        ("learning_rate", "nan"),
        ("declared_records", '{"xx": 5}'),
        ("declared_records", '{"en": 0, "hi": 0}'),
        ("projector_type", "zzz"),
    ],
)
def test_values_that_cannot_be_or_have_no_effect_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        read_recipe(["--model_name_or_path", "somewhere", f"--{field}", value])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": [1]}, "learning_rate: expected 0 or more, found [1]"),
        ({"learning_rate": -0.0001}, "learning_rate: expected 0 or more, found -0.0001"),
        ({"projector_learning_rate": -1.0}, "projector_learning_rate: expected 0 or more, found -1.0"),
        ({"learning_rate": float("inf")}, "learning_rate: expected 0 or more, found inf"),
        ({"dtype": "float12"}, "dtype: expected one of auto, bfloat16, float16, float32, found 'float12'"),
        ({"projector_type": "zzz"}, "projector_type: expected one of mlp, ldp, found 'zzz'"),
        (
            {"per_device_train_batch_size": 1.5},
            "per_device_train_batch_size: expected a whole number, 1 or more, found 1.5",
        ),
        ({"mixture": "weights", "mixture_weights": {"xx": 1}}, "mixture_weights: expected one of en, "),
        (
            {"mixture": "weights", "mixture_weights": {"en": 0}},
            "mixture_weights: expected a weight from 0 for one language",
        ),
        ({"declared_records": {"hi": 1.5}}, "declared_records: expected a number of records for hi, found 1.5"),
        (
            {"declared_records": {}},
            "declared_records: expected a number of records for one language at least, found {}",
        ),
    ],
)
def test_values_in_a_file_are_checked(fields, message, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"model_name_or_path": "somewhere", **fields}))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_recipe(["--config", str(tmp_path / "recipe.yaml")])


def test_a_recipe_that_would_train_the_tower_is_refused_on_paper(tmp_path):
    """As the run itself refuses it."""
    recipe = ROOT / "examples" / "recipes" / "palo-7b" / "stage2.yaml"
    with pytest.raises(ValueError, match="vision tower, such as"):
        plan(read_recipe(["--config", str(recipe), "--lora_modules_to_save", "vision_tower"]))


def test_a_lora_on_a_language_model_that_is_not_trained_is_refused():
    arguments = ["--model_name_or_path", "somewhere", "--use_peft", "true"]
    with pytest.raises(ValueError, match="train_language_model is false"):
        read_recipe([*arguments, "--train_language_model", "false"])


def test_one_suffix_is_a_suffix():
    """trl.ModelConfig takes a single one out of its list, and PEFT reads a text as a regular expression of whole paths."""
    arguments = ["--model_name_or_path", str(GOLDEN / "public_mlp2x" / "checkpoint"), "--use_peft", "true"]
    recipe = read_recipe([*arguments, "--lora_r", "4", "--lora_target_modules", "q_proj"])
    adapted = get_peft_model(tiny_model(), keep_lora_in_language_model(recipe.peft_config, train_projector=True))
    names = {name for name, _ in adapted.named_parameters() if "lora_A" in name}
    assert names and all("language_model" in name and "q_proj" in name for name in names)


def test_languages_that_yaml_takes_for_something_else_are_told(tmp_path):
    (tmp_path / "recipe.yaml").write_text("model_name_or_path: somewhere\ndeclared_records: {no: 5, hi: 3}\n")
    with pytest.raises(ValueError, match="declared_records: expected numbers by language code"):
        read_recipe(["--config", str(tmp_path / "recipe.yaml")])


def test_every_field_that_comes_with_the_classes_is_known():
    """New versions bring new fields: each does what it says, or is refused, or cannot do harm."""
    names = {name for kind in (ModelConfig, SFTConfig) for name in kind.__dataclass_fields__}
    assert not names - HONOURED - HARMLESS - set(REFUSED)
    assert not HONOURED & HARMLESS and not (HONOURED | HARMLESS) & set(REFUSED)


def test_fields_that_are_refused_may_say_what_holds_anyway():
    defaults = ["--hub_strategy", "every_save", "--packing", "false", "--dataloader_in_order", "true"]
    read_recipe(["--model_name_or_path", "somewhere", *defaults])


# ---- interrupted


def start(*arguments: object, **kwargs) -> subprocess.Popen:
    command = [*PALO, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **kwargs})


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.0005)


def test_killed_in_the_middle_of_a_checkpoint_the_run_ends_with_the_same_weights(lora_run, write_recipe, tmp_path):
    """Bit for bit, dropout included."""
    output = tmp_path / "palo-lora"
    recipe = write_recipe(output, **LORA)
    # Its workers live a little longer: they must not keep the folder locked.
    process = start("train", "--config", recipe, "--dataloader_num_workers", 1)
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


def test_stopped_by_a_scheduler_it_says_how_to_go_on(write_recipe, tmp_path):
    recipe = write_recipe(tmp_path / "run", **LORA, max_steps=500)
    process = start("train", "--config", recipe, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "run" / "checkpoint-2" / MARKER, process)
    process.terminate()
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143
    checkpoint = last_whole_checkpoint(tmp_path / "run")
    assert f"\npalo: stopped. The same command goes on from {checkpoint}.\n" in error, error
    assert "Traceback" not in error, error


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
