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
"""The `palo` command: one module a subcommand, errors on one line."""

import io
import os
import sys
from collections.abc import Callable

import typer

from . import ask, convert, data, env, publish, quickstart, train, translate


app = typer.Typer(
    name="palo",
    help="PALO, the vision-language model that answers in ten languages.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A user's mistake is told on one line; PALO_DEBUG=1 or 'palo --debug COMMAND' shows the traceback.",
)

COMMANDS: dict[str, Callable[..., None]] = {
    "ask": ask.ask,
    "convert": convert.convert,
    "quickstart": quickstart.quickstart,
    "publish": publish.publish,
    "env": env.env,
}
for name, command in COMMANDS.items():
    app.command(name, cls=ask.AskCommand if name == "ask" else None)(command)
app.add_typer(data.app, name="data")
app.command("train", context_settings=train.CONTEXT)(train.train)
app.add_typer(translate.app, name="translate")


@app.callback()
def _options(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    if debug:
        os.environ["PALO_DEBUG"] = "1"


def main() -> None:
    """Entry point: run the command; what went wrong is one line on standard error and exit code 1."""
    # Ten languages: text is UTF-8 whatever the locale says, and a half character at the end of an answer is no error.
    # What comes in is kept byte for byte, so that a command can tell what is no UTF-8.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace"), (sys.stderr, "replace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)
    try:
        app()
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        if os.environ.get("PALO_DEBUG") == "1":
            raise
        print(f"palo: error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("palo: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    # For `accelerate launch -m transformers_palo.cli.main train ...`.
    main()
