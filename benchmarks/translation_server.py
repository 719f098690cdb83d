"""An endpoint that costs next to nothing, so that the processor is its clients': a fixed sentence with the numbers of the question.

python -m benchmarks.translation_server 0.1   # seconds until it answers; prints its port
"""

import asyncio
import json
import re
import sys


# The questions of `bench_translation.question`, and a translation that passes the checks.
_NUMBERS = re.compile(rb"next to the (\d+)\. object from the left, behind picture (\d+)\?")
_ANSWER = "चित्र {1} के पीछे बाईं ओर से {0}वीं वस्तु के बगल में क्या है?"
_TEMPLATE = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "fixed-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ANSWER"}}],
        "usage": {"prompt_tokens": 450, "completion_tokens": 40, "total_tokens": 490},
    }
)


class Connection(asyncio.Protocol):
    """Requests with a Content-Length, one after another; `GET` asks how many were answered."""

    latency = 0.0
    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(self.received) < end + 4 + length:
                return
            body, self.received = self.received[end + 4 : end + 4 + length], self.received[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.latency if length else 0, self.answer, body)

    def answer(self, body: bytes) -> None:
        if not body:
            content = str(Connection.answered).encode()
        else:
            Connection.answered += 1
            found = _NUMBERS.findall(body)
            numbers = [number.decode() for number in found[-1]] if found else ["1", "1"]
            content = _TEMPLATE.replace("ANSWER", _ANSWER.format(*numbers)).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        self.transport.write(head + content)


async def main() -> None:
    Connection.latency = float(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
