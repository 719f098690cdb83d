"""Two gloo processes with torch's `fully_shard`, wrapped as examples/accelerate/fsdp2.yaml says, against one without.

Accelerate has no FSDP2 on a CPU, so the parts that the trainer puts together are put together here; which modules are
sharded by themselves is decided by Accelerate's own function.

torchrun --nproc_per_node 2 fsdp_script.py OUTPUT
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import yaml


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from types import SimpleNamespace

from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from peft import get_peft_model
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from trl.trainer.utils import add_fused_lm_head

from modeling_tests.conftest import GOLDEN, tiny_model
from modeling_tests.training_data import examples
from transformers_palo import PaloProcessor
from transformers_palo.data.collation import PaloDataCollator
from transformers_palo.training import language_model_lora
from transformers_palo.training.graph import gather_sharded_head, keep_projector_in_graph
from transformers_palo.training.parameters import freeze


ROOT = Path(__file__).resolve().parents[2]
# Of each step, what either process sees: images on one and text alone on the other, in turn.
STEPS = 2 * (
    (("zh_multi", "ja_multi"), ("ar_text", "text_multi")),
    (("en_text", "ru_text"), ("hi_multi", "three_turns")),
)


def make_model(lora: bool) -> torch.nn.Module:
    torch.manual_seed(0)
    model = tiny_model().train()
    freeze(model, train_projector=True, train_language_model=not lora)
    keep_projector_in_graph(model)
    add_fused_lm_head(model)
    gather_sharded_head(model)
    return get_peft_model(model, language_model_lora(r=2, lora_alpha=4, lora_dropout=0.0)) if lora else model


def shard(model: torch.nn.Module) -> None:
    """As Accelerate does with that file: the blocks, the embeddings, the head, and the rest."""
    settings = yaml.safe_load((ROOT / "examples" / "accelerate" / "fsdp2.yaml").read_text())["fsdp_config"]
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=settings["fsdp_version"],
        auto_wrap_policy=settings["fsdp_auto_wrap_policy"].lower(),
        transformer_cls_names_to_wrap=settings["fsdp_transformer_layer_cls_to_wrap"].split(","),
        reshard_after_forward=settings["fsdp_reshard_after_forward"],
        cpu_ram_efficient_loading=False,
    )
    # What the function asks of an Accelerator.
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision="no", is_main_process=dist.get_rank() == 0
    )
    fsdp2_prepare_model(accelerator, model)
    units = {name.removeprefix("base_model.model.") for name, m in model.named_modules() if isinstance(m, FSDPModule)}
    assert {"", "model.language_model.layers.0", "model.language_model.layers.1"} <= units, units
    assert not any("vision_tower" in name for name in units), units


def run(model: torch.nn.Module, rank: int | None) -> list[float]:
    """Losses of every step, and of the same batch after it: a rank's own half, or (`None`) both one after the other."""
    collator = PaloDataCollator(PaloProcessor.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint"))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for halves in STEPS:
        batches = [collator(examples(*half)) for half in halves]
        num_tokens = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
        own = [
            {name: tensor for name, tensor in batch.items() if isinstance(tensor, torch.Tensor)}
            for batch in (batches if rank is None else [batches[rank]])
        ]
        losses += [0.0, 0.0]
        for inputs in own:
            loss = -model(**inputs, fused_lm_head=True).log_probs.sum() / num_tokens
            # FSDP averages gradients over the processes.
            (loss if rank is None else loss * dist.get_world_size()).backward()
            losses[-2] += loss.item()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for inputs in own:
                losses[-1] -= model(**inputs, fused_lm_head=True).log_probs.sum().item() / num_tokens
    return losses


def main(output: Path, lora: bool) -> None:
    unsharded = make_model(lora)
    expected = run(unsharded, rank=None)

    sharded = make_model(lora)
    shard(sharded)
    parameters = dict(sharded.named_parameters())
    assert all(isinstance(parameter, DTensor) for parameter in parameters.values())
    losses = torch.tensor(run(sharded, dist.get_rank()))
    dist.all_reduce(losses)
    differences = {
        name: (parameters[name].full_tensor() - parameter).abs().max().item()
        for name, parameter in unsharded.named_parameters()
    }
    if dist.get_rank() == 0:
        worst = max(differences, key=lambda name: differences[name])
        result = {"expected": expected, "sharded": losses.tolist(), "worst": worst, "difference": differences[worst]}
        output.mkdir(parents=True, exist_ok=True)
        (output / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2, dist.get_world_size()
    for name in ("full", "lora"):
        main(Path(sys.argv[1]) / name, lora=name == "lora")
    dist.barrier()
    dist.destroy_process_group()
