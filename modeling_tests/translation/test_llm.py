"""The client: what is retried and how long it waits, what stops at once, what is kept."""

import ast
import asyncio
import email.utils
import json
import random
import resource
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformers_palo.llm import (
    ChatClient,
    ChatRequest,
    Endpoint,
    FatalEndpointError,
    Journal,
    JournalError,
    RefusedRequestError,
    UnansweredError,
)
from transformers_palo.llm.chat import parse_reply
from transformers_palo.llm.errors import RetryableEndpointError, retry_after
from transformers_palo.llm.pace import Pace
from transformers_palo.llm.secret import Secret
from transformers_palo.llm.usage import ProgressLine

from .conftest import in_a_fork


def request(text: str = "Hello.", **fields) -> ChatRequest:
    messages = ({"role": "system", "content": "Answer."}, {"role": "user", "content": text})
    return ChatRequest("some-model", messages, 64, **fields)


def completion(text: str | None = "Good day.", **message) -> dict:
    return {
        "model": "some-model-1",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3},
    }


class Scripted:
    """A server on the loopback interface that answers by script: (status, headers, body), or what makes one of a request."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.requests: list[dict] = []
        self.headers: list[str] = []
        self.times: list[float] = []

    async def __aenter__(self) -> "Scripted":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")
                )
                self.requests.append(json.loads(await reader.readexactly(length)))
                self.headers.append(head)
                self.times.append(time.monotonic())
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                status, headers, body = answer(self.requests[-1]) if callable(answer) else answer
                if status == "hang":
                    await asyncio.sleep(60)
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Content-Type: application/json"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


OK = (200, {}, completion())


def said(body: dict) -> str:
    """What a request asks."""
    return body["messages"][-1]["content"]


@pytest.fixture
def ask(tmp_path, monkeypatch) -> Callable:
    """Ask scripted servers; gives what was answered, the server and the client's usage."""
    monkeypatch.setattr("transformers_palo.llm.client._FIRST_WAIT", 0.01)

    def run(script, *requests, journal=tmp_path / "journal.sqlite", **options):
        async def main():
            async with Scripted(*script) as server:
                with Journal(journal) as open_journal:
                    async with ChatClient(Endpoint(server.base_url, **options), open_journal) as client:
                        answers = await asyncio.gather(*map(client.ask, requests), return_exceptions=True)
                        return answers, server, client.usage

        return asyncio.run(main())

    return run


class TestRetries:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ((429, {}, {"error": {"message": "slow down"}}), "429"),
            ((500, {}, "oops"), "500"),
            ((503, {}, {}), "503"),
            ((200, {}, '{"choices": [{"mess'), "malformed reply"),
            ((200, {}, {"choices": []}), "malformed reply"),
            ((200, {}, "<html>"), "malformed reply"),
            (("hang", {}, ""), "timeout"),
        ],
    )
    def test_what_passes_is_asked_again(self, ask, fault, kind):
        (answer,), server, usage = ask([fault, OK], request(), timeout=0.3)
        assert answer.text == "Good day."
        assert dict(usage.retries) == {kind: 1}
        assert len(server.requests) == 2

    @pytest.mark.parametrize("headers", [{"Retry-After": "0.4"}, {"retry-after-ms": "400"}])
    def test_retry_after_is_honoured(self, ask, headers):
        _, server, _ = ask([(429, headers, {}), OK], request())
        assert server.times[1] - server.times[0] >= 0.4

    def test_retry_after_as_a_date(self):
        date = email.utils.formatdate(time.time() + 30, usegmt=True)
        assert 28 < retry_after({"retry-after": date}) <= 30
        assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
        assert retry_after({"retry-after": "soon"}) is None
        assert retry_after({}) is None

    def test_waits_grow(self, ask, monkeypatch):
        monkeypatch.setattr("transformers_palo.llm.client._FIRST_WAIT", 0.1)
        _, server, _ = ask([(500, {}, {})] * 3 + [OK], request())
        gaps = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
        assert gaps[0] >= 0.05 and gaps[1] >= 0.1 and gaps[2] >= 0.2

    def test_an_endpoint_that_answers_nothing_stops_the_run(self, ask):
        (first, second), server, _ = ask([(500, {}, {})], request("a"), request("b"), max_retries=2, concurrency=1)
        assert isinstance(first, FatalEndpointError) and "No answer after 3 tries" in str(first)
        assert isinstance(second, FatalEndpointError)
        assert len(server.requests) == 3

    def test_one_request_among_answered_ones_is_left_for_later(self, ask):
        async def fail_a(self, request):
            if request.messages[-1]["content"] == "a":
                await asyncio.sleep(0.05)
                raise RetryableEndpointError("no", "500")
            return parse_reply(json.dumps(completion())), 0.0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ChatClient, "_send", fail_a)
            (first, second), _, _ = ask([OK], request("a"), request("b"), max_retries=2)
        assert isinstance(first, UnansweredError)
        assert second.text == "Good day."

    def test_nobody_there_is_told_soon(self, tmp_path, monkeypatch):
        monkeypatch.setattr("transformers_palo.llm.client._FIRST_WAIT", 0.01)

        async def main():
            with Journal(tmp_path / "journal.sqlite") as journal:
                async with ChatClient(Endpoint("http://127.0.0.1:9/v1"), journal) as client:
                    await client.ask(request())

        with pytest.raises(FatalEndpointError, match="No answer after 3 tries: no connection to http"):
            asyncio.run(main())


