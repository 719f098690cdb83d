"""What the tests of the pipeline share: a server that translates and fails on demand, records, and the command."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest


PALO = Path(sys.executable).with_name("palo")
PROJECT = Path(__file__).parents[2]


@dataclass
class Loopback:
    """A running server.

    Attributes:
        base_url: Its address.
        log: Which requests came and which were answered.
        process: What serves.
    """

    base_url: str
    log: Path
    process: subprocess.Popen

    def count(self, what: str = "S") -> int:
        return sum(line.startswith(what) for line in self.log.read_text().splitlines())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Servers:
    """Servers of `modeling_tests.translation.loopback`, each in a process of its own, that end with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()

    def start(self, **options: object) -> Loopback:
        log = self._folder / f"server-{len(self._running)}.log"
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "modeling_tests.translation.loopback", f"--log={log}", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        self._running.append(process)
        assert process.stdout is not None
        return Loopback(f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", log, process)


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Loopback]]:
    """Start servers with options of `modeling_tests.translation.loopback`."""
    with Servers(tmp_path) as servers:
        yield servers.start


@pytest.fixture
def server(serve) -> Loopback:
    return serve()


OBJECTS = "bus dog cat table boat train horse clock bench kite zebra pizza laptop bottle umbrella".split()
COLOURS = "red blue green yellow white black brown orange".split()


def make_records(count: int, seed: int = 0) -> list[dict]:
    """Records of LLaVA's shape, two or four turns each."""
    chance = random.Random(seed)
    records = []
    for number in range(count):
        thing, colour = chance.choice(OBJECTS), chance.choice(COLOURS)
        turns = [
            ("human", f"<image>\nWhat is the color of the {thing}?"),
            ("gpt", f"The {thing} in picture {number} is {colour}, beside {chance.randint(13, 90)} other things."),
        ]
        if number % 3 == 0:
            turns += [
                ("human", "How many people are near it?"),
                ("gpt", f"There are {chance.randint(13, 99)} people near the {thing}, at [0.{number % 10}, 0.25]."),
            ]
        conversations = [{"from": role, "value": value} for role, value in turns]
        records.append({"id": f"{number:012}", "image": f"coco/{number:012}.jpg", "conversations": conversations})
    return records


def write_records(path: Path, records: list[dict]) -> Path:
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def palo(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [PALO, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )


def in_a_fork(function: Callable[[], object]) -> str:
    """What a function returns, or the error that it raises, in a process that may limit itself: `repr`.

    A fork has everything imported, which a new process would take seconds for.
    """

    def call(answer) -> None:
        try:
            answer.send(repr(function()))
        except Exception as error:
            answer.send(repr(error))

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=call, args=(there,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return here.recv()


@pytest.fixture
def here(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: exit code, standard output, standard error."""
    from transformers_palo.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["palo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return (stop.value.code or 0, *capsys.readouterr())

    return run
