"""`palo publish` against a Hub on the loopback interface: what arrives, what others load, and what is refused.

Clients run with `HF_HUB_DISABLE_XET=1` (see hub_server.py): large files travel by Git LFS.
"""

import json
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import venv
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, constants
from PIL import Image
from safetensors.torch import load_file, save_file

from transformers_palo import PaloForConditionalGeneration
from transformers_palo.hub.files import RepoFile
from transformers_palo.hub.load_check import sample_picture as picture
from transformers_palo.hub.publish import PICTURE_NAME, NotPublishableError, check_login, prepare, upload
from transformers_palo.hub.remote_code import OLDEST_TRANSFORMERS, code_files

from ..card_metadata import card_errors
from ..conftest import GOLDEN, chat, read_json, tiny_model
from ..hub_server import READ_TOKEN, TOKEN
from ..test_model_card import results
from .conftest import SECRET


PALO = Path(sys.executable).with_name("palo")
PROJECT = Path(__file__).parents[2]


def run_python(python: Path | str, code: str, cwd: Path, environment: dict[str, str]) -> list[str]:
    """Lines that a script prints, in a process of its own."""
    done = subprocess.run(
        [python, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=cwd
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def greedy(folder: Path, processor) -> list[int]:
    """What the model in a folder says about the test picture."""
    model = PaloForConditionalGeneration.from_pretrained(folder)
    inputs = processor.apply_chat_template(
        chat("What is it?", picture()),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, -6:].tolist()


ASK = """
import json, sys
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
from PIL import Image

def ask(repo_id, **options):
    model = AutoModelForImageTextToText.from_pretrained(repo_id, **options)
    processor = AutoProcessor.from_pretrained(repo_id, **options)
    content = [{"type": "image", "image": Image.open("photo.png")}, {"type": "text", "text": "What is it?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )
    print(model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, -6:].tolist())
    return model, processor
"""


class TestPublished:
    """Publish by the command, then be somebody else."""

    def test_everything_arrives_in_one_commit(self, hub, folder, palo_publish):
        code, out, err = palo_publish(folder, "user/palo-tiny")
        assert code == 0, err
        repo = hub.repos["user/palo-tiny"]
        commits = repo.branches["main"]
        assert out == f"Published {hub.endpoint}/user/palo-tiny/commit/{commits[-1].oid}\n"
        assert len(commits) == 2 and not repo.private  # the Hub's own first one, and ours
        files = commits[-1].files
        sent = {path.name for path in folder.iterdir()}
        assert files.keys() == sent | {".gitattributes", PICTURE_NAME}
        assert len([name for name in sent if name.endswith(".safetensors")]) == 3
        for name in sent - {"README.md"}:
            assert files[name].content == (folder / name).read_bytes()
        card = files["README.md"].content.decode()
        assert 'model="user/palo-tiny"' in card and card_errors(card) == []

    def test_others_load_it_from_a_clean_cache(self, hub, api, folder, tmp_path, environment, processor):
        upload(prepare(folder, "user/palo-tiny"), api=api)
        expected = greedy(folder, processor)
        other = tiny_model()
        with torch.no_grad():
            other.lm_head.weight.mul_(-1)
        other.save_pretrained(folder, max_shard_size="300KB")
        upload(prepare(folder, "user/palo-tiny"), revision="experiment", api=api)
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 2

        picture().save(tmp_path / "photo.png")
        picture().save(tmp_path / "photo.jpg")
        (example,) = re.findall(r"```python\n(.*?)```", prepare(folder, "user/palo-tiny").card, flags=re.DOTALL)
        code = f"""{ASK}
import transformers_palo
from huggingface_hub import get_safetensors_metadata

model, processor = ask("user/palo-tiny")
ask("user/palo-tiny", revision="experiment")
print(sum(get_safetensors_metadata("user/palo-tiny").parameter_count.values()) == model.num_parameters())
model.push_to_hub("user/pushed", max_shard_size="300KB")
processor.push_to_hub("user/pushed")
processor.tokenizer.push_to_hub("user/pushed-tokenizer")
processor.image_processor.push_to_hub("user/pushed-images")
ask("user/pushed")
{example}
"""
        lines = run_python(sys.executable, code, tmp_path, environment)
        assert lines[:4] == [str(expected), str(greedy(folder, processor)), "True", str(expected)]
        assert lines[0] != lines[1]
        assert lines[4].strip()  # the example of the card
        tokenizer = hub.repos["user/pushed-tokenizer"].branches["main"][-1].files
        assert tokenizer["tokenizer.json"].content == (folder / "tokenizer.json").read_bytes()
        assert "preprocessor_config.json" in hub.repos["user/pushed-images"].branches["main"][-1].files
        # The number of parameters is read from the first bytes of each shard.
        assert len(hub.ranges) >= 3

    @pytest.fixture(scope="class")
    def without_package(self, tmp_path_factory) -> Path:
        """The Python of a second virtual environment, which has everything that this one has except this package.

        A `.pth` file there lends it this one's packages. Python follows no `.pth` files of a folder that it was lent, so
        an editable installation, which is such a file, stays behind.
        """
        folder = tmp_path_factory.mktemp("without") / "venv"
        venv.create(folder, with_pip=False)
        (site_packages,) = folder.glob("lib/python*/site-packages")
        (site_packages / "lent.pth").write_text(str(Path(torch.__file__).parents[1]) + "\n")
        return folder / "bin" / "python"

    def test_with_code_it_loads_without_this_package(
        self, hub, api, folder, tmp_path, environment, processor, without_package
    ):
        upload(prepare(folder, "user/palo-tiny", with_code=True), api=api)
        picture().save(tmp_path / "photo.png")
        picture().save(tmp_path / "photo.jpg")
        card = hub.repos["user/palo-tiny"].branches["main"][-1].files["README.md"].content.decode()
        (example,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
        code = f"""{ASK}
# Neither this package, nor what only the reading of released tokenizers needs.
sys.modules["sentencepiece"] = None
try:
    import transformers_palo
    print("it is there")
except ImportError:
    pass

model, processor = ask("user/palo-tiny", trust_remote_code=True)
print(type(model).__module__.split(".")[0], type(processor).__name__, type(processor.image_processor).__name__)
{example}
model.save_pretrained("again")
processor.save_pretrained("again")
ask("again", trust_remote_code=True)

import transformers
from transformers import AutoConfig
transformers.__version__ = "4.57.6"
try:
    AutoConfig.from_pretrained("user/palo-tiny", trust_remote_code=True, force_download=True, code_revision="main")
except ImportError as error:
    print(error)
"""
        environment.pop("PYTHONPATH", None)
        lines = run_python(without_package, code, tmp_path, environment)
        expected = str(greedy(folder, processor))
        assert lines[0] == expected
        assert re.fullmatch(r"transformers_modules PaloProcessor PaloImageProcessor(Pil)?", lines[1])
        assert lines[2].strip()  # the example of the card
        assert lines[-2] == expected
        assert lines[-1].startswith("PALO needs Transformers 5.18 or newer, found 4.57.6: upgrade with `pip install")

    def test_a_private_repository_is_for_its_owner(self, hub, api, folder):
        upload(prepare(folder, "user/secret"), private=True, api=api)
        assert hub.repos["user/secret"].private
        assert not HfApi(endpoint=hub.endpoint, token=False).repo_exists("user/secret")

    def test_what_is_public_is_not_taken_for_private(self, hub, api, folder):
        publication = prepare(folder, "user/palo-tiny")
        upload(publication, api=api)
        with pytest.raises(ValueError, match="is there already, and public"):
            upload(publication, private=True, api=api)
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 2

    def test_the_same_again_makes_no_commit(self, hub, api, folder):
        publication = prepare(folder, "user/palo-tiny")
        first = upload(publication, api=api)
        assert upload(publication, api=api).oid == first.oid
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 2

    def test_shards_of_an_earlier_publication_do_not_stay(self, hub, api, folder):
        upload(prepare(folder, "user/palo-tiny"), api=api)
        for shard in folder.glob("model*"):
            shard.unlink()
        tiny_model().save_pretrained(folder)
        upload(prepare(folder, "user/palo-tiny"), api=api)
        *_, last = hub.repos["user/palo-tiny"].branches["main"]
        assert [name for name in last.files if name.startswith("model")] == ["model.safetensors"]
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 3

    def test_code_of_an_earlier_publication_does_not_stay(self, hub, api, folder):
        upload(prepare(folder, "user/palo-tiny", with_code=True), api=api)
        upload(prepare(folder, "user/palo-tiny"), api=api)
        *_, last = hub.repos["user/palo-tiny"].branches["main"]
        assert not [name for name in last.files if name.endswith(".py")]

    def test_an_adapter_of_an_earlier_publication_does_not_stay(self, hub, api, folder):
        publication = prepare(folder, "user/palo-tiny")
        adapter = [RepoFile(name, b"{}") for name in ("adapter_config.json", "adapter_model.safetensors")]
        upload(replace(publication, files=[*adapter, RepoFile("README.md", b"# An adapter")]), api=api)
        upload(publication, api=api)
        *_, last = hub.repos["user/palo-tiny"].branches["main"]
        assert last.files.keys() == {file.path for file in publication.files} | {".gitattributes"}

    def test_an_adapter_is_published_with_its_base_models_id(
        self, hub, tiny, tmp_path, processor, monkeypatch, palo_publish
    ):
        peft = pytest.importorskip("peft")
        base = Path(shutil.copytree(tiny, tmp_path / "user" / "base"))
        monkeypatch.chdir(tmp_path)
        model = PaloForConditionalGeneration.from_pretrained("user/base")
        config = peft.LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj")
        folder = tmp_path / "adapter"
        peft.get_peft_model(model, config).save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        # A folder that only looks like an id.
        with pytest.raises(NotPublishableError, match=r"'user/base', which is no id .* as base_model_name_or_path"):
            prepare(folder, "user/adapter")
        base.rename(tmp_path / "base")
        base = tmp_path / "base"
        assert palo_publish(base, "user/base")[0] == 0
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        resolved = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", resolved)
        publication = prepare(folder, "user/adapter")
        card = ModelCard(publication.card)
        assert card.data.base_model == "user/base" and card.data.to_dict()["base_model_relation"] == "adapter"
        with pytest.raises(NotPublishableError, match="an adapter carries no code"):
            prepare(folder, "user/adapter", with_code=True)
        adapter = read_json(folder / "adapter_config.json") | {"base_model_name_or_path": str(base)}
        (folder / "adapter_config.json").write_text(json.dumps(adapter))
        with pytest.raises(NotPublishableError, match="is no id on the Hub"):
            prepare(folder, "user/adapter")


class TestBrokenConnections:
    def test_a_killed_process_leaves_nothing_half_published(self, hub, folder, environment, palo_publish):
        """kill -9 while shards are on their way; the same command completes, in one commit, sending nothing twice."""
        reached, release, arrived = threading.Event(), threading.Event(), []

        def hold(method: str, path: str) -> bool:
            if method != "PUT":
                return False
            arrived.append(path)
            if len(arrived) == 1:
                return False
            reached.set()
            release.wait(60)
            return True

        hub.interrupt(hold)
        command = [PALO, "publish", str(folder), "user/palo-tiny"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert reached.wait(60)
        while not hub.lfs_uploads:
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        release.set()
        hub.interrupt(None)
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 1
        assert len(hub.lfs_uploads) == 1

        code, _, err = palo_publish(folder, "user/palo-tiny")
        assert code == 0, err
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 2
        assert len(hub.lfs_uploads) == len(set(hub.lfs_uploads))
        assert {path.name for path in folder.iterdir()} <= hub.repos["user/palo-tiny"].branches["main"][
            -1
        ].files.keys()

    STAGES = (
        ("POST", "/api/validate-yaml"),
        ("POST", "/api/repos/create"),
        ("GET", "/api/models/user/palo-tiny"),
        ("POST", "/api/models/user/palo-tiny/branch/v2"),
        ("GET", "/api/models/user/palo-tiny/tree/v2"),
        ("POST", "/api/models/user/palo-tiny/preupload/v2"),
        ("POST", "/user/palo-tiny.git/info/lfs/objects/batch"),
        ("PUT", "/lfs/*"),
        ("POST", "/lfs/*/verify"),
        ("POST", "/api/models/user/palo-tiny/commit/v2"),
    )

    @pytest.mark.parametrize("after", [False, True], ids=["before it arrives", "before its answer arrives"])
    @pytest.mark.parametrize(("method", "path"), STAGES, ids=[path.split("/")[-1] or path for _, path in STAGES])
    def test_a_reset_connection(self, hub, api, publication, monkeypatch, method, path, after):
        """At every stage. Whatever was reached, the same again completes: one whole commit, nothing sent twice."""
        # huggingface_hub tries five times, with pauses that add up to half a minute.
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        asked = []
        hub.interrupt(
            lambda *request: request[0] == method and fnmatch(request[1], path) and not asked.append(request),
            after=after,
        )
        with pytest.raises(OSError, match=r"127\.0\.0\.1|Nothing is half published: run the same command again"):
            upload(publication, revision="v2", api=api)
        assert asked
        repo = hub.repos.get("user/palo-tiny")
        commits = repo.branches.get("v2", ()) if repo else ()
        assert len(commits) < 2 or (after and "/commit/" in path)
        hub.interrupt(None)
        upload(publication, revision="v2", api=api)
        _, commit = hub.repos["user/palo-tiny"].branches["v2"]
        assert commit.files.keys() == {file.path for file in publication.files} | {".gitattributes"}
        assert "PUT" in method or len(hub.lfs_uploads) == len(set(hub.lfs_uploads))

    @pytest.fixture(scope="class")
    def publication(self, tiny):
        """What is sent does not change: checked once."""
        return prepare(tiny, "user/palo-tiny")

    def test_a_short_break_is_nothing_that_users_notice(self, hub, api, folder, monkeypatch):
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        broken = []
        hub.interrupt(lambda method, path: method == "PUT" and not broken and not broken.append(path))
        upload(prepare(folder, "user/palo-tiny"), api=api)
        assert broken and len(hub.repos["user/palo-tiny"].branches["main"]) == 2

    def test_no_hub_there(self, folder, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        with pytest.raises(OSError, match=r"The Hub at http://127.0.0.1:9 does not take user/x"):
            upload(prepare(folder, "user/x"), api=HfApi(endpoint="http://127.0.0.1:9", token=TOKEN))

    def test_whether_one_is_logged_in_is_not_known_without_a_hub(self, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        with pytest.raises(OSError, match="does not answer") as refused:
            check_login(HfApi(endpoint="http://127.0.0.1:9", token=TOKEN))
        assert "auth login" not in str(refused.value)

    def test_a_token_that_may_only_read(self, hub, folder, palo_publish, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
        code, _, err = palo_publish(folder, "user/palo-tiny")
        assert code == 1 and "The token of user may read only: make one that may write" in err and err.count("\n") == 1
        assert hub.repos == {}

    def test_a_repository_that_one_may_not_write(self, hub, api, publication):
        """A fine-grained token, of which one learns it here only."""
        upload(publication, api=api)
        with pytest.raises(
            OSError, match=r"does not take user/palo-tiny: .*403.*it needs a token that may write there"
        ):
            upload(publication, api=HfApi(endpoint=hub.endpoint, token=READ_TOKEN))
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 2

    @pytest.mark.parametrize("change", ["written", "gone", "new"])
    def test_files_that_change_after_the_check(self, hub, api, folder, change):
        (folder / "notes.md").write_text("# Notes")
        publication = prepare(folder, "user/palo-tiny")
        if change == "new":
            (folder / "later.md").write_text(SECRET)
            upload(publication, api=api)
            assert "later.md" not in hub.repos["user/palo-tiny"].branches["main"][-1].files
            return
        if change == "written":
            (folder / "notes.md").write_text(SECRET)
        else:
            (folder / "notes.md").unlink()
        with pytest.raises((OSError, ValueError), match=r"notes\.md"):
            upload(publication, api=api)
        assert len(hub.repos["user/palo-tiny"].branches["main"]) == 1

    def test_somebody_elses_name(self, hub, api, folder):
        with pytest.raises(OSError, match=r"does not take other/palo-tiny: .*403"):
            upload(prepare(folder, "other/palo-tiny"), api=api)


class TestCommand:
    def test_a_dry_run_shows_everything_and_sends_nothing(self, hub, folder, palo_publish):
        code, out, err = palo_publish(folder, "user/palo-tiny", "--dry-run", "--with-code")
        assert code == 0, err
        assert hub.requests == []
        sizes = dict(re.findall(r"^(\S+) +([\d,]+) bytes$", out, flags=re.MULTILINE))
        assert sizes.keys() == {path.name for path in folder.iterdir()} | code_files().keys() | {PICTURE_NAME}
        shard = folder / "model-00001-of-00003.safetensors"
        assert sizes[shard.name] == f"{shard.stat().st_size:,}"
        card = ModelCard(out[out.index("---\n") :])
        assert card.data.pipeline_tag == "image-text-to-text"
        assert 'model="user/palo-tiny", trust_remote_code=True' in card.text
        assert "It answers about a test picture: '" in err

    def test_problems_are_named_one_a_line(self, folder, palo_publish):
        (folder / "training_args.bin").write_bytes(pickle.dumps({}))
        config = read_json(folder / "config.json") | {"_name_or_path": "/home/me/palo"}
        (folder / "config.json").write_text(json.dumps(config))
        code, out, err = palo_publish(folder, "user/palo-tiny", "--dry-run")
        assert code == 1 and out == ""
        assert err.splitlines() == [
            "palo: config.json, _name_or_path: a path of this machine, '/home/me/palo'; write a Hub id, or leave it out",
            "palo: training_args.bin: the pickled settings of a trainer; move it out of the folder",
            f"palo: error: {folder} was not published: 2 problems, named above.",
        ]

    def test_who_is_not_logged_in_waits_for_nothing(self, hub, folder, palo_publish, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_somebody")
        code, _, err = palo_publish(folder, "user/palo-tiny")
        assert code == 1
        assert f"The Hub at {hub.endpoint} does not know you" in err and "hf auth login" in err
        assert err.count("\n") == 1 and hub.repos == {}


class TestLoads:
    def problem(self, folder: Path, **options) -> str:
        with pytest.raises(NotPublishableError) as refused:
            prepare(folder, "user/palo-tiny", **options)
        (problem,) = refused.value.problems
        return problem

    def test_a_missing_shard(self, folder):
        (folder / "model-00002-of-00003.safetensors").unlink()
        assert "does not load" in self.problem(folder)

    @pytest.mark.parametrize("change", ["missing", "unexpected"])
    def test_weights_that_are_not_those_of_the_model(self, folder, change):
        shard = folder / "model-00001-of-00003.safetensors"
        weights = load_file(shard)
        name = next(iter(weights))
        weights = {key: value for key, value in weights.items() if change == "unexpected" or key != name}
        weights |= {"more": torch.zeros(1)} if change == "unexpected" else {}
        save_file(weights, shard, metadata={"format": "pt"})
        index = read_json(folder / "model.safetensors.index.json")
        index["weight_map"] = {key: file for key, file in index["weight_map"].items() if file != shard.name}
        index["weight_map"] |= dict.fromkeys(weights, shard.name)
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        expected = "more" if change == "unexpected" else name
        assert f"has {change} weights: {expected} (1 in all)" in self.problem(folder)

    def test_weights_that_are_no_numbers(self, folder):
        shard = folder / "model-00003-of-00003.safetensors"
        weights = {name: torch.full_like(value, torch.nan) for name, value in load_file(shard).items()}
        save_file(weights, shard, metadata={"format": "pt"})
        assert "its logits are not finite" in self.problem(folder)

    def test_no_processor(self, folder):
        (folder / "processor_config.json").unlink()
        assert self.problem(folder).startswith("processor_config.json: not there: save the processor")

    def test_the_layout_of_the_original_code(self):
        with pytest.raises(NotPublishableError) as refused:
            prepare(GOLDEN / "public_mlp2x" / "checkpoint", "user/palo-tiny")
        assert "palo convert" in refused.value.problems[0]

    def test_a_processor_without_its_image_processor(self, folder):
        (folder / "processor_config.json").write_text("{}")
        assert "expected an image_processor" in self.problem(folder, with_code=True)

    @pytest.mark.parametrize(
        "fault", ["raise SystemExit('no')", "raise RuntimeError('broken')", "import transformers_palo"]
    )
    def test_code_that_does_not_run(self, folder, monkeypatch, fault):
        """The package's own classes, which are there in this process, do not stand in for it."""
        broken = {name: f"{content.decode()}\n{fault}\n".encode() for name, content in code_files().items()}
        monkeypatch.setattr("transformers_palo.hub.publish.code_files", lambda: broken)
        assert "palo-tiny does not load" in self.problem(folder, with_code=True)

    @pytest.mark.parametrize("name", ["config.json", "processor_config.json"])
    def test_a_damaged_config(self, folder, name):
        (folder / name).write_text("{")
        assert self.problem(folder, with_code=True).startswith(f"{name}: expected JSON")

    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="expected the folder of a model, found nothing"):
            prepare(tmp_path / "nowhere", "user/palo-tiny")

    def test_a_file(self, folder):
        with pytest.raises(FileNotFoundError, match="found a file"):
            prepare(folder / "config.json", "user/palo-tiny")

    def test_the_folder_of_a_training_run(self, folder):
        folder.rename(folder.with_name("model"))
        assert "model: publish that folder" in self.problem(folder.parent)

    @pytest.mark.parametrize("repo_id", ["palo", "a/b/c", "user/pa lo", ""])
    def test_ids_that_are_none(self, folder, repo_id):
        with pytest.raises(ValueError, match=r"USER/REPO|no id of a repository"):
            prepare(folder, repo_id)


class TestCard:
    def test_a_folder_without_one_gets_one(self, folder):
        (folder / "README.md").unlink()
        card = ModelCard(prepare(folder, "user/palo-tiny").card)
        assert card.data.library_name == "transformers" and "16 tokens a picture" in card.text
        assert card_errors(str(card)) == []

    def test_results_of_an_evaluation_beside_the_model(self, folder):
        (folder / "evaluation_results.json").write_text(json.dumps(results()))
        card = ModelCard(prepare(folder, "user/palo-tiny").card)
        assert "| Hindi | 57.6 | 95.0 % | 59 of 60 |" in card.text
        assert {(r.dataset_config, r.metric_type) for r in card.data.eval_results} == {
            ("hi", "score"),
            ("hi", "language_fidelity"),
            ("bn", "language_fidelity"),
        }
        # Published again after another evaluation, the new figures stand in the place of the old ones.
        (folder / "README.md").write_text(str(card))
        (folder / "evaluation_results.json").write_text(json.dumps(results(ur=results()["languages"]["hi"])))
        assert len(ModelCard(prepare(folder, "user/palo-tiny").card).data.eval_results) == 5

    @pytest.mark.parametrize("with_code", [False, True])
    def test_it_shows_what_this_very_model_said(self, folder, processor, with_code):
        publication = prepare(folder, "user/palo-tiny", with_code=with_code)
        card = ModelCard(publication.card)
        assert [example["example_title"] for example in card.data.widget] == ["English", "Chinese", "Hindi", "Spanish"]
        (example,) = (file for file in publication.files if file.path == PICTURE_NAME)
        with Image.open(example.open()) as shown:
            inputs = processor.apply_chat_template(
                [chat(example["text"], shown)[0] for example in card.data.widget[2:3]],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        output = PaloForConditionalGeneration.from_pretrained(folder).generate(
            **inputs, max_new_tokens=32, do_sample=False
        )
        said = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        assert card.data.widget[2]["output"]["text"].removesuffix(" …") == said
        assert f"| ![Hindi]({PICTURE_NAME}) | {card.data.widget[2]['text']} |" in card.text
        assert card_errors(str(card)) == []

    def test_examples_of_ones_own_stay(self, folder):
        card = ModelCard.load(folder / "README.md")
        card.data.widget = [{"src": "a.png", "text": "What?"}]
        card.save(folder / "README.md")
        publication = prepare(folder, "user/palo-tiny")
        assert ModelCard(publication.card).data.widget == [{"src": "a.png", "text": "What?"}]
        assert PICTURE_NAME not in [file.path for file in publication.files]

    def test_a_byte_order_mark_hides_no_metadata(self, folder):
        (folder / "README.md").write_bytes(b"\xef\xbb\xbf---\nlicense: mit\n---\n# Mine\n")
        assert ModelCard(prepare(folder, "user/palo-tiny").card).data.license == "mit"

    def test_a_card_in_another_encoding_is_named(self, folder):
        (folder / "README.md").write_bytes("# Déjà vu".encode("latin-1"))
        with pytest.raises(NotPublishableError, match=r"README.md: expected UTF-8"):
            prepare(folder, "user/palo-tiny")

    def test_metadata_that_is_no_yaml(self, folder):
        (folder / "README.md").write_text("---\nlicense: [\n---\n# Mine\n")
        with pytest.raises(NotPublishableError, match=r"README.md: its metadata is no YAML"):
            prepare(folder, "user/palo-tiny")

    def test_languages_are_checked_without_the_hub(self, folder):
        (folder / "README.md").write_text("---\nlanguage: Hindi!\n---\n# Mine\n")
        with pytest.raises(NotPublishableError, match="expected ISO 639 codes as language"):
            prepare(folder, "user/palo-tiny")

    def test_metadata_that_the_hub_refuses(self, hub, api, folder):
        (folder / "README.md").write_text("---\nbase_model: not an id\n---\n# Mine\n")
        with pytest.raises(ValueError, match=r"The Hub refuses user/palo-tiny: .*not an id"):
            upload(prepare(folder, "user/palo-tiny"), api=api)
        assert hub.lfs_uploads == [] and hub.repos == {}


def test_the_oldest_transformers_is_the_packages():
    (stated,) = re.findall(r'"transformers>=([\d.]+),<6"', (PROJECT / "pyproject.toml").read_text())
    assert stated == ".".join(map(str, OLDEST_TRANSFORMERS))


class TestGuide:
    """docs/publishing.md, where it needs a Hub (test_docs.py runs the rest)."""

    PAGE = (PROJECT / "docs" / "publishing.md").read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```", self.PAGE, flags=re.DOTALL | re.MULTILINE)

    def test_its_commands_and_what_they_publish(self, hub, tiny, tmp_path, palo_publish, monkeypatch, environment):
        shutil.copytree(tiny, tmp_path / "outputs" / "my-palo")
        picture().save(tmp_path / "photo.jpg")
        monkeypatch.chdir(tmp_path)
        commands = [line for block in self.blocks("bash") for line in block.splitlines()]
        assert len(commands) == 5
        for command in commands:
            code, _, err = palo_publish(*command.removeprefix("palo publish ").split())
            assert code == 0, err
        repos = hub.repos
        assert {name: repo.private for name, repo in repos.items()} == {
            "user/my-palo": False,
            "user/my-palo-private": True,
            "user/my-palo-with-code": False,
        }
        assert repos["user/my-palo"].branches.keys() == {"main", "v2"}
        assert f"({_IN_WORDS[len(code_files())]}, from `models/palo`)" in self.PAGE
        examples = [block for block in self.blocks("python") if "needs the network" in block]
        assert len(examples) == 2
        run_python(sys.executable, "\n".join(examples), tmp_path, environment)


_IN_WORDS = {8: "eight", 9: "nine", 10: "ten"}