class TestWhatStops:
    @pytest.mark.parametrize(
        ("status", "error", "advice"),
        [
            (401, {"message": "bad key"}, "OPENAI_API_KEY"),
            (403, {"message": "not there", "code": "unsupported_country_region_territory"}, "another model"),
            (404, {"message": "no such model", "code": "model_not_found"}, "--model"),
            (429, {"message": "no money", "code": "insufficient_quota"}, "top up"),
        ],
    )
    def test_fatal_errors_are_sent_once(self, ask, status, error, advice):
        answers, server, _ = ask([(status, {}, {"error": error})], request("a"), request("b"), concurrency=1)
        assert all(isinstance(answer, FatalEndpointError) for answer in answers)
        assert advice in str(answers[0])
        assert len(server.requests) == 1

    def test_a_request_that_is_refused_concerns_no_other(self, ask):
        """Where nothing was answered yet, a greeting is: so it was the text."""
        refused = (400, {}, {"error": {"message": "too long"}})
        (first, second), server, usage = ask([refused, OK], request("a"), request("b"), concurrency=1)
        assert isinstance(first, RefusedRequestError) and "too long" in str(first)
        assert second.text == "Good day."
        assert said(server.requests[1]).startswith("Hello.")
        assert len(server.requests) == 3 and usage.answered == 2

    def test_a_greeting_that_is_refused_stops_the_run(self, ask):
        refused = (400, {}, {"error": {"message": "unknown field"}})
        answers, server, _ = ask([refused], *[request(str(i)) for i in range(40)], concurrency=1)
        assert all(isinstance(answer, FatalEndpointError) for answer in answers)
        assert "a mere greeting was refused as well" in str(answers[0])
        assert len(server.requests) == 2

    @pytest.mark.parametrize(
        "body", [{"error": {"message": "your input was flagged", "code": 403}}, "<html>No.</html>"]
    )
    def test_a_text_against_the_rules_that_is_answered_by_403(self, ask, body):
        def moderated(request):
            return (403, {}, body) if said(request).startswith("bad") else OK

        texts = [f"{'bad' if i % 5 == 0 else 'good'} {i}" for i in range(40)]
        answers, _, usage = ask([moderated], *map(request, texts), concurrency=8)
        for text, answer in zip(texts, answers, strict=True):
            assert isinstance(answer, RefusedRequestError) == text.startswith("bad")
        assert 32 < usage.answered <= 40  # the greetings are counted

    def test_a_key_that_is_withdrawn_meanwhile(self, ask):
        """Nothing is refused for it as if it were the text's fault."""
        answers, server, _ = ask(
            [OK, OK, (403, {}, {"error": {"message": "not yours"}})], *map(request, "abcd"), concurrency=1
        )
        assert [type(answer).__name__ for answer in answers] == ["Reply", "Reply"] + ["FatalEndpointError"] * 2
        assert "not yours" in str(answers[2]) and "use a key that may use this model" in str(answers[2])
        assert len(server.requests) == 4

    def test_odd_errors(self, ask):
        """Whatever stands where a text is expected, the error has its class."""
        for error in ({"message": {"a": 1}, "code": {"b": []}, "param": [1]}, {"code": 7}, [], None, "x" * 10_000):
            (answer,), _, _ = ask([OK, (400, {}, {"error": error})], request("a"))
            (answer,), _, _ = ask([(400, {}, {"error": error}), OK], request(repr(error)))
            assert isinstance(answer, RefusedRequestError)
            assert len(str(answer)) < 500

    @pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-5"])
    def test_a_retry_after_that_is_no_time(self, value):
        assert 0 <= retry_after({"retry-after": value}) <= 3600

    @pytest.mark.parametrize(
        "url", ["localhost:8000", "ftp://host/v1", "", "http://", "http://[::1/v1", "http://h:x/v1"]
    )
    def test_what_is_no_url(self, url):
        with pytest.raises(ValueError, match="Expected a base URL"):
            Endpoint(url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://me:secret@host/v1", "https://host/v1?key=secret", "http://host/v1#secret", "host/v1?api-key=secret",
            "me:secret@host:8000/v1", "http://host:x/v1?key=secret", "http://secret@[::1/v1",
        ],
    )  # fmt: skip
    def test_a_secret_in_the_url_is_refused_and_not_repeated(self, url):
        with pytest.raises(ValueError, match=r"in the URL of host, where others see it|Expected a base URL") as error:
            Endpoint(url)
        assert "secret" not in str(error.value)


