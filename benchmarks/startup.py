"""What it costs to begin: importing the package, loading a checkpoint, converting one.

python -m benchmarks.startup --size small 1.7b
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from transformers_palo import PaloConfig
from transformers_palo.models.palo.key_map_palo import native_name, released_projector_name

from .common import Report, in_turn, palo_config, random_palo, scratch, write_tokenizer


# Runs in an interpreter of its own, so that peaks are its own: VmHWM starts anew with the program, unlike getrusage's,
# which a child inherits. RssAnon leaves out pages of mapped files, which the system takes back when it needs them.
CHILD = """
import json, threading, time
def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 2**20
def watch():
    global own_peak
    while True:
        own_peak = max(own_peak, status("RssAnon"))
        time.sleep(0.005)
own_peak = 0
{setup}
before = status("VmHWM")
threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
print(json.dumps(dict(seconds=seconds, peak=status("VmHWM"), own_peak=own_peak, before=before)))
"""


def run(code: str, setup: str = "") -> dict[str, float]:
    """Seconds, and resident memory in GiB: the peak, the peak without mapped files, and what there was before."""
    result = subprocess.run(
        [sys.executable, "-c", CHILD.format(setup=setup, code=code)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def imports(report: Report) -> None:
    rows = []
    for name, setup, code in (
        ("transformers.processing_utils", "", "import transformers.processing_utils"),
        ("transformers_palo", "", "import transformers_palo"),
        ("transformers_palo over it", "import transformers.processing_utils", "import transformers_palo"),
    ):
        seconds = [run(code, setup)["seconds"] for _ in range(7)]
        rows.append([name, f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"])
    report.text("## Import", "Seven new interpreters each, files in the system's cache.")
    report.table(["", "time"], rows)


def write_released(folder: Path, size: str) -> None:
    """A checkpoint in the layout of the release: sharded fp16 `.bin`, flat config, tower among the weights."""
    folder.mkdir(parents=True)
    config = palo_config(size, "ldp")
    model = random_palo(config, "cpu", torch.float16)
    released = released_names(model.state_dict())
    shards: list[dict[str, torch.Tensor]] = [{}]
    for name, tensor in released.items():
        if sum(part.numel() for part in shards[-1].values()) > 500e6:
            shards.append({})
        shards[-1][name] = tensor
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"pytorch_model-{number:05d}-of-{len(shards):05d}.bin"
        torch.save(shard, folder / file)
        index.update(dict.fromkeys(shard, file))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(flat_config(config, folder)))


def released_names(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Native names -> the original's."""
    renamed = {}
    for name, tensor in state_dict.items():
        if name.startswith("model.multi_modal_projector."):
            old = released_projector_name(name, "ldp")
        else:
            old = name.replace("model.language_model.", "model.")
            old = old.replace("model.vision_tower.", "model.vision_tower.vision_tower.vision_model.")
        assert native_name(old) == name, (name, old)
        renamed[old] = tensor
    return renamed


def flat_config(config: PaloConfig, folder: Path) -> dict:
    """`config.json` of the original code."""
    tower = folder.parent / "tower"
    tower.mkdir(exist_ok=True)
    config.vision_config.save_pretrained(tower)
    text = config.text_config.to_dict()
    kept = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "rms_norm_eps",
        "max_position_embeddings",
        "hidden_act",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
    )
    return {
        **{name: text[name] for name in kept},
        "model_type": "palo",
        "architectures": ["PaloForCausalLM"],
        "mm_projector_type": "ldpnet",
        "mm_hidden_size": config.vision_config.hidden_size,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_vision_tower": str(tower),
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "torch_dtype": "float16",
        "tie_word_embeddings": False,
    }


LOAD = "model = AutoModelForImageTextToText.from_pretrained({folder!r}, dtype={dtype!r})"
TOUCH = "for parameter in model.parameters(): parameter.sum()"
SETUP = "import torch, transformers_palo\nfrom transformers import AutoModelForImageTextToText"


def loading(report: Report, size: str) -> None:
    with scratch() as place:
        released, native = Path(place) / "released", Path(place) / "native"
        write_released(released, size)
        gib = sum(file.stat().st_size for file in released.glob("*.bin")) / 2**30
        converted = run(
            f"convert_checkpoint({str(released)!r}, {str(native)!r})",
            "from transformers_palo.models.palo.export_palo import convert_checkpoint",
        )
        rows = []
        for dtype in ("float16", "float32"):
            contenders = {
                folder.name: partial(run, f"{LOAD.format(folder=str(folder), dtype=dtype)}\n{TOUCH}", SETUP)
                for folder in (released, native)
            }
            for name, runs in in_turn(contenders, 3).items():
                rows.append(
                    [
                        name,
                        dtype,
                        f"{statistics.median(r['seconds'] for r in runs):.2f} s",
                        f"{statistics.median(r['peak'] for r in runs):.2f} GiB",
                        f"{statistics.median(r['own_peak'] for r in runs):.2f} GiB",
                    ]
                )
        report.text(
            f"## Loading and converting: {size}, {gib:.2f} GiB of float16 in the released layout",
            "Every weight is read once after loading. The peak counts mapped pages of the files, which the system takes back "
            "when it needs them; the last column is the peak without them. The interpreter with its imports has "
            f"{converted['before']:.2f} GiB before.",
        )
        report.table(["layout", "as", "time", "peak", "peak without mapped files"], rows)
        report.text(
            f"`palo convert` of it to native safetensors: {converted['seconds']:.1f} s, peak {converted['peak']:.2f} GiB, "
            f"{converted['own_peak']:.2f} GiB without mapped files."
        )
        shutil.rmtree(released)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs="+", default=["small", "1.7b"])
    arguments = parser.parse_args()
    report = Report("startup", "Starting: import, load, convert", "cpu")
    imports(report)
    for size in arguments.size:
        loading(report, size)
        report.write()


if __name__ == "__main__":
    main()
