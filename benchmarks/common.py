"""What the benchmarks share: fair timing, models of known sizes, Markdown reports."""

import datetime
import gc
import importlib.metadata
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from transformers_palo import PaloConfig, PaloForConditionalGeneration


Result = TypeVar("Result")

RESULTS = Path(__file__).parent / "results"

# Small enough to repeat often; the tower and the images have the real number of tokens (576, LDP 144).
SMALL = {
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "image_size": 336,
        "patch_size": 14,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "pad_token_id": 0,
    },
}


SENTENCES = [
    "What is shown in this picture, and what is unusual about it?",
    "这张图片里有什么?",
    "इस चित्र में क्या दिखाया गया है?",
    "¿Qué se muestra en esta imagen?",
    "Que montre cette image ?",
    "ماذا تُظهر هذه الصورة؟",
    "এই ছবিতে কী দেখানো হয়েছে?",
    "Что показано на этой картинке?",
    "اس تصویر میں کیا دکھایا گیا ہے؟",
    "この画像には何が写っていますか?",
]


def write_tokenizer(folder: Path) -> None:
    """A SentencePiece vocabulary of the kind that Llama has (BPE, byte fallback), as released folders carry one."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 50),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=4000,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    # As many pieces as Llama's: the placeholder's id has to be the first one outside.
    model = sentencepiece_model_pb2.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    for index in range(len(model.pieces), 32000):
        model.pieces.add(piece=f"\u2402{index}", score=float(-index))
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "legacy": true}')


def palo_config(size: str, projector_type: str, **fields: Any) -> PaloConfig:
    """`"small"`, or one of the paper's sizes, with the projector that the comparison needs."""
    if size == "small":
        return PaloConfig(projector_type=projector_type, **SMALL, **fields)
    return PaloConfig.from_size(size, projector_type=projector_type, **fields)


def random_palo(config: PaloConfig, device: str, dtype: torch.dtype) -> PaloForConditionalGeneration:
    """Random weights, made where and in what precision they are needed."""
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return PaloForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(default)


def photo(width: int = 640, height: int = 480, seed: int = 0) -> Image.Image:
    """A picture that compresses and resizes like a photograph: smooth, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 16, generator=generator), size=(height, width), mode="bicubic", align_corners=False
    )[0]
    noisy = (smooth + 0.02 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)
    return Image.fromarray((noisy * 255).byte().permute(1, 2, 0).numpy())


@dataclass
class Timing:
    """Seconds of several runs."""

    runs: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def __str__(self) -> str:
        scale, unit = (1e3, "ms") if self.median < 1 else (1.0, "s")
        return f"{self.median * scale:.3g} {unit} ({min(self.runs) * scale:.3g}-{max(self.runs) * scale:.3g})"


def compare(contenders: dict[str, Callable[[], Any]], repeats: int, device: str = "cpu") -> dict[str, Timing]:
    """Time functions in turn, so that what disturbs the machine disturbs them alike.

    Each is run once before, untimed. The order is reversed every round: who comes first has the colder caches.
    """

    def seconds(function: Callable[[], Any]) -> float:
        synchronise(device)
        start = time.perf_counter()
        function()
        synchronise(device)
        return time.perf_counter() - start

    for function in contenders.values():
        function()
    gc.collect()
    runs = in_turn({name: partial(seconds, function) for name, function in contenders.items()}, repeats)
    return {name: Timing(of_one) for name, of_one in runs.items()}


def in_turn(contenders: dict[str, Callable[[], Result]], repeats: int) -> dict[str, list[Result]]:
    """What each returns, round by round; the order is reversed every round."""
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    for turn in range(repeats):
        order = list(contenders.items())
        for name, function in order if turn % 2 == 0 else reversed(order):
            results[name].append(function())
    return results


def ratio(timings: dict[str, Timing], ours: str, peer: str) -> str:
    """Our time over the peer's: the median of the rounds' ratios, and the range of their middle half.

    Fewer than four rounds have no middle half: the whole range, and it says so.
    """
    quotients = sorted(a / b for a, b in zip(timings[ours].runs, timings[peer].runs, strict=True))
    quarter = len(quotients) // 4
    middle = quotients[quarter : len(quotients) - quarter]
    kind = "" if quarter else " min-max"
    return f"{statistics.median(quotients):.3f} ({middle[0]:.3f}-{middle[-1]:.3f}{kind})"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for gigabytes, on the disk of the checkout; what a killed run leaves there, git ignores."""
    outputs = Path(__file__).parents[1] / "outputs"
    outputs.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="benchmark-", dir=outputs)


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Report:
    """A Markdown file in `benchmarks/results/`, written section by section."""

    def __init__(self, name: str, title: str, device: str) -> None:
        hardware = torch.cuda.get_device_name() if device.startswith("cuda") else _cpu()
        suffix = "gpu" if device.startswith("cuda") else "cpu"
        self.path = RESULTS / f"{name}-{suffix}.md"
        self.lines = [f"# {title}", "", f"{hardware}, {torch.get_num_threads()} threads; {versions()}; {today()}.", ""]

    def text(self, *paragraphs: str) -> None:
        for paragraph in paragraphs:
            self.lines += [paragraph, ""]

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.lines.append(f"| {' | '.join(header)} |")
        self.lines.append("|" + "---|" * len(header))
        self.lines += [f"| {' | '.join(row)} |" for row in rows]
        self.lines.append("")

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("\n".join(self.lines).rstrip() + "\n", encoding="utf-8")
        print(f"{self.path} as of now:\n{self.path.read_text(encoding='utf-8')}", flush=True)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def versions() -> str:
    names = ("torch", "transformers", "tokenizers", "pillow")
    shown = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([f"Python {platform.python_version()}", *shown])


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
