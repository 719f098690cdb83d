"""A chat completions server on the loopback interface, in a process of its own, that can be told to fail.

    python -m modeling_tests.translation.loopback --log LOG [--latency S] [--faults SHARE] [--content-faults SHARE] [--key KEY] [--phrases FILE]
        [--batch-faults SHARE] [--batch-polls N] [--batch-resets 1] [--batch-forbids 1] [--batch-most N]

It prints its port. Its "translations" are no translations: each word becomes letters of the target's script (in Arabic and
Urdu some word), made from the word itself, numbers and marks stay; that passes the checks, and the same text gives the same answer in every
process. Texts in a file of phrases (language -> English -> translation) are given from there. Faults of transport strike
a request when it comes for the first or second time, by chance out of its hash; faults of content stay with the request,
as a model's would.
"""

import argparse
import asyncio
import email.utils
import hashlib
import json
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import IO

from .loopback_batches import Batches, BatchFaults


TRANSPORT_FAULTS = ("429 with seconds", "429 with date", "429", "500", "reset", "hang", "truncated", "no choice")
CONTENT_FAULTS = ("wrong language", "chatter")

_ALPHABETS = {
    "Hindi": "अआइईउऊएओकखगघचजटठडतथदनपफबभम",
    "Bengali": "অআইঈউঊএওকখগঘচজটঠডতথদনপফবভম",
    "Chinese": "的是在有人他这中大来上国个到说们为子和你地出道也时",
    "English": "abcdefghijklmnopqrstuvwxyz",
}
# Letters put together by chance read like Persian, whatever letters they are: only words read like Arabic or Urdu.
_WORDS = {
    "Arabic": "في على هذا هذه مع بيت شارع ناس صورة طاولة كرسي شجرة ماء سماء طفل امرأة رجل سيارة قطة نافذة باب كتاب أبيض أزرق أحمر أخضر أصفر كبير "
    "صغير تحت فوق أمام خلف".split(),
    "Urdu": "ہے میں اور یہ ہیں ساتھ گھر سڑک لوگ تصویر میز کرسی درخت پانی آسمان بچہ عورت آدمی گاڑی بلی کھڑکی دروازہ کتاب سفید نیلا سرخ سبز "
    "پیلا بڑا چھوٹا نیچے سامنے پیچھے کھڑا".split(),
}


def pseudo_translation(text: str, language: str) -> str:
    """Letters of another script, or another word, for each word; masks, numbers and marks stay."""
    words = _WORDS.get(language)
    alphabet = "" if words else _ALPHABETS[language]

    def word(match: re.Match[str]) -> str:
        if words is not None:
            return words[sum(map(ord, match[0].lower())) % len(words)]
        letters = [alphabet[(ord(character.lower()) - ord("a")) % len(alphabet)] for character in match[0]]
        return letters[0] if language == "Chinese" else "".join(letters)

    translated = re.sub(r"[A-Za-z]+(?:'[a-z]+)?", word, text)
    return translated.replace(" ", "") if language == "Chinese" else translated


def section(message: str, name: str) -> str:
    """What stands between a section's markers."""
    match = re.search(rf"<<<{name} (\w+)>>>\n(.*)\n<<<END \1>>>", message, flags=re.DOTALL)
    return match[2] if match else ""