class TestModelsThatNameParametersOtherwise:
    def test_max_completion_tokens_and_no_temperature(self, ask):
        script = [
            (400, {}, {"error": {"message": "use another", "code": "unsupported_parameter", "param": "max_tokens"}}),
            (400, {}, {"error": {"message": "only 1", "code": "unsupported_value", "param": "temperature"}}),
            OK,
        ]
        answers, server, _ = ask(script, request("a"), request("b"), concurrency=1)
        assert [answer.text for answer in answers] == ["Good day."] * 2
        sent = [sorted(set(one) - {"model", "messages"}) for one in server.requests]
        assert (
            sent
            == [["max_tokens", "temperature"], ["max_completion_tokens", "temperature"]]
            + [["max_completion_tokens"]] * 2
        )

    def test_a_complaint_that_stays_is_a_refusal(self, ask):
        fault = (400, {}, {"error": {"message": "no", "code": "unsupported_value", "param": "temperature"}})
        (answer,), server, _ = ask([fault], request())
        assert isinstance(answer, FatalEndpointError)
        assert len(server.requests) == 3  # without the parameter, and a greeting


class TestReplies:
    def test_thoughts_are_left_out(self):
        assert parse_reply(json.dumps(completion("<think>\nHm.\n</think>\n\nJa."))).text == "Ja."

    def test_a_refusal_is_a_text(self):
        assert parse_reply(json.dumps(completion(None, refusal="I cannot."))).text == "I cannot."

    def test_an_answer_without_content(self):
        assert parse_reply(json.dumps(completion(None))).text == ""


# What may stand anywhere in a reply.
ODD_VALUES = [
    None, True, 0, -1, 1.5, 1e400, 2**63, 10**400, "", "12", "\ud83d", "\x00", "a\x00b", [], [[]], {}, {"a": 1}, ["a", 1],
]  # fmt: skip


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Where in a JSON value something stands."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def replaced(value: object, path: tuple, new: object) -> object:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


class TestOddReplies:
    BODIES = [
        *(json.dumps(replaced(completion(), path, odd)) for path in places(completion()) for odd in ODD_VALUES),
        json.dumps(completion("x" * 5_000_000)),
        json.dumps(completion("\x00" * 1000)),
        json.dumps(completion([{"type": "text", "text": "Good "}, {"type": "text", "text": "day."}])),
        "[" * 100_000,
        '{"choices": [{"message": {"content": "\xff"}}]}',
        "\ufeff" + json.dumps(completion()),
    ]  # fmt: skip

    def test_none_stops_the_run_or_hangs(self, ask, tmp_path):
        """Every reply is kept as it is, or asked for again."""
        seen = set()

        def answer(request):
            number = int(said(request))
            again = number in seen
            seen.add(number)
            return OK if again else (200, {}, self.BODIES[number])

        requests = [request(str(number)) for number in range(len(self.BODIES))]
        answers, _, usage = ask([answer], *requests)
        failed = [(self.BODIES[i][:200], a) for i, a in enumerate(answers) if isinstance(a, BaseException)]
        assert not failed
        assert usage.answered == len(requests)
        assert set(usage.retries) == {"malformed reply"}
        assert 0 <= usage.prompt_tokens < 2**63
        with Journal(tmp_path / "journal.sqlite") as journal:
            assert [journal.find(one) for one in requests] == answers

    def test_half_a_character_becomes_a_whole_one(self):
        reply = parse_reply(json.dumps(completion("a \ud83d dog \ud83d\ude00")))
        assert reply.text == "a \ufffd dog \U0001f600"

    def test_a_text_in_parts(self):
        assert parse_reply(self.BODIES[-4]).text == "Good day."

    @pytest.mark.parametrize(
        ("found", "count"), [(7, 7), ("7", 7), (7.0, 7), ("n/a", 0), (-1, 0), (1e999, 0), (2**70, 0), ([], 0)]
    )
    def test_counts_of_tokens(self, found, count):
        assert parse_reply(json.dumps(completion() | {"usage": {"prompt_tokens": found}})).prompt_tokens == count


