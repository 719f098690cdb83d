# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""`palo ask`: questions about images, on the command line."""

import base64
import json
import mimetypes
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand


DEFAULT_MODEL = "MBZUAI/MobilePALO-1.7B"
REMOTE = ("http://", "https://", "data:")


# No option looks like these: a hyphen and two characters or more, or a space in front of any "=".
HYPHENED_TEXT = re.compile(r"-[^-].|--[^=]*\s", re.DOTALL)


class AskCommand(TyperCommand):
    """Takes a question that begins with a hyphen, such as "-5 + 3 = ?", for a question."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move it behind `--`, where Click looks for no options."""
        awaits_value = {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
        texts = [
            index
            for index, text in enumerate(args)
            if HYPHENED_TEXT.match(text) and not (index and args[index - 1] in awaits_value)
        ]
        if texts and "--" not in args:
            args = [arg for index, arg in enumerate(args) if index not in texts] + ["--"] + [args[i] for i in texts]
        return super().parse_args(ctx, args)


@dataclass
class Reply:
    """An answer that is still coming, and what is known of it once it has come.

    Attributes:
        pieces: The text, piece by piece.
        source: Which model answers and where, in one line.
        facts: Fields for `--json`; complete when `pieces` is exhausted.
    """

    pieces: Iterator[str]
    source: str
    facts: dict[str, Any]


def ask(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[IMAGE]... QUESTION", help="Paths or URLs of images, then the question; - reads it from stdin."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help=f"Folder or Hub id of a PALO model. [default: {DEFAULT_MODEL}]")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Ask this OpenAI-compatible server instead, such as vLLM's http://localhost:8000/v1."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The most tokens to answer with.")] = 512,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of streaming.")] = False,
) -> None:
    """Ask a question about one or more images, in any of the ten languages.

    The answer streams to standard output; which model, device and dtype answer is told on standard error.

    Example:  palo ask boat.jpg "¿De qué color es el barco?" --model MBZUAI/PALO-7B
    """
    *images, question = arguments
    _check_images(images)
    question = _read_question(question, has_images=bool(images))
    if base_url:
        reply = ask_server(base_url, model, images, question, max_new_tokens)
    else:
        reply = ask_here(model or DEFAULT_MODEL, images, question, max_new_tokens, device, dtype)
    print(reply.source, file=sys.stderr)
    answer: list[str] = []
    try:
        for piece in reply.pieces:
            # A byte-level tokenizer keeps the space between "ASSISTANT:" and the answer.
            piece = piece if answer else piece.lstrip()
            if not piece:
                continue
            answer.append(piece)
            if not as_json:
                print(piece, end="", flush=True)
    except BaseException:
        # What came before is shown all the same; the error and the exit code say that it is not whole.
        if answer:
            _end(answer, images, question, reply, as_json)
        raise
    _end(answer, images, question, reply, as_json)


def _check_images(images: list[str]) -> None:
    for image in images:
        # os.path.isfile is False for what can be no path (too long, a NUL byte); Path.is_file raises.
        if not _is_remote(image) and not os.path.isfile(image):
            shown = image if len(image) <= 300 else f"{image[:77]}..."
            raise ValueError(
                f"No image at {shown!r}: expected the path of a file or an http(s) URL. The question comes last."
            )


def _is_remote(image: str) -> bool:
    return image[:8].lower().startswith(REMOTE)


def _read_question(question: str, has_images: bool) -> str:
    if not has_images and os.path.isfile(question):
        raise ValueError(
            f"Found the file {question!r} and no question: write the question, in quotes, behind the image."
        )
    if question == "-":
        question = sys.stdin.read().strip()
    if not question.strip():
        raise ValueError("The question is empty: write it behind the images, or write - and give it on stdin.")
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The question is no UTF-8 text: character {error.start + 1} of it came as a byte that stands for none. "
            "Convert it to UTF-8."
        ) from None
    return question


def _end(answer: list[str], images: list[str], question: str, reply: Reply, as_json: bool) -> None:
    if as_json:
        record = {"images": images, "question": question, "answer": "".join(answer).strip(), **reply.facts}
        print(json.dumps(record, ensure_ascii=False))
    else:
        print()


