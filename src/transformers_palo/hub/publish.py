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
"""A model's folder becomes a repository of the Hub: checked first, then sent in one commit.

One commit, so that nobody ever sees half a model: `HfApi.create_commit` sends the large files first and commits when all
have arrived. (`upload_folder` may split a folder into several commits where Xet is used.) What has arrived is not sent
again, so after a broken connection the same command goes on where it stopped.
"""

import io
import json
import re
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import (
    build_hf_headers,
    filter_repo_objects,
    get_session,
    hf_raise_for_status,
    validate_repo_id,
)
from PIL import Image
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_SAFE_WEIGHTS_NAME,
    CONFIG_NAME,
    PROCESSOR_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
)

from ..languages import get_language
from ..models.palo.configuration_palo import PaloConfig, is_released_layout
from .checks import check_files, check_names
from .files import RepoFile, list_folder
from .load_check import answers_by_code, answers_from, sample_picture
from .model_card import (
    EXAMPLE_QUESTIONS,
    PaloModelCard,
    WidgetExample,
    architecture_facts,
    widget_metadata,
    with_examples,
    with_results,
    with_use,
)
from .remote_code import code_files, with_auto_maps
from .results import RESULTS_NAME, read_results, to_eval_results


CARD_NAME = "README.md"
# What the check asks about, and the card then shows.
PICTURE_NAME = "examples/red-disc.png"

# Files of an earlier publication that a new one does not overwrite would be loaded instead of the new ones, or beside them.
_LOADED = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
)


class NotPublishableError(ValueError):
    """A folder that must not, or cannot, be published as it is.

    Attributes:
        problems: What is wrong, one line each.
    """

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self.problems = problems
        count = f"{len(problems)} problem" + "s" * (len(problems) != 1)
        super().__init__(f"{folder} was not published: {count}. {' | '.join(problems)}")


@dataclass(frozen=True)
class Publication:
    """What is to be published, checked.

    Attributes:
        repo_id: Where.
        files: Everything, in the order of their paths.
        answer: What the model said about the test picture, in English.
    """

    repo_id: str
    files: list[RepoFile]
    answer: str

    @property
    def card(self) -> str:
        """The rendered card."""
        (card,) = (file for file in self.files if file.path == CARD_NAME)
        with card.open() as stream:
            return stream.read().decode()

    def listing(self) -> str:
        """Files and sizes, as a table."""
        width = max(len(file.path) for file in self.files)
        lines = [f"{file.path:<{width}}  {file.size:>15,} bytes" for file in self.files]
        total = sum(file.size for file in self.files)
        return "\n".join([*lines, f"{f'{len(lines)} files':<{width}}  {total:>15,} bytes"])


def prepare(folder: Path, repo_id: str, with_code: bool = False, revision: str | None = None) -> Publication:
    """Decide what to publish, and check it. Nothing is changed, in the folder or on the Hub.

    Args:
        folder: What `save_pretrained` of a model and its processor wrote, or `palo train`, or `palo convert`.
        repo_id: `USER/REPO`.
        with_code: Add the model's Python files, and point the Auto classes to them.
        revision: The branch that it will be on, for the card's example. [default: main]

    Raises:
        FileNotFoundError: There is no such folder.
        NotPublishableError: Something in it must not be published, or it does not work.
    """
    _check_repo_id(repo_id)
    if not folder.is_dir():
        found = "a file" if folder.is_file() else "nothing"
        raise FileNotFoundError(f"{folder}: expected the folder of a model, found {found}.")
    listed, problems = list_folder(folder)
    files = {file.path: file for file in listed}
    problems += [*_missing(folder, with_code), *check_files(files.values())]
    names = (CARD_NAME, PICTURE_NAME, *(code_files() if with_code else ()))
    added = [RepoFile(name, b"") for name in names if name not in files]
    problems += check_names([*files.values(), *added])
    if problems:
        raise NotPublishableError(folder, problems)
    try:
        if with_code:
            configs = _read_json(folder / CONFIG_NAME), _read_json(folder / PROCESSOR_NAME)
            for name, content in {**code_files(), **with_auto_maps(*configs)}.items():
                files[name] = RepoFile(name, content)
        card = _card(folder, repo_id, with_code, revision)
        questions = _questions(card)
        answers = dict(zip(questions, _try(folder, files, with_code, list(questions.values())), strict=True))
        if not card.data.get("widget"):
            _add_examples(card, questions, answers)
            files[PICTURE_NAME] = RepoFile(PICTURE_NAME, _png(sample_picture()))
        files[CARD_NAME] = RepoFile(CARD_NAME, str(card).encode())
    except ValueError as error:
        raise NotPublishableError(folder, [str(error)]) from error
    return Publication(repo_id, [file for _, file in sorted(files.items())], answers["en"])