class TestJournal:
    @pytest.mark.parametrize("value", [2**70, "\ud83d", {}])
    def test_what_cannot_be_written_is_told_and_nobody_waits_for_ever(self, tmp_path, value):
        async def main():
            with Journal(tmp_path / "journal.sqlite") as journal:
                for _ in range(2):
                    write = journal.write([("INSERT INTO meta VALUES ('a', ?)", (value,))])
                    with pytest.raises(JournalError, match="cannot be"):
                        await asyncio.wait_for(write, 10)

        asyncio.run(main())

    def test_a_file_that_goes_away(self, tmp_path):
        """The thread that writes opens it for itself, at its first write."""

        async def main():
            with Journal(tmp_path / "a" / "journal.sqlite") as journal:
                (tmp_path / "a").rename(tmp_path / "b")
                with pytest.raises(JournalError):
                    await asyncio.wait_for(
                        journal.record(request("a"), parse_reply(json.dumps(completion())), 0.1), 10
                    )

        (tmp_path / "a").mkdir()
        asyncio.run(main())

    def test_an_answered_request_is_not_sent_again(self, ask):
        ask([OK], request("a"))
        (answer,), server, usage = ask([(500, {}, {})], request("a"))
        assert answer.text == "Good day."
        assert server.requests == []
        assert (usage.answered, usage.reused) == (0, 1)

    def test_equal_requests_at_the_same_time_are_sent_once(self, ask):
        answers, server, _ = ask([OK], *[request("a")] * 5, request("b"))
        assert len(answers) == 6
        assert len(server.requests) == 2

    @pytest.mark.parametrize(
        "other", [request("b"), request(temperature=0.5), request(response_format={"type": "json_object"})]
    )
    def test_a_request_that_differs_is_another(self, other):
        assert other.key != request().key

    def test_what_is_kept_of_an_exchange(self, ask, tmp_path):
        ask([OK], request("a"))
        with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
            row = connection.execute(
                "SELECT model, messages, message, parameters, reply, served_model, prompt_tokens, completion_tokens, "
                "seconds, answered_at FROM exchanges JOIN prefixes ON prefix = digest"
            ).fetchone()
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert row[0] == "some-model"
        assert json.loads(row[1]) == [{"role": "system", "content": "Answer."}]
        assert row[2] == "a"
        assert json.loads(row[3]) == {"max_tokens": 64, "temperature": 0.0}
        assert json.loads(row[4]) == completion()
        assert row[5:8] == ("some-model-1", 10, 3)
        assert 0 < row[8] < 5
        assert row[9].endswith("Z")

    def test_one_user_at_a_time(self, tmp_path):
        with Journal(tmp_path / "journal.sqlite"), pytest.raises(JournalError, match="in use by another process"):
            Journal(tmp_path / "journal.sqlite")

    @pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 40, None])
    def test_another_file(self, tmp_path, content):
        path = tmp_path / "journal.sqlite"
        if content is None:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE mine (x)")
        else:
            path.write_bytes(content)
        before = path.read_bytes()
        with pytest.raises(ValueError, match="expected a journal"):
            Journal(path)
        assert path.read_bytes() == before

    def test_a_disk_that_fills_up(self, tmp_path):
        """A real limit on the size of files: what was written before stays, what follows is told."""
        path = tmp_path / "journal.sqlite"
        long_reply = parse_reply(json.dumps(completion("x" * 4000)))

        async def fill() -> tuple[int, str]:
            with Journal(path) as journal:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
                for number in range(1000):
                    try:
                        await journal.record(request(str(number)), long_reply, 0.1)
                    except JournalError as error:
                        return number, str(error)
            return 1000, ""

        kept, message = ast.literal_eval(in_a_fork(lambda: asyncio.run(fill())))
        assert 10 < kept < 1000
        assert "run the same command again" in message
        with Journal(path) as journal:
            assert list(journal.rows("SELECT count(*) FROM exchanges")) == [(kept,)]


