"""The translation pipeline against a bare loop over the `openai` package, and its memory over many records.

python -m benchmarks.bench_translation [--records N] [--memory-records N]

A cheap server on the loopback interface (`benchmarks.translation_server`) answers after 100 ms. Compared are
`palo translate run`'s way (prompts, journal, checks, repairs) at concurrency 64, loops of `AsyncOpenAI` that send the
same requests at the same concurrency and keep nothing (with the package's default transport, and with the aiohttp one
that `palo` uses), and one request at a time. Memory is the whole command's, `import torch` included, sampled as it
runs against a server that answers at once.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from transformers_palo.llm import Endpoint
from transformers_palo.translation.masking import mask
from transformers_palo.translation.prompts import Prompter, Turn
from transformers_palo.translation.run import Job, translate_file
from transformers_palo.translation.targets import get_target

from .common import Report


LATENCY = 0.1
CONCURRENCY = 64
LANGUAGE = "hi"
ONE_AT_A_TIME = 30
ROUNDS = 9

Row = tuple[str, ...]


def question(number: int) -> str:
    """What `benchmarks.translation_server` has an answer for; all are different."""
    return f"<image>\nWhat is next to the {number % 97}. object from the left, behind picture {number}?"


def write_questions(path: Path, count: int) -> Path:
    """A file of records of one question: as many requests as records."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = [{"from": "human", "value": question(number)}]
            record = {"id": f"{number:012}", "image": f"coco/{number:012}.jpg", "conversations": turns}
            file.write(("[" if number == 0 else ",\n") + json.dumps(record))
        file.write("]")
    return path


def requests_of(count: int) -> list[dict]:
    """The requests that the pipeline sends for these records, as `openai` takes them."""
    prompter = Prompter("fixed", get_target(LANGUAGE), {})
    requests = []
    for number in range(count):
        request = prompter.turn_request(Turn("human", mask(question(number)).text), [])
        requests.append({"model": request.model, "messages": list(request.messages), **request.parameters})
    return requests


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.translation_server", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.wait()


def answered(base_url: str) -> int:
    """How many requests a server has answered."""
    return int(urllib.request.urlopen(base_url).read())


async def bare_loop(base_url: str, requests: list[dict], concurrency: int, aiohttp: bool = False) -> float:
    """Requests a second of `AsyncOpenAI` with a semaphore."""
    import openai

    transport = openai.DefaultAioHttpClient() if aiohttp else None
    client = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, http_client=transport)
    slots = asyncio.Semaphore(concurrency)

    async def one(request: dict) -> None:
        async with slots:
            await client.chat.completions.create(**request)

    began = time.perf_counter()
    await asyncio.gather(*map(one, requests))
    elapsed = time.perf_counter() - began
    await client.close()
    return len(requests) / elapsed


def pipeline(base_url: str, input: Path) -> float:
    """Requests a second of a run with a new journal."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        summary = translate_file(
            Job(input, Path(folder) / "run", [LANGUAGE], "fixed"), Endpoint(base_url, CONCURRENCY)
        )
        elapsed = time.perf_counter() - began
    assert not summary.unanswered and not summary.rejected
    return summary.usage.answered / elapsed


def measure_throughput(base_url: str, count: int, folder: Path) -> list[Row]:
    """Requests a second, in turn, so that what disturbs the machine disturbs all alike; the first round warms up."""
    input, requests = write_questions(folder / "questions.json", count), requests_of(count)
    contenders = {
        "one request at a time": lambda: asyncio.run(bare_loop(base_url, requests[:ONE_AT_A_TIME], 1)),
        "bare AsyncOpenAI loop, concurrency 64": lambda: asyncio.run(bare_loop(base_url, requests, CONCURRENCY)),
        "the same with its aiohttp transport": lambda: asyncio.run(bare_loop(base_url, requests, CONCURRENCY, True)),
        "palo translate, concurrency 64": lambda: pipeline(base_url, input),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, contender in contenders.items():
            began = time.process_time()
            rate = contender()
            if number:
                rates[name].append(rate)
                processor[name].append(time.process_time() - began)
    single, bare, bare_aiohttp, _ = rates.values()
    sent = [ONE_AT_A_TIME, count, count, count]
    return [
        (
            name,
            f"{statistics.median(own):.1f}",
            f"{1000 * statistics.median(processor[name]) / requests_sent:.2f} ms",
            *(_ratio(own, other) for other in (single, bare, bare_aiohttp)),
        )
        for (name, own), requests_sent in zip(rates.items(), sent, strict=True)
    ]


def _ratio(own: Sequence[float], other: Sequence[float]) -> str:
    if own is other:
        return ""
    ratios = sorted(one / another for one, another in zip(own, other, strict=True))
    quarter = len(ratios) // 4
    return f"{statistics.median(ratios):.2f} ({ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f})"


def measure_memory(base_url: str, input: Path, folder: Path) -> list[Row]:
    """Resident memory of the whole command over a file, and how long it took."""
    palo = Path(sys.executable).with_name("palo")
    options = ["--input", input, "--output-dir", folder / f"run-{input.stem}", "--languages", LANGUAGE]
    command = [palo, "translate", "run", *options, "--model", "fixed", "--base-url", base_url]
    before, began = answered(base_url), time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched, samples = psutil.Process(process.pid), []
    while process.poll() is None:
        try:
            samples.append((answered(base_url) - before, watched.memory_info().rss / 2**20))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.5)
    assert process.wait() == 0
    total = answered(base_url) - before
    rows = []
    for share in (0.1, 0.5, 0.9):
        done, resident = min(samples, key=lambda sample: abs(sample[0] - share * total))
        rows.append((f"after {done:,} requests", f"{resident:.0f} MiB"))
    peak = max(resident for _, resident in samples)
    rows.append((f"the most, over all {total:,} requests", f"{peak:.0f} MiB"))
    print(f"{input.name}: {time.perf_counter() - began:.0f} s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--memory-records", type=int, default=100_000)
    args = parser.parse_args()
    report = Report("translation", "Translation pipeline", "cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report.text(
            f"A server on the loopback interface, in a process of its own on the same {os.cpu_count()} cores.",
            "## Throughput",
            f"It answers after {LATENCY * 1000:.0f} ms; {args.records:,} different requests a round, {ROUNDS} rounds in turn; "
            "medians of the rates and of each round's ratios, in brackets the middle half.",
        )
        with serving(LATENCY) as base_url:
            report.table(
                (
                    "",
                    "requests a second",
                    "processor time of each",
                    "times one at a time",
                    "times the bare loop",
                    "times the aiohttp loop",
                ),
                measure_throughput(base_url, args.records, folder),
            )
        report.text(
            "## Memory",
            f"Resident memory of the command over {args.memory_records:,} records, answered at once; `import transformers_palo` "
            "alone takes most.",
        )
        with serving(0) as base_url:
            input = write_questions(folder / "many.json", args.memory_records)
            report.table(("", "resident"), measure_memory(base_url, input, folder))
    report.write()


if __name__ == "__main__":
    main()
