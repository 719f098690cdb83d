"""`palo translate run --batch` against a real server with files and batches, killed between any two steps."""

import asyncio
import filecmp
import json
import signal
import sqlite3
import time
import tracemalloc
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from transformers_palo.llm import Endpoint, FatalEndpointError, batch, batch_api
from transformers_palo.llm.batch import BatchLimits
from transformers_palo.llm.batch_files import read_requests, read_results
from transformers_palo.translation.batches import collect_batches
from transformers_palo.translation.run import Batching, Job, translate_file

from .conftest import Loopback, make_records, read_lines, write_records


LANGUAGES = ["hi", "zh"]
SMALL = Batching(limits=BatchLimits(requests=20))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(batch, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(batch_api, "_FIRST_WAIT", 0.01)


def job(tmp_path: Path, name: str = "run", records: list[dict] | None = None, **fields) -> Job:
    path = tmp_path / "records.json"
    if records is not None or not path.exists():
        write_records(path, make_records(30) if records is None else records)
    return Job(**{"input": path, "output_dir": tmp_path / name, "languages": LANGUAGES, "model": "m", **fields})


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}


def logged(server: Loopback, what: str) -> Counter[str]:
    return Counter(line[2:] for line in server.log.read_text().splitlines() if line.startswith(what))


def states(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        return [state for (state,) in connection.execute("SELECT state FROM batches ORDER BY id")]


@pytest.mark.parametrize("whole", [False, True])
def test_files_are_those_of_a_run_without_batches(tmp_path, serve, whole):
    plain, batching = serve(content_faults=0.1), serve(content_faults=0.1, batch_faults=0.2, batch_resets=1)
    translate_file(job(tmp_path, "plain", whole_conversations=whole), Endpoint(plain.base_url))
    summary = translate_file(job(tmp_path, whole_conversations=whole), Endpoint(batching.base_url), None, SMALL)
    assert not summary.unanswered
    assert outputs(tmp_path / "run") == outputs(tmp_path / "plain")
    assert set(states(tmp_path / "run")) == {"collected"}
    # Every request of the plain run, each answered once.
    assert logged(batching, "S") == logged(plain, "S")
    assert not list((tmp_path / "run" / "batches").iterdir())
    assert len(summary.usage.retries) >= (3 if whole else 5)


def test_a_lost_reply_to_create_makes_no_second_batch(tmp_path, serve):
    server = serve(batch_resets=1)
    translate_file(job(tmp_path), Endpoint(server.base_url), None, SMALL)
    assert len(logged(server, "B")) == len(states(tmp_path / "run"))
    assert set(logged(server, "S").values()) == {1}


def killed_after(steps: int, work: Job, endpoint: Endpoint) -> bool:
    """Run in a process that kills itself after so many steps of its batches; whether it came to an end before."""
    import multiprocessing
    import os

    from transformers_palo.llm.batch_api import BatchApi
    from transformers_palo.llm.journal import Journal

    def run() -> None:
        left = steps

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        def watched(function, is_step=lambda *arguments: True):
            async def call(*arguments):
                if not is_step(*arguments):
                    return await function(*arguments)
                step()
                result = await function(*arguments)
                step()
                return result

            return call

        for name in ("upload", "create", "retrieve", "download"):
            setattr(BatchApi, name, watched(getattr(BatchApi, name)))
        Journal.write = watched(Journal.write, lambda _, writes: "batches" in writes[0][0])
        translate_file(work, endpoint, None, Batching(limits=BatchLimits(requests=40)))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def test_killed_after_every_step_nothing_is_paid_twice(tmp_path, serve):
    plain, server = serve(), serve(batch_polls=0)
    translate_file(job(tmp_path, "plain"), Endpoint(plain.base_url))
    work, kills = job(tmp_path), 0
    while not killed_after(kills % 8, work, Endpoint(server.base_url)):
        kills += 1
        assert kills < 200
    assert kills > 20
    assert outputs(tmp_path / "run") == outputs(tmp_path / "plain")
    answered = logged(server, "S")
    assert answered.keys() == logged(plain, "S").keys()
    assert set(answered.values()) == {1}
    assert len(logged(server, "B")) == len(states(tmp_path / "run"))
    assert not list((tmp_path / "run" / "batches").iterdir())


def test_run_goes_on_after_batches_and_the_other_way_round(tmp_path, server):
    endpoint = Endpoint(server.base_url)
    translate_file(job(tmp_path, limit=5), endpoint)
    once = Batching(wait=False)
    summary = translate_file(job(tmp_path), endpoint, None, once)
    assert summary.unanswered.total() == 2 * 25
    assert "batch" in summary.why_unanswered
    with pytest.raises(ValueError, match=r"1 batches under way, whose requests would be paid twice"):
        translate_file(job(tmp_path), endpoint)
    while states(tmp_path / "run").count("collected") < 2:
        translate_file(job(tmp_path), endpoint, None, once)
    translate_file(job(tmp_path), endpoint, None, SMALL)
    assert len(read_lines(tmp_path / "run" / "hi.jsonl")) == 30
    assert set(logged(server, "S").values()) == {1}


def test_a_batch_at_another_address_is_not_forgotten(tmp_path, serve):
    one, other = serve(), serve()
    translate_file(job(tmp_path), Endpoint(one.base_url), None, Batching(wait=False))
    with pytest.raises(ValueError, match=f"is under way at {one.base_url}, not at {other.base_url}"):
        translate_file(job(tmp_path), Endpoint(other.base_url), None, SMALL)


def test_killed_between_upload_and_create_collect_starts_all_that_wait(tmp_path, server, monkeypatch):
    once = Batching(wait=False, limits=BatchLimits(requests=8))

    async def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(batch.BatchApi, "create", killed)
        translate_file(job(tmp_path), Endpoint(server.base_url), None, once)
    assert len(states(tmp_path / "run")) >= 4
    collect_batches(tmp_path / "run")
    assert set(states(tmp_path / "run")) == {"under way"}


@pytest.mark.parametrize("text", ["REFUSE ME, the answer says.", "FORBID ME, the answer says."])
def test_refused_requests_are_rejected_in_the_same_words(tmp_path, server, text):
    records = make_records(12)
    records[7]["conversations"][1]["value"] = text
    for name, batching in (("plain", None), ("run", SMALL)):
        translate_file(job(tmp_path, name, records), Endpoint(server.base_url), None, batching)
    for language in LANGUAGES:
        (reject,) = read_lines(tmp_path / "run" / f"{language}.rejects.jsonl")
        assert reject["reasons"] == ["request_refused"]
    assert outputs(tmp_path / "run") == outputs(tmp_path / "plain")


def test_a_key_that_is_withdrawn_meanwhile_rejects_nothing(tmp_path, serve):
    server = serve(batch_forbids=1)
    with pytest.raises(FatalEndpointError, match=r"403.*a mere greeting was refused as well"):
        translate_file(job(tmp_path), Endpoint(server.base_url), None, SMALL)
    with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM results WHERE NOT accepted").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM batch_refusals").fetchone() == (0,)