def as_json_may_write_it(key: str, chance: random.Random) -> str:
    ways = (str, lambda one: f"\\u00{ord(one):02x}", lambda one: f"\\{one}" if one in '"\\/' else one)
    return "".join(chance.choice(ways)(one) if one not in '"\\' else chance.choice(ways[1:])(one) for one in key)


class TestTheKey:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
        around=st.sampled_from(["", "\n", " ", "\r\n"]),
        seed=st.integers(0, 1000),
    )
    def test_it_is_nowhere_but_in_its_header(self, tmp_path_factory, caplog, key, around, seed):
        """Not even where an endpoint repeats it, in an answer or in an error, nor in logs."""
        folder = tmp_path_factory.mktemp("key")
        written = as_json_may_write_it(key, random.Random(seed))
        answer = json.dumps(completion("KEY")).replace("KEY", f"Your key is {written}.")
        refusal = json.dumps({"error": {"message": "KEY", "code": "KEY"}}).replace("KEY", written)
        caplog.set_level("DEBUG")

        async def main():
            with Journal(folder / "journal.sqlite") as journal:
                async with (
                    Scripted((200, {}, answer), (429, {}, refusal), (400, {}, refusal), (401, {}, refusal)) as server,
                    ChatClient(Endpoint(server.base_url, concurrency=1), journal) as client,
                ):
                    answers = await asyncio.gather(*map(client.ask, map(request, "abcd")), return_exceptions=True)
                    return answers, server.headers, client.usage.describe()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("transformers_palo.llm.client._FIRST_WAIT", 0.01)
            patch.setenv("OPENAI_API_KEY", key + around)
            answers, headers, usage = asyncio.run(main())
        assert f"Bearer {key}\r\n" in headers[0]
        assert answers[0].text == "Your key is [key]."
        assert [type(one).__name__ for one in answers[1:]] == [
            "RefusedRequestError",
            "FatalEndpointError",
            "FatalEndpointError",
        ]
        shown = [repr(one) + str(one) + "".join(traceback.format_exception(one)) for one in answers[1:]]
        files = b"".join(path.read_bytes() for path in folder.iterdir()).decode("utf-8", "replace")
        for text in (repr(answers[0]), *shown, usage, caplog.text, files):
            assert key not in text and written not in text and repr(key)[1:-1] not in text

    @pytest.mark.parametrize(
        "key", ["sk-one\nsk-two-secret", "sk-sécret", "sk secret", "\x00sk-secret", "sk-\u200bsecret"]
    )
    def test_what_is_no_key(self, monkeypatch, key):
        if "\x00" not in key:
            monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ValueError, match="OPENAI_API_KEY") as error:
            Secret(key)
        assert "cret" not in str(error.value)

    @pytest.mark.parametrize("key", ["", "none", "EMPTY", "x"])
    def test_a_stand_in_is_no_secret(self, ask, monkeypatch, key):
        """An answer that contains the same word stays as it is."""
        monkeypatch.setenv("OPENAI_API_KEY", key)
        (answer,), _, _ = ask([(200, {}, completion("x none EMPTY"))], request())
        assert answer.text == "x none EMPTY"


class TestPace:
    def test_requests_are_spread(self):
        async def main() -> float:
            pace = Pace(600)
            began = time.monotonic()
            for _ in range(4):
                await pace.take()
            return time.monotonic() - began

        assert asyncio.run(main()) > 0.29

    def test_no_limit(self):
        async def main() -> float:
            pace, began = Pace(None), time.monotonic()
            for _ in range(1000):
                await pace.take(1e6)
            return time.monotonic() - began

        assert asyncio.run(main()) < 5

    def test_limits_of_the_endpoint(self, ask):
        _, server, _ = ask([OK], *[request(str(i)) for i in range(4)], requests_per_minute=600)
        # The last may not start before 0.3 s; how late the first arrives is the machine's business.
        assert server.times[-1] - server.times[0] >= 0.1
        _, server, _ = ask([OK], *[request(f"{i} again") for i in range(3)], tokens_per_minute=600)
        assert server.times[-1] - server.times[0] >= 0.5


def test_progress_in_a_log(capsys):
    progress = ProgressLine(sys.stderr)
    progress._interval = 0.0
    progress.show(0.25, "2 accepted")
    time.sleep(0.01)
    progress.show(0.5, "4 accepted")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == " 25.0%, ? to go, 2 accepted"
    assert lines[1] == " 50.0%, 0:00:00 to go, 4 accepted"
