"""Translate 20 records of LLaVA's shape into Hindi, French and Arabic, check and repair them, and build a training file.

Runs offline: the "translator" behind the endpoint is a dictionary of the records' own sentences, which makes three faults on
purpose. With a real endpoint, all that changes is --base-url and --model.

python examples/translate_llava_instruct.py [--output-dir DIR] [--base-url URL --model NAME]
"""

import argparse
import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from transformers_palo.llm import Endpoint
from transformers_palo.translation.build import build
from transformers_palo.translation.report import check_run, console_report
from transformers_palo.translation.run import Job, translate_file


SAMPLE = json.loads(Path(__file__).with_name("llava_instruct_sample.json").read_text(encoding="utf-8"))
LANGUAGES = {"Hindi": "hi", "French": "fr", "Arabic": "ar"}


class DictionaryTranslator(BaseHTTPRequestHandler):
    """OpenAI's chat completions, answered from a dictionary."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = translate(request["messages"][-1]["content"])
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        usage = {"prompt_tokens": 300, "completion_tokens": 30}
        body = json.dumps({"model": "dictionary", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def translate(message: str) -> str:
    """The dictionary's entry for the text between the markers, with a fault or two."""
    text = re.search(r"<<<TEXT (\w+)>>>\n(.*)\n<<<END \1>>>", message, flags=re.DOTALL)[2]
    language = LANGUAGES[re.search(r"into (\w+)\.", message)[1]]
    # The dictionary knows whole sentences: the mask that stands for coordinates is put in and out.
    coordinates = "[0.25, 0.31, 0.78, 0.92]"
    answer = SAMPLE["dictionary"][language].get(text.replace("⟦1⟧", coordinates), text)
    if "⟦1⟧" in text:
        answer = answer.replace(coordinates, "⟦1⟧")
    if language == "hi":
        answer = answer.replace("।", " .")  # a full stop instead of the danda: repaired
    if language == "fr" and "elephants" in text:
        answer = text  # never translated: rejected
    if language == "ar" and "umbrella" in text and "not accepted" not in message:
        answer = f"Here is the translation: {answer}"  # right when asked again
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=Path("outputs/translation"))
    parser.add_argument("--base-url", help="A real endpoint instead of the dictionary.")
    parser.add_argument("--model", default="dictionary")
    args = parser.parse_args()

    base_url = args.base_url
    if base_url is None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), DictionaryTranslator)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base_url = f"http://127.0.0.1:{server.server_port}/v1"
    if args.output_dir.is_dir() and any(args.output_dir.iterdir()) and not (args.output_dir / "run").is_dir():
        raise SystemExit(
            f"{args.output_dir} holds other files, which this example would overwrite: choose another folder."
        )
    args.output_dir.mkdir(parents=True, exist_ok=True)
    source = args.output_dir / "records.json"
    source.write_text(json.dumps(SAMPLE["records"], ensure_ascii=False, indent=1), encoding="utf-8")

    run = args.output_dir / "run"
    summary = translate_file(Job(source, run, list(LANGUAGES.values()), args.model), Endpoint(base_url, concurrency=8))
    print(summary.usage.describe(), "\n")
    reports = check_run(run)
    print(console_report(reports))

    first = json.loads((run / "hi.jsonl").read_text(encoding="utf-8").splitlines()[0])
    print("\nRepaired, every full stop now a danda:")
    print(f"  {first['english_conversations'][1]['value']}\n  {first['conversations'][1]['value']}")
    for code, report in reports.items():
        for reason, examples in report.examples.items():
            print(f"\nRejected in {code} for {reason} ({examples[0]['source_id']}):")
            print(f"  {examples[0]['english']}\n  {examples[0]['translation']}\n  {examples[0]['detail']}")

    training_file = args.output_dir / "data" / "train.jsonl"
    shutil.rmtree(
        training_file.parent, ignore_errors=True
    )  # this example's own, of the last time: build overwrites nothing
    counts = build([run], training_file, include_english=source, seed=0)
    print(f"\n{training_file}: {counts.records.total()} records ({dict(counts.records)})")


if __name__ == "__main__":
    main()