def ask_here(name: str, images: list[str], question: str, max_new_tokens: int, device: str, dtype: str) -> Reply:
    """Let a model answer that is loaded in this process."""
    from threading import Thread

    from transformers import TextIteratorStreamer

    from ..inference.loading import load_for_inference
    from ..models.palo.image_loading_palo import load_image

    # A picture that cannot be read is told before a model of many gigabytes is.
    pictures = [load_image(image) for image in images]
    loaded = load_for_inference(name, device=device, dtype=dtype)
    content = [{"type": "image", "image": picture} for picture in pictures] + [{"type": "text", "text": question}]
    inputs = loaded.prepare([{"role": "user", "content": content}])
    prompt_tokens = inputs["input_ids"].shape[1]
    streamer = TextIteratorStreamer(loaded.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    facts: dict[str, Any] = {
        "model": name,
        "device": str(loaded.model.device),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "prompt_tokens": prompt_tokens,
        "finish_reason": None,
    }
    failure: list[BaseException] = []

    def generate() -> None:
        try:
            output = loaded.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, streamer=streamer)
            stopped = output[0, -1].item() in _stop_ids(loaded.model.generation_config.eos_token_id)
            facts.update(
                completion_tokens=output.shape[1] - prompt_tokens, finish_reason="stop" if stopped else "length"
            )
        except BaseException as error:
            failure.append(error)
            streamer.end()

    def pieces() -> Iterator[str]:
        thread = Thread(target=generate, daemon=True)
        thread.start()
        yield from streamer
        thread.join()
        if failure:
            raise failure[0]

    return Reply(pieces(), loaded.describe(), facts)


def _stop_ids(eos_token_id: int | list[int] | None) -> list[int]:
    if eos_token_id is None:
        return []
    return eos_token_id if isinstance(eos_token_id, list) else [eos_token_id]


def ask_server(base_url: str, model: str | None, images: list[str], question: str, max_new_tokens: int) -> Reply:
    """Let a server answer that speaks OpenAI's chat completions; the key, if it wants one, is `OPENAI_API_KEY`.

    Raises:
        ImportError: The `openai` package is missing.
        ValueError: A file is no picture; the server did not answer, or refused; from `pieces`: its answer broke off.
    """
    try:
        import openai
    except ImportError:
        raise ImportError("--base-url needs the openai package: pip install 'transformers-palo[serve]'") from None

    client = openai.OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY") or "none")
    content: list[Any] = [{"type": "image_url", "image_url": {"url": _as_url(image)}} for image in images]
    content.append({"type": "text", "text": question})
    facts: dict[str, Any] = {"base_url": base_url, "finish_reason": None}
    try:
        name = model or _served_model(client)
        facts["model"] = name
        stream = client.chat.completions.create(
            model=name,
            messages=[{"role": "user", "content": content}],
            max_tokens=max_new_tokens,
            temperature=0,
            stream=True,
        )
    except openai.OpenAIError as error:
        raise ValueError(_what_server_said(base_url, error)) from error

    def pieces() -> Iterator[str]:
        try:
            for chunk in stream:
                for choice in chunk.choices:
                    if choice.finish_reason:
                        facts["finish_reason"] = choice.finish_reason
                    if choice.delta.content:
                        yield choice.delta.content
        except (openai.OpenAIError, json.JSONDecodeError) as error:
            raise ValueError(_broken_off(base_url, error)) from error
        if facts["finish_reason"] is None:
            # A server that dies closes its connection, which by itself looks like an end.
            raise ValueError(_broken_off(base_url, "the stream ended without a finish_reason"))

    return Reply(pieces(), f"{name}, served at {base_url}", facts)


def _as_url(image: str) -> str:
    from ..models.palo.image_loading_palo import load_image

    if _is_remote(image):
        return image
    # What is no picture stays here.
    load_image(image)
    kind = mimetypes.guess_type(image)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(image).read_bytes()).decode()}"


def _served_model(client: Any) -> str:
    served = [entry.id for entry in client.models.list()]
    if len(served) != 1:
        raise ValueError(f"The server offers {len(served)} models ({', '.join(served)}): name one with --model.")
    return served[0]


def _broken_off(base_url: str, reason: object) -> str:
    said = getattr(reason, "message", None) or str(reason)
    return f"The answer of the server at {base_url} broke off: {said}. It is not whole: ask again."


def _what_server_said(base_url: str, error: Exception) -> str:
    body = getattr(error, "message", None) or str(error)
    return f"The server at {base_url} did not answer the question: {body} (expected an OpenAI-compatible server there)"