def test_damaged_results_are_left_out(tmp_path):
    path = tmp_path / "batch.output"
    results = ["a", {"status_code": "500"}, {"status_code": 400, "body": {"error": {"message": "half \ud83d"}}}]
    lines = [json.dumps({"custom_id": str(number), "response": one}) for number, one in enumerate(results)]
    path.write_text("\n".join([*lines, "[" * 100_000, '"text"', ""]))
    ((custom_id, refusal),) = read_results(path, "http://x/v1", str)
    assert (custom_id, str(refusal)) == ("2", "http://x/v1 answered 400: Error code: 400 - half \ufffd")


def test_an_output_is_not_held_in_memory(tmp_path, server):
    path, copy = tmp_path / "large", tmp_path / "copy"
    path.write_bytes(b"x" * 40_000_000)

    async def there_and_back() -> int:
        async with batch.BatchApi(server.base_url, 0) as api:
            file_id = await api.upload(path)
            tracemalloc.start()
            await api.download(file_id, copy)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

    assert asyncio.run(there_and_back()) < 10_000_000
    assert filecmp.cmp(path, copy, shallow=False)


def test_an_account_that_may_have_little_in_work(tmp_path, serve):
    """The first batches are too large even alone; smaller ones then wait for each other."""
    plain, server = serve(), serve(batch_most=16)
    translate_file(job(tmp_path, "plain"), Endpoint(plain.base_url))
    translate_file(job(tmp_path), Endpoint(server.base_url), None, Batching(limits=BatchLimits(requests=40)))
    assert outputs(tmp_path / "run") == outputs(tmp_path / "plain")
    assert "too large" in states(tmp_path / "run")
    assert set(logged(server, "S").values()) == {1}