def upload(
    publication: Publication, private: bool = False, revision: str | None = None, api: HfApi | None = None
) -> CommitInfo:
    """Create the repository if it is not there, and commit everything at once.

    Args:
        publication: See [`prepare`].
        private: Make a new repository private.
        revision: A branch, which is created if it is not there. [default: main]
        api: How to reach the Hub. [default: as the environment says]

    Raises:
        OSError: The Hub cannot be reached, or the connection broke. Nothing is half published.
        ValueError: The Hub refuses the card's metadata; a file changed after the check; or the repository is there already, and is public although
            `private` is asked for.
    """
    api = api or HfApi()
    repo_id = publication.repo_id
    try:
        _validate(api, publication.card)
    except ValueError as error:
        raise ValueError(f"The Hub refuses {repo_id}: {_one_line(error)}. Nothing was published.") from error
    except Exception as error:
        raise OSError(f"The Hub at {api.endpoint} does not take {repo_id}: {_one_line(error)}") from error
    try:
        is_private = _repository(api, repo_id, private)
    except Exception as error:
        raise OSError(f"The Hub at {api.endpoint} does not take {repo_id}: {_one_line(error)}") from error
    if private and not is_private:
        raise ValueError(
            f"{repo_id} is there already, and public: make it private in its settings first, or leave out --private."
        )
    try:
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(file.path, file.source) for file in publication.files
        ]
        operations += [CommitOperationDelete(path) for path in _stale_files(api, publication, revision)]
        # From here on their hashes are known: the Hub takes no other content.
        if changed := [file.path for file in publication.files if file.has_changed]:
            raise _ChangedError(f"{', '.join(changed)} changed after the check: run the same command again")
        message = f"Upload PALO with transformers-palo {version('transformers-palo')}"
        return api.create_commit(repo_id, operations, commit_message=message, revision=revision)
    except _ChangedError as error:
        raise ValueError(f"Nothing was published: {error}.") from None
    except ValueError as error:
        raise ValueError(f"The Hub refuses {repo_id}: {_one_line(error)}. Nothing was published.") from error
    except Exception as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise OSError(
                f"The Hub at {api.endpoint} does not take {repo_id}: {_one_line(error)}. Nothing was published: it needs a "
                "token that may write there."
            ) from error
        raise OSError(
            f"Publishing {repo_id} stopped ({_one_line(error)}). Nothing is half published: run the same command again, "
            "and what has arrived is not sent again."
        ) from error


def _repository(api: HfApi, repo_id: str, private: bool) -> bool:
    """Whether it is private; made if it is not there.

    Who may write to a repository of somebody else may not make it: it is asked for first.
    """
    try:
        return bool(api.model_info(repo_id).private)
    except RepositoryNotFoundError:
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        return bool(api.model_info(repo_id).private)


class _ChangedError(ValueError):
    """Files are others than those that were checked."""


def _validate(api: HfApi, card: str) -> None:
    """Ask the Hub about the metadata: before a repository is made, which would stay behind, empty and public."""
    asked = {"content": card, "repoType": "model"}
    headers = build_hf_headers(token=api.token)
    hf_raise_for_status(get_session().post(f"{api.endpoint}/api/validate-yaml", json=asked, headers=headers))


