"""The translation pipeline against a bare loop over the `openai` package, and its memory over many records.

python -m benchmarks.bench_translation [--records N] [--memory-records N]

A server on the loopback interface answers after 100 ms. Compared are `palo translate run`'s way (prompts, journal,
checks, repairs) at concurrency 64, a loop of `AsyncOpenAI` that sends the same requests at the same concurrency and
keeps nothing, and one request at a time. Memory is the whole command's, `import torch` included, sampled as it runs.
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
from pathlib import Path

import psutil
from modeling_tests.translation.conftest import Loopback, Servers, make_records, write_records

from transformers_palo.llm import Endpoint
from transformers_palo.translation.masking import mask
from transformers_palo.translation.prompts import Prompter, Turn
from transformers_palo.translation.run import Job, translate_file
from transformers_palo.translation.targets import get_target

from .common import Report


LATENCY = 0.1
CONCURRENCY = 64
LANGUAGE = "hi"
ONE_AT_A_TIME = 100
ROUNDS = 9


def requests_of(records: list[dict]) -> list[dict]:
    """The requests that the pipeline sends for the first turns of records, as `openai` takes them."""
    prompter = Prompter("dictionary", get_target(LANGUAGE), {})
    requests = []
    for record in records:
        masked = mask(record["conversations"][0]["value"])
        request = prompter.turn_request(Turn("human", masked.text), [])
        requests.append({"model": request.model, "messages": list(request.messages), **request.parameters})
    return requests


async def bare_loop(server: Loopback, requests: list[dict], concurrency: int) -> float:
    """Requests a second of `AsyncOpenAI` with a semaphore."""
    import openai

    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)
    slots = asyncio.Semaphore(concurrency)

    async def one(request: dict) -> None:
        async with slots:
            await client.chat.completions.create(**request)

    began = time.perf_counter()
    await asyncio.gather(*map(one, requests))
    elapsed = time.perf_counter() - began
    await client.close()
    return len(requests) / elapsed


def pipeline(server: Loopback, records: list[dict], folder: Path) -> tuple[float, int]:
    """Requests a second of a run with a new journal, and how many there were."""
    path = write_records(folder / "records.json", records)
    began = time.perf_counter()
    summary = translate_file(
        Job(path, folder / "run", [LANGUAGE], "dictionary"), Endpoint(server.base_url, CONCURRENCY)
    )
    elapsed = time.perf_counter() - began
    assert not summary.unanswered
    return summary.usage.answered / elapsed, summary.usage.answered


def single_question_records(count: int) -> list[dict]:
    """Records of one question, all different: as many requests as records."""
    records = make_records(count)
    for number, record in enumerate(records):
        question = f"<image>\nWhat is next to the {number % 97}. object from the left, behind picture {number}?"
        record["conversations"] = [{"from": "human", "value": question}]
    return records


def measure_throughput(server: Loopback, count: int) -> list[tuple[str, str, str, str]]:
    """Requests a second of the three ways."""
    records = single_question_records(count)
    requests = requests_of(records)
    # In turn, so that what disturbs the machine disturbs them alike; the first round warms up.
    bare, ours = [], []
    for number in range(ROUNDS + 1):
        bare_rate = asyncio.run(bare_loop(server, requests, CONCURRENCY))
        with tempfile.TemporaryDirectory() as folder:
            our_rate, sent = pipeline(server, records, Path(folder))
        assert sent == count
        if number:
            bare.append(bare_rate)
            ours.append(our_rate)
    single = asyncio.run(bare_loop(server, requests[:ONE_AT_A_TIME], 1))
    ratios = sorted(one / other for one, other in zip(ours, bare, strict=True))
    our_median = statistics.median(ours)
    return [
        ("one request at a time", f"{single:.1f}", "", ""),
        (
            "bare AsyncOpenAI loop, concurrency 64",
            f"{statistics.median(bare):.0f}",
            f"{statistics.median(bare) / single:.1f}",
            "",
        ),
        (
            "palo translate, concurrency 64",
            f"{our_median:.0f}",
            f"{our_median / single:.1f}",
            f"{statistics.median(ratios):.2f} ({ratios[ROUNDS // 4]:.2f}-{ratios[-1 - ROUNDS // 4]:.2f})",
        ),
    ]


def measure_memory(server: Loopback, count: int, folder: Path) -> list[tuple[str, str]]:
    """Resident memory of the whole command at shares of the work."""
    path = folder / "many.json"
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(single_question_records(count)):
            file.write(("[" if number == 0 else ",\n") + json.dumps(record))
        file.write("]")
    palo = Path(sys.executable).with_name("palo")
    options = ["--input", path, "--output-dir", folder / "memory", "--languages", LANGUAGE, "--model", "dictionary"]
    command = [palo, "translate", "run", *options, "--base-url", server.base_url, "--concurrency", "64"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched, before = psutil.Process(process.pid), server.count()
    samples: dict[int, float] = {}
    peak = 0.0
    while process.poll() is None:
        try:
            resident = watched.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            break
        peak = max(peak, resident)
        share = 10 * (server.count() - before) // count
        if share in (1, 5, 9):
            samples.setdefault(share, resident)
        time.sleep(0.5)
    assert process.wait() == 0
    rows = [
        (f"after {count * share // 10:,} records", f"{resident:.0f} MiB")
        for share, resident in sorted(samples.items())
    ]
    return [*rows, ("the most, over the whole run", f"{peak:.0f} MiB")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--memory-records", type=int, default=100_000)
    args = parser.parse_args()
    report = Report("translation", "Translation pipeline", "cpu")
    with tempfile.TemporaryDirectory() as name, Servers(Path(name)) as servers:
        server = servers.start(latency=LATENCY)
        report.text(
            f"A server on the loopback interface that answers after {LATENCY * 1000:.0f} ms, in a process of its own on the same "
            f"{os.cpu_count()} cores; {args.records:,} different requests a round, {ROUNDS} rounds in turn; medians, in brackets the middle half.",
            "## Throughput",
        )
        report.table(
            ("", "requests a second", "times one at a time", "times the bare loop"),
            measure_throughput(server, args.records),
        )
        fast = servers.start()
        report.text(
            "## Memory",
            f"Resident memory of the command over {args.memory_records:,} records; `import transformers_palo` alone takes most.",
        )
        report.table(("", "resident"), measure_memory(fast, args.memory_records, Path(name)))
    report.write()


if __name__ == "__main__":
    main()