def test_requests_are_known_again_under_a_reasoning_models_parameters(tmp_path):
    from transformers_palo.llm import ChatRequest

    request = ChatRequest("m", ({"role": "user", "content": "नमस्ते"},), 7)
    body = {"model": "m", "messages": request.messages, "max_completion_tokens": 7}
    line = json.dumps({"custom_id": request.key.hex(), "body": body}) + "\n"
    path = tmp_path / "batch.jsonl"
    path.write_text(line)
    assert read_requests(path).find(request.key.hex()) == request
    path.write_text(line.replace(": 7", ": 8"))
    with pytest.raises(ValueError, match="as they were sent"):
        read_requests(path)


def test_no_file_is_larger_than_the_api_takes(tmp_path, server, monkeypatch):
    sizes = []
    upload = batch.BatchApi.upload

    async def measured(self, path):
        sizes.append(path.stat().st_size)
        return await upload(self, path)

    monkeypatch.setattr(batch.BatchApi, "upload", measured)
    translate_file(job(tmp_path), Endpoint(server.base_url), None, Batching(limits=BatchLimits(size=30_000)))
    assert 25_000 < max(sizes) <= 30_000
    assert len(sizes) > 3


def test_a_wrong_model_is_told_before_anything_is_sent_as_a_batch(tmp_path, server):
    with pytest.raises(FatalEndpointError, match="check --model"):
        translate_file(job(tmp_path, model="unknown"), Endpoint(server.base_url), None, SMALL)
    assert not logged(server, "U")