def check_login(api: HfApi | None = None) -> str:
    """Who is publishing. Asked first: loading a model to check it takes a while.

    Raises:
        OSError: Nobody is logged in, or with a token that may not write, or the Hub does not answer.
    """
    api = api or HfApi()
    try:
        found = api.whoami()
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise OSError(
            f"The Hub at {api.endpoint} does not know you ({_one_line(error)}): log in with 'hf auth login', or set "
            "HF_TOKEN to a token that may write."
        ) from error
    except Exception as error:
        raise OSError(
            f"The Hub at {api.endpoint} does not answer ({_one_line(error)}): is there a network, and is HF_ENDPOINT right?"
        ) from error
    # What a fine-grained token may do depends on the repository.
    if found.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise OSError(
            f"The token of {found['name']} may read only: make one that may write at {api.endpoint}/settings/tokens, and log in "
            "with it ('hf auth login', or HF_TOKEN)."
        )
    return found["name"]


def _check_repo_id(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no id of a repository: {_one_line(error)}") from None
    if repo_id.count("/") != 1:
        raise ValueError(f"Expected an id of the form USER/REPO, found {repo_id!r}.")


def _missing(folder: Path, with_code: bool) -> list[str]:
    """What a model's folder has to have."""
    if not (folder / PROCESSOR_NAME).is_file():
        if (folder / "model" / CONFIG_NAME).is_file():
            return [f"{CONFIG_NAME}: not there, but in {folder / 'model'}: publish that folder"]
        released = (folder / CONFIG_NAME).is_file() and is_released_layout(_read_json(folder / CONFIG_NAME))
        advice = (
            "the layout of the original code; write a native folder first: palo convert"
            if released
            else "save the processor into the folder: processor.save_pretrained"
        )
        return [f"{PROCESSOR_NAME}: not there: {advice}"]
    if (folder / ADAPTER_CONFIG_NAME).is_file():
        return _missing_of_adapter(folder, with_code)
    problems = []
    if not (folder / CONFIG_NAME).is_file():
        problems.append(f"{CONFIG_NAME}: not there: save the model into the folder: model.save_pretrained")
    if not any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        problems.append(f"{SAFE_WEIGHTS_NAME}: not there, nor shards with an index: save the model as safetensors")
    return problems


def _missing_of_adapter(folder: Path, with_code: bool) -> list[str]:
    if with_code:
        return [f"{ADAPTER_CONFIG_NAME}: an adapter carries no code; merge it into its base model, or publish without"]
    if not (folder / ADAPTER_SAFE_WEIGHTS_NAME).is_file():
        return [f"{ADAPTER_SAFE_WEIGHTS_NAME}: not there: save the adapter as safetensors"]
    base = _read_json(folder / ADAPTER_CONFIG_NAME).get("base_model_name_or_path") or ""
    try:
        _check_repo_id(base)
        on_hub = not Path(base).exists()
    except ValueError:
        on_hub = False
    if on_hub:
        return []
    return [
        f"{ADAPTER_CONFIG_NAME}: its base model is {base!r}, which is no id on the Hub; publish that first, and write its "
        "id there as base_model_name_or_path"
    ]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: expected JSON, found something else ({error})") from None


def _card(folder: Path, repo_id: str, with_code: bool, revision: str | None) -> ModelCard:
    """The folder's own card, or one made of what the folder says; with its results, if it has any."""
    own = folder / CARD_NAME
    try:
        card = (
            ModelCard(own.read_text(encoding="utf-8-sig")) if own.is_file() else _made_card(folder, repo_id).to_card()
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"{CARD_NAME}: expected UTF-8, found {error}; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{CARD_NAME}: its metadata is no YAML: {_one_line(error)}") from None
    data = cast(ModelCardData, card.data)
    data.library_name = data.library_name or "transformers"
    data.pipeline_tag = data.pipeline_tag or "image-text-to-text"
    if (folder / RESULTS_NAME).is_file():
        results = read_results(folder / RESULTS_NAME)
        new = to_eval_results(results)
        kept = [old for old in data.eval_results or () if not any(old.is_equal_except_value(one) for one in new)]
        data.eval_results = [*kept, *new]
        data.model_name = data.model_name or repo_id.split("/")[1]
        card.text = with_results(card.text, results)
    _check_metadata(data)
    card.text = with_use(card.text, repo_id, with_code, revision)
    return card


def _questions(card: ModelCard) -> dict[str, str]:
    """By language: English, which every model is asked in, and three others of the card's."""
    stated = card.data.get("language") or []
    languages = [stated] if isinstance(stated, str) else stated
    others = [code for code in EXAMPLE_QUESTIONS if code in languages and code != "en"]
    return {code: EXAMPLE_QUESTIONS[code] for code in ("en", *others[:3])}


def _add_examples(card: ModelCard, questions: dict[str, str], answers: dict[str, str]) -> None:
    shown = [
        WidgetExample(get_language(code).name, PICTURE_NAME, questions[code], answers[code]) for code in questions
    ]
    card.data["widget"] = widget_metadata(shown)
    note = "What this model answered when it was published, about a picture that `palo publish` draws: greedy, 32 tokens at most."
    card.text = with_examples(card.text, shown, note)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _check_metadata(data: ModelCardData) -> None:
    """What can be told without the Hub, which says the rest before anything is sent."""
    languages = [data.language] if isinstance(data.language, str) else data.language or []
    for language in languages:
        if not (isinstance(language, str) and re.fullmatch(r"[a-z]{2,3}|code|multilingual", language)):
            raise ValueError(f"{CARD_NAME}: expected ISO 639 codes as language, such as 'hi', found {language!r}")
    if data.license is not None and not isinstance(data.license, str | list):
        raise ValueError(f"{CARD_NAME}: expected a name as license, such as 'cc-by-4.0', found {data.license!r}")


def _made_card(folder: Path, repo_id: str) -> PaloModelCard:
    name = repo_id.split("/")[1]
    if (folder / ADAPTER_CONFIG_NAME).is_file():
        base = _read_json(folder / ADAPTER_CONFIG_NAME)["base_model_name_or_path"]
        summary = f"An adapter for [{base}](https://huggingface.co/{base}), a PALO model."
        return PaloModelCard(name=name, summary=summary, base_model=base, base_model_relation="adapter")
    facts = architecture_facts(PaloConfig.from_pretrained(folder))
    return PaloModelCard(
        name=name, summary="A PALO model: it answers questions about pictures, in ten languages.", facts=facts
    )


def _try(folder: Path, files: dict[str, RepoFile], with_code: bool, questions: list[str]) -> list[str]:
    """Ask the model about a picture: as it lies in the folder, or with its code as it will lie on the Hub."""
    if not with_code:
        return answers_from(folder, questions, trust_remote_code=False)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / folder.resolve().name
        for file in files.values():
            target = copy / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(file.source, bytes):
                target.write_bytes(file.source)
            else:
                target.symlink_to(file.source.resolve())
        return answers_by_code(copy, questions)


def _stale_files(api: HfApi, publication: Publication, revision: str | None) -> list[str]:
    there = api.list_repo_files(publication.repo_id, revision=revision)
    new = {file.path for file in publication.files}
    patterns = [*_LOADED, *code_files()]
    return [path for path in filter_repo_objects(there, allow_patterns=patterns) if path not in new]


def _one_line(error: Exception) -> str:
    """What went wrong, with its cause: upload errors of huggingface_hub name the file, their causes the reason."""
    texts = [" ".join(str(error).split()) or type(error).__name__]
    if error.__cause__ is not None:
        texts.append(" ".join(str(error.__cause__).split()) or type(error.__cause__).__name__)
    return ": ".join(text.rstrip(".") for text in dict.fromkeys(texts))
