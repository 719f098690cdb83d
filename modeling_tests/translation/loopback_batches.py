"""`/v1/files` and `/v1/batches` of the loopback server, as OpenAI documents them, with what can go wrong there.

A batch is answered after it was asked about so many times. Faults strike a request when it is in a batch for the first
time, by chance out of its hash. The server's log has `A` and `S` for them as for any other request, `U` for an
uploaded file and `B` for a batch.
"""

import hashlib
import json
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    import asyncio

    from .loopback import Server


FAULTS = ("500", "429", "expired", "left out", "damaged line", "no choice")


@dataclass(frozen=True)
class BatchFaults:
    """How batches fail.

    Attributes:
        share: Of requests that are not answered at first.
        polls: How often a batch has to be asked about until it has ended.
        resets: Break the connection after a batch was created, before the reply, and within the first copy of a file.
        forbids: Answer each request of a batch with 403, and each later one as well.
        most: Requests that may be in work at a time: a batch that is more fails, as OpenAI's does.
    """

    share: float = 0.0
    polls: int = 1
    resets: bool = False
    forbids: bool = False
    most: int = 10**9


class Batches:
    """Files and batches in memory."""

    def __init__(self, server: "Server", faults: BatchFaults) -> None:
        self.server = server
        self.faults = faults
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls: dict[str, int] = {}
        self.broken: set[str] = set()

    async def answer(self, method: str, path: str, body: bytes, writer: "asyncio.StreamWriter") -> None:
        match [method, *path.split("?")[0].split("/")[2:]]:
            case ["POST", "files"]:
                reply: Any = self.upload(body)
            case ["GET", "files", file_id, "content"]:
                reply = self.files[file_id].decode()
                if self.faults.resets and file_id not in self.broken:
                    self.broken.add(file_id)
                    await self.server.send(writer, 200, reply, share=0.5)
                    writer.transport.abort()
                    return
            case ["POST", "batches"]:
                reply = self.create(json.loads(body))
                if self.faults.resets and len(self.batches) % 2:
                    writer.transport.abort()
                    return
            case ["GET", "batches"]:
                newest_first = list(self.batches.values())[::-1]
                after = re.search(r"after=([\w-]+)", path)
                ids = [batch["id"] for batch in newest_first]
                page = newest_first[ids.index(after[1]) + 1 if after else 0 :][:2]
                more = bool(page) and page[-1] is not newest_first[-1]
                reply = {"object": "list", "data": page, "has_more": more}
            case ["GET", "batches", batch_id] if batch_id in self.batches:
                reply = self.poll(batch_id)
            case ["POST", "batches", batch_id, "cancel"] if batch_id in self.batches:
                reply = self.cancel(batch_id)
            case _:
                await self.server.send(writer, 404, {"error": {"message": f"nothing at {path}", "code": None}})
                return
        await self.server.send(writer, 200, reply)

    def upload(self, body: bytes) -> dict[str, Any]:
        boundary = body.split(b"\r\n", 1)[0]
        parts = {
            re.search(rb'name="(\w+)"', part)[1]: part.split(b"\r\n\r\n", 1)[1][:-2]
            for part in body.split(boundary)[1:-1]
        }
        assert parts[b"purpose"] == b"batch"
        self.server.write_down("U", str(len(self.files)))
        return self.keep(parts[b"file"])

    def keep(self, content: bytes) -> dict[str, Any]:
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        entry = {"id": file_id, "object": "file", "bytes": len(content), "created_at": int(time.time())}
        return {**entry, "filename": "f.jsonl", "purpose": "batch", "status": "processed"}

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        batch_id = f"batch_{len(self.batches)}"
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        ids = {line["custom_id"] for line in lines}
        assert len(ids) == len(lines) <= 50_000
        assert {(line["method"], line["url"]) for line in lines} == {("POST", asked["endpoint"])}
        assert len({line["body"]["model"] for line in lines}) == 1
        self.server.write_down("B", batch_id)
        batch = {
            "id": batch_id,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "completion_window": asked["completion_window"],
            "input_file_id": asked["input_file_id"],
            "created_at": int(time.time()),
            "metadata": asked["metadata"],
            "status": "validating",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        self.batches[batch_id] = batch
        self.polls[batch_id] = 0
        return batch

    def in_work(self) -> int:
        return sum(b["request_counts"]["total"] for b in self.batches.values() if b["status"] == "in_progress")

    def poll(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        self.polls[batch_id] += 1
        if batch["status"] == "validating":
            if self.in_work() + batch["request_counts"]["total"] > self.faults.most:
                said = (
                    "Enqueued token limit reached. Please try again once some in_progress batches have been completed."
                )
                batch["status"] = "failed"
                batch["errors"] = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": said}]}
            else:
                batch["status"] = "in_progress"
        elif batch["status"] == "in_progress" and self.polls[batch_id] > self.faults.polls:
            self.work(batch, len(self.files[batch["input_file_id"]].splitlines()), "completed")
        elif batch["status"] == "cancelling":
            self.work(batch, batch["request_counts"]["total"] // 2, "cancelled")
        return batch

    def cancel(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "cancelling"
        return batch

    def work(self, batch: dict[str, Any], count: int, status: str) -> None:
        """Answer the first so many requests."""
        output, errors = [], []
        for line in self.files[batch["input_file_id"]].splitlines()[:count]:
            entry = json.loads(line)
            name = hashlib.sha256(json.dumps(entry["body"]["messages"]).encode()).hexdigest()
            self.server.arrivals[name] += 1
            self.server.write_down("A", name)
            fault, reply = self.fault(name), {"id": f"r-{name[:8]}", "custom_id": entry["custom_id"], "error": None}
            self.server.forbids |= self.faults.forbids
            if fault is None and (refusal := self.server.refusal(entry["body"])) is not None:
                errors.append({**reply, "response": {"status_code": refusal[0], "body": refusal[1]}})
            elif fault in ("500", "429"):
                response = {"status_code": int(fault), "body": {"error": {"message": "too much"}}}
                errors.append({**reply, "response": response})
            elif fault == "expired":
                status = "expired"
                error = {"code": "batch_expired", "message": "could not be executed before the window expired"}
                errors.append({**reply, "response": None, "error": error})
            elif fault != "left out":
                answer = self.server.completion(entry["body"], name)
                answer["choices"] = [] if fault == "no choice" else answer["choices"]
                output.append({**reply, "response": {"status_code": 200, "request_id": "r", "body": answer}})
                if fault is None:
                    self.server.write_down("S", name)
                else:
                    output[-1] = output[-1] if fault == "no choice" else "damaged"
        random.Random(batch["id"]).shuffle(output)  # their order is not that of the requests
        for kind, lines in (("output", output), ("error", errors)):
            text = [line[:7] if isinstance(line, str) else json.dumps(line) for line in lines]
            batch[f"{kind}_file_id"] = self.keep("\n".join([*text, ""]).encode())["id"] if lines else None
        batch["status"] = status
        batch[f"{status}_at"] = int(time.time())
        batch["request_counts"] = {"total": count, "completed": len(output), "failed": len(errors)}

    def fault(self, name: str) -> str | None:
        chance = random.Random(f"batch {name}")
        if self.server.arrivals[name] > 1 or chance.random() >= self.faults.share:
            return None
        return chance.choice(FAULTS)