def test_the_key_stays_in_the_environment(tmp_path, serve, monkeypatch):
    server = serve(key="sk-very-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    translate_file(job(tmp_path), Endpoint(server.base_url), None, Batching(wait=False))
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(path.parent.name == "batches" for path in files)
    assert not any(b"sk-very-secret" in path.read_bytes() for path in files)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-secret")
    with pytest.raises(FatalEndpointError, match="401") as error:
        translate_file(job(tmp_path), Endpoint(server.base_url), None, SMALL)
    assert "sk-another-secret" not in str(error.value)


def test_an_endpoint_without_batches(tmp_path, server, monkeypatch):
    from transformers_palo.llm.batch_api import BatchApi

    monkeypatch.setattr(BatchApi, "upload", lambda self, path: self.retrieve("none"))
    with pytest.raises(FatalEndpointError, match="404"):
        translate_file(job(tmp_path), Endpoint(server.base_url), None, SMALL)


def test_requests_that_are_never_answered_end_the_waiting(tmp_path, serve, monkeypatch):
    server = serve(batch_faults=1.0)
    monkeypatch.setattr("transformers_palo.translation.run._ROUNDS_IN_VAIN", 1)
    summary = translate_file(job(tmp_path), Endpoint(server.base_url), None, SMALL)
    assert summary.unanswered.total() > 50
    assert "retries" in summary.why_unanswered
    assert not translate_file(job(tmp_path), Endpoint(server.base_url), None, SMALL).unanswered


class TestCommand:
    def arguments(self, tmp_path, server, *more: object) -> list[object]:
        input = write_records(tmp_path / "records.json", make_records(9))
        options = ["--languages", "hi", "--output-dir", tmp_path / "run", "--base-url", server.base_url]
        return ["translate", "run", "--input", input, *options, "--model", "m", "--batch", *more]

    def test_send_look_collect_and_go_on(self, tmp_path, serve, here):
        server = serve(batch_polls=2)
        code, _, err = here(*self.arguments(tmp_path, server, "--no-wait"))
        assert code == 1
        assert "9 of the translations have no answer yet (hi: 000000000000, " in err
        assert "; in a batch that has not ended): run the same command" in err
        _, out, _ = here("translate", "batch", "status", tmp_path / "run")
        assert out.splitlines()[1].split()[:2] == ["batch_0", "7"]
        assert "in_progress" in out
        here("translate", "batch", "collect", tmp_path / "run")
        _, out, _ = here("translate", "batch", "collect", tmp_path / "run")
        assert out.startswith("7 answered") and "0 batches" in out
        code, out, _ = here(*self.arguments(tmp_path, server))
        assert (code, "hi: 9 accepted, 0 rejected" in out) == (0, True)
        _, out, _ = here("translate", "batch", "status", tmp_path / "run")
        assert "collected" in out and "in_progress" not in out

    def test_cancelled_batches_keep_what_they_answered(self, tmp_path, serve, here):
        server = serve(batch_polls=9)
        here(*self.arguments(tmp_path, server, "--no-wait"))
        _, out, _ = here("translate", "batch", "cancel", tmp_path / "run")
        assert out.startswith("1 batches are being stopped")
        code, _, err = here(*self.arguments(tmp_path, server))
        assert (code, err) == (0, "")
        assert set(logged(server, "S").values()) == {1}

    def test_batches_of_an_endpoint_that_is_gone_can_be_given_up(self, tmp_path, serve, here):
        gone, other = serve(), serve()
        here(*self.arguments(tmp_path, gone, "--no-wait"))
        gone.stop()
        begun = time.monotonic()
        code, out, err = here("translate", "batch", "cancel", tmp_path / "run")
        assert time.monotonic() - begun < 20
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert f"no connection to {gone.base_url}" in err and "--give-up" in err
        assert states(tmp_path / "run") == ["under way"]
        code, out, _ = here("translate", "batch", "cancel", tmp_path / "run", "--give-up")
        assert (code, states(tmp_path / "run")) == (0, ["given up"])
        assert out.startswith("1 batches of 7 requests are forgotten") and "paid twice" in out
        code, out, err = here(*self.arguments(tmp_path, other))
        assert (code, err, "hi: 9 accepted" in out) == (0, "", True)
        assert logged(other, "B")

    def test_a_batch_that_somebody_cancels_meanwhile_is_not_sent_again(self, tmp_path, serve, here, monkeypatch):
        server = serve(batch_polls=9)
        create = batch.BatchApi.create

        async def created_and_cancelled(self, *arguments):
            created = await create(self, *arguments)
            await self.cancel(created.id)
            return created

        monkeypatch.setattr(batch.BatchApi, "create", created_and_cancelled)
        code, _, err = here(*self.arguments(tmp_path, server))
        assert code == 1
        assert "batch batch_0 was cancelled" in err
        assert len(logged(server, "B")) == 1

    def test_half_the_price(self, tmp_path, server, here):
        prices = ["--estimate", "--price-prompt", 1000, "--price-completion", 1000]
        _, half, _ = here(*self.arguments(tmp_path, server, *prices))
        whole = [argument for argument in self.arguments(tmp_path, server, *prices) if argument != "--batch"]
        _, full, _ = here(*whole)
        cost = [float(out.split()[-1]) for out in (half, full)]
        assert cost[0] == pytest.approx(cost[1] / 2, rel=1e-2)

    def test_a_run_without_batches(self, tmp_path, server, here):
        here(*[argument for argument in self.arguments(tmp_path, server) if argument != "--batch"])
        for command in ("status", "collect", "cancel"):
            code, _, err = here("translate", "batch", command, tmp_path / "run")
            assert (code, "expected a run with batches, found none" in err) == (1, True)
