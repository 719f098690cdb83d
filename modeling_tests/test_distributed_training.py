"""Two processes give what one gives, also where one of them has text alone.

DDP through `accelerate launch`; FSDP2 by torch itself, because Accelerate has none on a CPU.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from transformers_palo.data.config import load_config
from transformers_palo.data.prepare import prepare_data

from .conftest import GOLDEN, SHARED, read_json


SCRIPTS = Path(__file__).parent / "distributed"
ACCELERATE = Path(__file__).parents[1] / "examples" / "accelerate"
DOCS = Path(__file__).parents[1] / "docs"
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1")
PLAIN = ("--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1")


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


@pytest.fixture(scope="module")
def ddp(tmp_path_factory) -> Path:
    """One process that accumulates twice, and two processes. The script asserts how many there are."""
    output = tmp_path_factory.mktemp("ddp")
    script = SCRIPTS / "train_script.py"
    run(*LAUNCH, "--cpu", "--num_processes", 1, *PLAIN, script, output / "one", 1)
    # With --cpu, Accelerate would start a single process.
    run(*LAUNCH, "--multi_gpu", "--num_processes", 2, *PLAIN, script, output / "two", 2)
    return output


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_two_processes_train_what_one_trains(ddp, kind):
    one, two = (load_file(ddp / count / kind / "weights.safetensors") for count in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        assert (weights - two[name]).abs().max().item() <= 1e-6, name


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_two_processes_log_what_one_logs(ddp, kind):
    """Losses and tokens by language, and what became of records, are summed over processes."""
    one, two = (read_json(ddp / count / kind / "history.json") for count in ("one", "two"))
    compared = set()
    for entry, other in zip(one, two, strict=True):
        for name in entry:
            if name in ("loss", "eval_loss") or ("/" in name and not name.startswith("eval_records/")):
                assert entry[name] == pytest.approx(other[name], abs=1e-5), name
                compared.add(name)
    assert {"loss", "loss/zh", "records/truncated", "eval_loss", "eval_loss/ur"} <= compared
    assert one[-2]["records/seen"] == 16 and one[-2]["records/truncated"] > 0


def test_the_guides_command_for_two_processes_on_a_cpu(tmp_path):
    """As it stands in docs/training.md, but for the recipe. Nobody is told to change a setting of DDP."""
    guide = (DOCS / "training.md").read_text(encoding="utf-8").replace("\\\n", " ")
    command = shlex.split(re.search(r"^accelerate launch --multi_gpu .*$", guide, re.MULTILINE)[0])
    source = {"path": str(SHARED / "train_records.json"), "image_root": str(SHARED / "images"), "language": "detect"}
    (tmp_path / "mixture.yaml").write_text(
        json.dumps({"output_dir": str(tmp_path / "prepared"), "sources": [source], "max_reject_share": 0.5})
    )
    prepare_data(load_config(tmp_path / "mixture.yaml"))
    recipe = {
        "model_name_or_path": str(GOLDEN / "public_mlp2x" / "checkpoint"),
        "dataset": str(tmp_path / "prepared"),
        "output_dir": str(tmp_path / "run"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "gradient_checkpointing": False,
        "use_peft": True,
        "lora_r": 4,
        "logging_steps": 1,
        "report_to": "none",
        "dataloader_num_workers": 0,
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    command[command.index("--config") + 1] = str(tmp_path / "recipe.yaml")
    error = run(sys.executable, "-m", "accelerate.commands.launch", *command[2:])
    assert read_json(tmp_path / "run" / "trainer_state.json")["log_history"][-1]["records/seen"] == 2 * 2 * 2
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert "find_unused_parameters" not in error


@pytest.fixture(scope="module")
def fsdp(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("fsdp")
    # The script asserts two processes and that every parameter is a DTensor.
    run(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", 2, SCRIPTS / "fsdp_script.py", output)
    return output


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_fully_sharded_training_is_that_of_one_process(fsdp, kind):
    result = json.loads((fsdp / kind / "result.json").read_text())
    assert result["sharded"] == pytest.approx(result["expected"], abs=1e-5)
    assert result["difference"] <= 1e-6, result["worst"]


@pytest.mark.parametrize("name", ["one_gpu", "ddp", "fsdp2", "zero2", "zero3"])
def test_accelerate_reads_the_configurations(name):
    """Accelerate refuses a file with a field that it does not know."""
    from accelerate.commands.config.config_args import load_config_from_file

    path = ACCELERATE / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.mixed_precision == "bf16"
    assert str(config.distributed_type.value) == yaml.safe_load(path.read_text())["distributed_type"]
