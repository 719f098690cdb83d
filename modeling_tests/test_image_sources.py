"""Images by URL, from a real server on the loopback interface: the same pixels as from a file, and one line for what fails."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from .conftest import GOLDEN, golden_image, tiny_model


MODEL = str(GOLDEN / "public_mlp2x" / "checkpoint")


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def bomb() -> bytes:
    """A few bytes that say they are a picture of 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SIXTEEN_BITS = Image.fromarray(np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64))
FILES = {
    "/photo.png": ("image/png", encoded(golden_image("landscape"))),
    "/16-bit.png": ("image/png", encoded(SIXTEEN_BITS)),
    "/half.png": ("image/png", encoded(golden_image("big"))[:4000]),
    "/page": ("text/html; charset=utf-8", b"<html><body>Please log in</body></html>"),
    "/empty.png": ("image/png", b""),
    "/bomb.png": ("image/png", bomb()),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved.png":
            self.send_response(302)
            self.send_header("Location", "/photo.png")
            self.end_headers()
            return
        kind, content = FILES.get(self.path.removesuffix("?cut"), ("", None))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        # The connection ends before the file does.
        self.wfile.write(content[:100] if self.path.endswith("?cut") else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def refused() -> str:
    """An address where nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}/photo.png"


def in_chat(processor, **image: object) -> torch.Tensor:
    messages = [{"role": "user", "content": [{"type": "image", **image}, {"type": "text", "text": "What?"}]}]
    return processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt").pixel_values


@pytest.mark.parametrize("name", ["photo.png", "16-bit.png"])
def test_every_source_gives_the_pixels_of_the_picture(processor, site, tmp_path, name):
    content = FILES[f"/{name}"][1]
    path = tmp_path / name
    path.write_bytes(content)
    text = base64.b64encode(content).decode()
    expected = processor.image_processor(Image.open(path), return_tensors="pt").pixel_values
    if name == "16-bit.png":
        scaled = Image.fromarray((np.asarray(SIXTEEN_BITS) / 257).round().astype(np.uint8))
        assert torch.equal(expected, processor.image_processor(scaled, return_tensors="pt").pixel_values)
    sources = {
        "url": f"{site}/{name}",
        "path": str(path),
        "base64": base64.encodebytes(content).decode(),
        "image": content,
    }
    for key, source in sources.items():
        assert torch.equal(in_chat(processor, **{key: source}), expected), key
        assert torch.equal(processor(text="<image>", images=source, return_tensors="pt").pixel_values, expected), key
        assert torch.equal(processor.image_processor(source, return_tensors="pt").pixel_values, expected), key
    # Schemes in either case; whatever media type is claimed, the bytes decide.
    for claim in ("data:image/png", "DATA:image/png", "data:application/octet-stream", "data:"):
        for key in ("url", "image"):
            assert torch.equal(in_chat(processor, **{key: f"{claim};base64,{text}"}), expected), claim
    assert torch.equal(in_chat(processor, url=f"{site.replace('http', 'HTTP')}/{name}"), expected)


def test_a_url_in_openai_s_form_and_one_that_has_moved(processor, site):
    expected = in_chat(processor, image=golden_image("landscape"))
    assert torch.equal(in_chat(processor, url=f"{site}/moved.png"), expected)
    content = [{"type": "image_url", "image_url": {"url": f"{site}/photo.png"}}, {"type": "text", "text": "What?"}]
    messages = [{"role": "user", "content": content}]
    inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    assert torch.equal(inputs.pixel_values, expected)


COMPLAINTS = {
    "/none.png": r"Cannot get the image http://\S+/none\.png: the server answered 404 Not Found\.",
    "/page": r"Cannot read the image http://\S+/page: expected a picture in a format of Pillow .*, found what its server calls text/html\.",
    "/empty.png": r"Cannot get the image http://\S+/empty\.png: the server answered with an empty file\.",
    "/half.png": r"Cannot read the image http://\S+/half\.png: the file is truncated or damaged",
    "/photo.png?cut": r"Cannot get the image http://\S+/photo\.png\?cut: .*peer closed connection",
    "/bomb.png": r"Refused to decode the image http://\S+/bomb\.png: Image size \(900000000 pixels\) exceeds limit",
}


@pytest.mark.parametrize("path", COMPLAINTS)
def test_what_a_url_can_lead_to_is_told_on_one_line(processor, site, path):
    for use in (
        lambda url: processor(text="<image>", images=url),
        lambda url: in_chat(processor, url=url),
        lambda url: processor.image_processor([golden_image("square"), url]),
    ):
        with pytest.raises(ValueError, match=f"^{COMPLAINTS[path]}") as failure:
            use(site + path)
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://host.invalid:99999/x.png"])
def test_what_is_no_address_is_told_on_one_line(processor, url):
    with pytest.raises(ValueError, match=r"^Cannot get the image http://") as failure:
        processor(text="<image>", images=url)
    assert "\n" not in str(failure.value)


def test_a_refused_connection_is_told_on_one_line(processor, refused):
    with pytest.raises(ValueError, match=r"^Cannot get the image http://\S+/photo\.png: .*refused") as failure:
        in_chat(processor, url=refused)
    assert "\n" not in str(failure.value)


def test_a_pipeline_takes_urls_in_chats(processor, site):
    pipe = pipeline("image-text-to-text", model=tiny_model(), processor=processor, device="cpu")

    def answer(**image: object) -> str:
        messages = [{"role": "user", "content": [{"type": "image", **image}, {"type": "text", "text": "What?"}]}]
        return pipe(text=messages, max_new_tokens=5, return_full_text=False)[0]["generated_text"]

    assert answer(url=f"{site}/16-bit.png") == answer(image=SIXTEEN_BITS)
    with pytest.raises(ValueError, match=COMPLAINTS["/page"]):
        answer(url=f"{site}/page")


def test_palo_ask_takes_urls(here, site, refused):
    options = ("What is it?", "--model", MODEL, "--max-new-tokens", "3", "--device", "cpu", "--json")
    code, out, _ = here("ask", f"{site}/photo.png", *options)
    assert code == 0
    assert json.loads(out)["images"] == [f"{site}/photo.png"]
    capitals = site.replace("http", "HTTP") + "/photo.png"
    inline = "DATA:application/octet-stream;base64," + base64.b64encode(FILES["/photo.png"][1]).decode()
    for source in (capitals, inline):
        code, again, err = here("ask", source, *options)
        assert code == 0, err
        assert json.loads(again)["answer"] == json.loads(out)["answer"]
    for url, complaint in [(refused, "refused"), (f"{site}/none.png", "404"), (f"{site}/page", "text/html")]:
        code, out, err = here("ask", url, *options)
        assert (code, out) == (1, "")
        assert err.startswith(f"palo: error: Cannot {'read' if 'html' in complaint else 'get'} the image {url}")
        assert complaint in err and err.count("\n") == 1
