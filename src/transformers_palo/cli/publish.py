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
"""`palo publish`: a trained folder becomes a model on the Hub."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def publish(
    folder: Annotated[Path, typer.Argument(help="The model's folder: weights, config, processor, card.")],
    repo_id: Annotated[str, typer.Argument(metavar="USER/REPO", help="Where on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Only you may see it, if it is new.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to publish to. [default: main]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, list it, and send nothing.")] = False,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Add the model's code, for users without this package.")
    ] = False,
) -> None:
    """Publish a model on the Hub, in one commit.

    Checked before anything is sent: the folder loads and answers about a picture; it holds no pickle, no state of a
    training, no secret and no path of this machine. After a broken connection, run the same command again.

    Example:  palo publish outputs/my-palo user/my-palo --private
    """
    from ..hub.publish import NotPublishableError, check_login, prepare, upload

    if not dry_run:
        check_login()
    try:
        publication = prepare(folder, repo_id, with_code=with_code, revision=revision)
    except NotPublishableError as error:
        for problem in error.problems:
            print(f"palo: {problem}", file=sys.stderr)
        count = f"{len(error.problems)} problem" + "s" * (len(error.problems) != 1)
        raise ValueError(f"{folder} was not published: {count}, named above.") from error
    print(f"It answers about a test picture: {publication.answer!r}", file=sys.stderr)
    if dry_run:
        print(publication.listing(), publication.card, sep="\n\n")
        return
    commit = upload(publication, private=private, revision=revision)
    print(publication.listing(), file=sys.stderr)
    print(f"Published {commit.commit_url}")
