"""`transformers serve` and `transformers chat` with PALO, and `palo ask --base-url`, over a real loopback server."""

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import openai
import pytest
import transformers
from packaging.version import Version

from transformers_palo import PaloForConditionalGeneration

from .conftest import SHARED, chat, golden_image, tiny_model


PICTURE = SHARED / "images" / "landscape.png"
PALO = Path(sys.executable).with_name("palo")
# What docs/serving.md tells users to run: Transformers' own command, with PALO registered first.
TRANSFORMERS = [
    sys.executable,
    "-c",
    "import transformers_palo; from transformers.cli.transformers import main; main()",
]
QUESTION = "قارب کا رنگ کیا ہے؟"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, processor):
    folder = tmp_path_factory.mktemp("served")
    model = tiny_model()
    # Random weights would write bytes that are no UTF-8, over which the server's stream of `tokenizers` stumbles.
    model.generation_config.suppress_tokens = [
        index for token, index in processor.tokenizer.get_vocab().items() if token.startswith("<0x")
    ]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def base_url(folder, tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("log") / "serve.log"
    # Its list of models is what the Hub's cache holds: an empty one here.
    cache = tmp_path_factory.mktemp("cache")
    environment = {**os.environ, "HF_HUB_CACHE": str(cache)}
    command = [*TRANSFORMERS, "serve", folder, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        for _ in range(240):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(log.read_text())
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def expected(folder, processor) -> str:
    """The greedy answer of `generate`."""
    model = PaloForConditionalGeneration.from_pretrained(folder)
    inputs = processor.apply_chat_template(
        chat(QUESTION, golden_image("landscape")),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    return processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("stream", [False, True])
def test_transformers_serve_answers_about_an_image(base_url, folder, expected, stream):
    url = f"data:image/png;base64,{base64.b64encode(PICTURE.read_bytes()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
    reply = openai.OpenAI(base_url=base_url, api_key="none").chat.completions.create(
        model=folder, messages=[{"role": "user", "content": content}], max_tokens=8, temperature=0, stream=stream
    )
    if stream:
        answer = "".join(choice.delta.content or "" for chunk in reply for choice in chunk.choices)
    else:
        answer = reply.choices[0].message.content
    assert answer.strip() == expected


def test_transformers_chat(base_url, folder, tmp_path):
    result = subprocess.run(
        [*TRANSFORMERS, "chat", folder, base_url, "max_new_tokens=4"],
        input="What do you see?\nn\n!exit\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
        # Its client takes a loopback address for the network.
        env={**os.environ, "HF_HUB_OFFLINE": "0"},
    )
    # It ends by asking for more input than there is; what counts is that an answer came.
    assert "4 tokens in" in result.stdout, result.stdout[-2000:] + result.stderr[-2000:]


def ask(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PALO, "ask", *arguments],
        input=None if stdin is None else stdin.encode(),
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_palo_ask_a_server(base_url, folder, expected):
    result = ask(str(PICTURE), QUESTION, "--base-url", base_url, "--model", folder, "--max-new-tokens", "8")
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().strip() == expected
    assert f"{folder}, served at {base_url}" in result.stderr.decode()


def test_palo_ask_from_stdin_in_a_terminal_that_is_not_utf8(base_url, folder, expected):
    """Text goes in and out in logical order, as UTF-8, whatever the locale says."""
    options = ["--base-url", base_url, "--model", folder, "--max-new-tokens", "8", "--json"]
    result = ask(str(PICTURE), "-", *options, stdin=f"{QUESTION}\n", LC_ALL="POSIX", PYTHONIOENCODING="latin-1")
    assert result.returncode == 0, result.stderr.decode()
    (line,) = result.stdout.decode("utf-8").splitlines()
    record = json.loads(line)
    assert record["question"] == QUESTION
    assert QUESTION in line  # letters, not escapes
    assert record["answer"] == expected
    assert record["images"] == [str(PICTURE)]
    assert record["model"] == folder


def test_palo_ask_a_server_without_saying_which_model(base_url):
    """One model served: that one. None or several: their names."""
    result = ask(str(PICTURE), "What?", "--base-url", base_url, "--max-new-tokens", "4")
    if Version(transformers.__version__) >= Version("5.24"):  # which lists the folder that it serves
        assert result.returncode == 0, result.stderr.decode()
        return
    assert result.returncode == 1
    assert "offers 0 models" in result.stderr.decode()
    assert "--model" in result.stderr.decode()


def test_palo_ask_a_dead_server():
    url = f"http://127.0.0.1:{free_port()}/v1"
    result = ask(str(PICTURE), "What?", "--base-url", url, "--model", "palo")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.decode().splitlines() if line.startswith("palo: error")]
    assert url in line
    assert "OpenAI-compatible" in line


# ---- a server that breaks off


class BrokenOff(BaseHTTPRequestHandler):
    """Streams two words of an answer, then does what the first part of the path says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        ending = self.path.split("/")[1]
        self.chunked = ending != "closed"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header(*(("transfer-encoding", "chunked") if self.chunked else ("connection", "close")))
        self.end_headers()
        for word in ("Une ", "barque"):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "palo", "choices": [choice]}
            self.send(f"data: {json.dumps(event)}\n\n")
        if ending == "garbage":
            self.send('data: {"id": \n\n')
        elif ending == "error":
            self.send('data: {"error": {"message": "out of memory"}}\n\n')
        elif ending == "done":
            self.send("data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")
        elif ending == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.5)  # so that what was sent before arrives before the reset does
        self.close_connection = True

    def send(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content) if self.chunked else content)
        self.wfile.flush()


@pytest.fixture(scope="module")
def breaking_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), BrokenOff)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("ending", ["closed", "cut", "reset", "garbage", "error", "done"])
@pytest.mark.parametrize("as_json", [False, True])
def test_an_answer_that_breaks_off_is_an_error_and_is_shown(breaking_server, here, ending, as_json):
    url = f"{breaking_server}/{ending}"
    code, out, err = here("ask", "Was?", "--base-url", url, "--model", "palo", *(["--json"] if as_json else []))
    assert code == 1
    if as_json:
        record = json.loads(out)
        assert (record["answer"], record["finish_reason"]) == ("Une barque", None)
    else:
        assert out == "Une barque\n"
    _, line = err.splitlines()
    assert line.startswith(f"palo: error: The answer of the server at {url} broke off: ")