class Server:
    """Answers requests, counts them and writes down which came (`A hash`) and which were answered (`S hash`)."""

    def __init__(
        self,
        log: IO[str],
        latency: float,
        faults: float,
        content_faults: float,
        key: str | None,
        phrases: dict,
        batches: BatchFaults,
    ) -> None:
        self.log = log
        self.latency = latency
        self.faults = faults
        self.content_faults = content_faults
        self.key = key
        self.phrases = phrases
        self.arrivals: Counter[str] = Counter()
        self.forbids = False
        self.batches = Batches(self, batches)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(re.findall(r"^([^:\r\n]+):\s*(.*?)\r$", head.lower(), flags=re.MULTILINE))
                body = await self.read_body(headers, reader)
                method, path, _ = head.split(" ", 2)
                if self.key and headers.get("authorization") != f"bearer {self.key.lower()}":
                    said = f"Incorrect API key provided: {headers.get('authorization')}"
                    await self.send(writer, 401, {"error": {"message": said, "code": "invalid_api_key"}})
                elif path.startswith(("/v1/files", "/v1/batches")):
                    await self.batches.answer(method, path, body, writer)
                else:
                    await self.answer(headers, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def read_body(self, headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body

    async def answer(self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        request = json.loads(body)
        if request["model"] == "unknown":
            return await self.send(writer, 404, {"error": {"message": "no such model", "code": "model_not_found"}})
        if (refusal := self.refusal(request)) is not None:
            return await self.send(writer, *refusal)
        name = hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()
        self.arrivals[name] += 1
        self.write_down("A", name)
        await asyncio.sleep(self.latency)
        if fault := self.transport_fault(name):
            return await self.fail(fault, writer)
        await self.send(writer, 200, self.completion(request, name))
        self.write_down("S", name)
        return None

    def refusal(self, request: dict) -> tuple[int, dict] | None:
        said = request["messages"][-1]["content"]
        if "REFUSE ME" in said:
            return 400, {"error": {"message": "against the rules", "code": "content_policy_violation"}}
        if "FORBID ME" in said or self.forbids:
            return 403, {"error": {"message": "forbidden"}}
        return None

    def write_down(self, what: str, name: str) -> None:
        self.log.write(f"{what} {name}\n")
        self.log.flush()

    def transport_fault(self, name: str) -> str | None:
        arrival = self.arrivals[name]
        chance = random.Random(f"{name} {arrival}")
        if arrival > 2 or chance.random() >= self.faults:
            return None
        return chance.choice(TRANSPORT_FAULTS)

    async def fail(self, fault: str, writer: asyncio.StreamWriter) -> None:
        if fault.startswith("429"):
            date = email.utils.formatdate(time.time() + 1, usegmt=True)
            after = {"429 with seconds": "0.2", "429 with date": date}.get(fault)
            extra = {"Retry-After": after} if after else {}
            await self.send(writer, 429, {"error": {"message": "too many requests"}}, extra)
        elif fault == "500":
            await self.send(writer, 500, {"error": {"message": "something broke"}})
        elif fault == "reset":
            writer.transport.abort()
        elif fault == "hang":
            await asyncio.sleep(3600)
        elif fault == "truncated":
            await self.send(writer, 200, '{"id": "1", "choices": [{"index": 0, "mess')
        else:
            await self.send(writer, 200, {"id": "1", "model": "loopback", "choices": []})

    def completion(self, request: dict, name: str) -> dict:
        message = request["messages"][-1]["content"]
        asked = re.search(r"into (\w+)\.", message)
        language = asked[1] if asked else "Hindi"  # no translation is asked for: a greeting
        text = section(message, "TEXT")
        chance = random.Random(name)
        fault = chance.choice(CONTENT_FAULTS) if chance.random() < self.content_faults else None
        if "response_format" in request:
            turns = [pseudo_translation(turn["text"], language) for turn in json.loads(text)]
            answer = json.dumps({"turns": turns[1:] if fault else turns})
        elif fault == "wrong language":
            answer = "Это не тот язык, о котором просили."
        elif fault == "chatter":
            answer = f"Here is the translation:\n{pseudo_translation(text, language)}"
        else:
            answer = self.phrases.get(language, {}).get(text) or pseudo_translation(text, language)
        return {
            "id": name[:8],
            "object": "chat.completion",
            "created": 1,
            "model": f"{request['model']}-2026-01-01",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": len(message) // 4, "completion_tokens": len(answer) // 3},
        }

    async def send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        content: dict | str,
        extra: dict[str, str] | None = None,
        share: float = 1.0,
    ) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (extra or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body[: int(share * len(body))])
        await writer.drain()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--content-faults", type=float, default=0.0)
    parser.add_argument("--key")
    parser.add_argument("--phrases", type=Path)
    parser.add_argument("--batch-faults", type=float, default=0.0)
    parser.add_argument("--batch-polls", type=int, default=1)
    parser.add_argument("--batch-resets", type=int, default=0)
    parser.add_argument("--batch-forbids", type=int, default=0)
    parser.add_argument("--batch-most", type=int, default=10**9)
    args = parser.parse_args()
    phrases = json.loads(args.phrases.read_text(encoding="utf-8")) if args.phrases else {}
    batches = BatchFaults(
        args.batch_faults, args.batch_polls, bool(args.batch_resets), bool(args.batch_forbids), args.batch_most
    )
    with args.log.open("a") as log:
        server = Server(log, args.latency, args.faults, args.content_faults, args.key, phrases, batches)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**22, backlog=1024)
        print(listening.sockets[0].getsockname()[1], flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
