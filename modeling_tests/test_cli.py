"""The `palo` command as a shell runs it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transformers_palo.cli import ask, quickstart
from transformers_palo.cli.main import COMMANDS

from .conftest import GOLDEN, SHARED


PALO = Path(sys.executable).with_name("palo")
MODEL = str(GOLDEN / "public_mlp2x" / "checkpoint")
PICTURE = str(SHARED / "images" / "landscape.png")


def palo(*arguments: str) -> subprocess.CompletedProcess:
    """In a process of its own, as a shell does."""
    return subprocess.run([PALO, *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(here, command):
    code, out, _ = here(command, "--help")
    assert code == 0
    assert f"palo {command}" in out
    assert "Example" in out


def test_ask_streams_an_answer_and_says_what_answers():
    result = palo("ask", PICTURE, "What is it?", "--model", MODEL, "--max-new-tokens", "5", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert f"{MODEL}: 0.2 million parameters, cpu, float32" in result.stderr


def test_ask_prints_nothing_in_front_of_an_answer(here, monkeypatch):
    """A byte-level tokenizer keeps the space between "ASSISTANT:" and the answer."""
    reply = ask.Reply(source="a model", facts={}, pieces=iter(["", " ", " The", " answer", " is 4. "]))
    monkeypatch.setattr(ask, "ask_here", lambda *arguments: reply)
    code, out, _ = here("ask", PICTURE, "What is it?", "--model", MODEL)
    assert code == 0
    assert out == "The answer is 4. \n"


def test_ask_in_another_precision(here):
    options = ["--model", MODEL, "--max-new-tokens", "2", "--device", "cpu", "--dtype", "bfloat16"]
    code, _, err = here("ask", PICTURE, "Was?", *options)
    assert code == 0
    assert "cpu, bfloat16" in err


def test_ask_about_several_images(here):
    code, out, _ = here(
        "ask", PICTURE, PICTURE, "Which?", "--model", MODEL, "--max-new-tokens", "3", "--device", "cpu"
    )
    assert code == 0
    assert out.strip()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ask", "nowhere.png", "What?", "--model", MODEL], "No image at 'nowhere.png'"),
        (["ask", PICTURE, "What?", "--model", "no/such/folder"], "expected a model's folder or a Hub id"),
        (["ask", PICTURE, "What?", "--model", MODEL, "--dtype", "int3"], "Unknown dtype 'int3'"),
        (["ask", PICTURE, "What?", "--model", MODEL, "--device", "tpu9"], "Unknown device 'tpu9'"),
        (["ask", PICTURE, "What?", "--model", str(SHARED)], "expected a model's folder with config.json, found none"),
        (["ask", PICTURE, "What?", "--model", str(GOLDEN / "public_mlp2x")], "did you mean"),
        (["ask", PICTURE, "--model", MODEL], "no question"),
        # Told before the model is looked for.
        (["ask", str(GOLDEN / "public_ldpnet" / "MANIFEST.md"), "What?", "--model", "no/such/folder"], "MANIFEST.md"),
    ],
)
def test_a_users_mistake_is_one_line_without_a_traceback(here, arguments, complaint):
    code, out, err = here(*arguments)
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("palo: error:")]
    assert len(lines) == 1
    assert complaint in lines[0]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x" * 300 + ".png", "What?"], "No image at '" + "x" * 77 + "...'"),
        (["a\0b.png", "What?"], "No image at"),
        (["caf\udce9.png", "What?"], "No image at"),
        ([str(SHARED), "What?"], "No image at"),
        (["What\udcff?"], "The question is no UTF-8 text: character 5 of it"),
        (["  "], "The question is empty"),
    ],
)
def test_odd_arguments_are_one_line_too(here, arguments, complaint):
    code, out, err = here("ask", *arguments, "--model", MODEL)
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert complaint in line


@pytest.mark.parametrize("question", ["Pourquoi ? " * 30, "\u0928" * 300, "a\0b", "no/such/../file?"])
def test_a_question_that_can_be_no_path(here, question):
    """Longer than a file name may be, or with what no file name holds."""
    code, out, err = here("ask", question, "--model", MODEL, "--max-new-tokens", "2", "--device", "cpu", "--json")
    assert code == 0, err
    assert json.loads(out)["question"] == question


def test_a_question_on_stdin_that_is_no_utf8(here, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Qu\xe9 es?\n"), encoding="utf-8"))
    code, out, err = here("ask", PICTURE, "-", "--model", MODEL, "--json")
    assert (code, out) == (1, "")
    assert err == (
        "palo: error: The question is no UTF-8 text: character 3 of it came as a byte that stands for none. Convert it "
        "to UTF-8.\n"
    )


@pytest.mark.parametrize("question", ["-5 + 3 = ?", "-5+3=?", "-how many?", "--why is it so?", "-是什么?"])
def test_a_question_may_begin_with_a_hyphen(here, question):
    options = ["--model", MODEL, "--max-new-tokens", "2", "--device", "cpu", "--json"]
    for arguments in (
        [PICTURE, question, *options],
        [*options, PICTURE, question],
        [*options, PICTURE, "--", question],
    ):
        code, out, err = here("ask", *arguments)
        assert code == 0, err
        assert json.loads(out)["question"] == question


def test_a_mistyped_option_is_still_told(here):
    for wrong in (["--modle", MODEL], ["--max-new-tokens", "-12"], ["-m", MODEL]):
        code, out, err = here("ask", PICTURE, "What?", *wrong)
        assert (code, out) == (2, "")
        assert wrong[0] in err


def test_a_file_that_is_no_picture_is_not_sent(here, tmp_path):
    """Told before the server is asked: nobody listens there."""
    secret = tmp_path / "passwords.txt"
    secret.write_text("all of them")
    code, out, err = here("ask", str(secret), "What?", "--base-url", "http://127.0.0.1:9/v1", "--model", "palo")
    assert (code, out) == (1, "")
    assert err.startswith(f"palo: error: Cannot read the image {secret}: expected a picture") and err.count("\n") == 1


def test_a_picture_with_an_odd_name(here, tmp_path):
    """A file name of bytes that are no UTF-8, as an old camera or archive leaves it."""
    odd = tmp_path / os.fsdecode(b"caf\xe9 - \xff.png")
    odd.write_bytes(Path(PICTURE).read_bytes())
    code, _, err = here("ask", str(odd), "What?", "--model", MODEL, "--max-new-tokens", "2", "--device", "cpu")
    assert code == 0, err


def test_debug_shows_the_traceback():
    result = palo("--debug", "ask", "nowhere.png", "What?", "--model", MODEL)
    assert "Traceback" in result.stderr
    assert result.returncode == 1


def test_env_names_the_versions(here):
    code, out, _ = here("env")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert {"python", "transformers-palo", "transformers", "torch", "trl", "accelerator"} <= set(names)


def test_no_command_shows_the_help(here):
    _, out, err = here()
    assert "ask" in out + err


def test_quickstart_without_its_extra(here, monkeypatch, tmp_path):
    monkeypatch.setattr(quickstart, "find_spec", lambda module: None if module in ("trl", "sklearn") else module)
    code, _, err = here("quickstart", "--output-dir", str(tmp_path / "out"))
    assert code == 1
    assert err == (
        "palo: error: palo quickstart needs trl, sklearn, which are not installed: install transformers-palo with its "
        "[quickstart] extra.\n"
    )
    assert not (tmp_path / "out").exists()


def test_quickstart_into_a_file(here, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = here("quickstart", "--output-dir", str(tmp_path / "out"))
    assert code == 1
    assert "expected a folder to write into, found a file" in err and err.count("\n") == 1
    assert (tmp_path / "out").read_text() == "mine"
