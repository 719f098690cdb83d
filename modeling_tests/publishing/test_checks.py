"""What `palo publish` must not send, and what merely looks so."""

import bz2
import collections
import gzip
import io
import lzma
import os
import pickle
import pickletools
import random
import re
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from transformers_palo.hub import checks
from transformers_palo.hub.checks import check_files
from transformers_palo.hub.files import RepoFile, list_folder
from transformers_palo.hub.pickles import is_pickle
from transformers_palo.hub.publish import NotPublishableError, prepare

from .conftest import SECRET


class TestChecks:
    """What must not be published, and what merely looks so."""

    def problems(self, folder: Path, **options) -> list[str]:
        with pytest.raises(NotPublishableError) as refused:
            prepare(folder, "user/palo-tiny", **options)
        return refused.value.problems

    @pytest.mark.parametrize(
        ("name", "content", "problem"),
        [
            ("optimizer.pt", b"x", "optimizer.pt: the state of an optimizer"),
            ("checkpoint-50/trainer_state.json", b"{}", "checkpoint-50: a checkpoint to resume training from"),
            ("rng_state_0.pth", b"x", "rng_state_0.pth: the state of random number generators"),
            ("notes.txt", pickle.dumps([1, 2]), "notes.txt: a pickle"),
            ("old.bin", b"anything", "old.bin: a pickle"),
            (".env", b"A=1", ".env: files of this name hold secrets"),
            ("run.log", f"a\nexport HF_TOKEN={SECRET}\n".encode(), "run.log, line 2: a Hugging Face token (hf_aB3…)"),
            ("run.log", b"password = 'correct-horse-battery'", "run.log: a password or key"),
            (
                "run.log",
                b"read /home/me/coco/1.jpg",
                "run.log, line 1: a path of this machine, '/home/me/coco/1.jpg'",
            ),
            (
                "run.log",
                rb"read C:\Users\me\1.jpg",
                r"run.log, line 1: a path of this machine, 'C:\\Users\\me\\1.jpg'",
            ),
            ("a.json", b'{"x": [{"y": "/gpu7/me/data"}]}', "a.json, x[0].y: a path of this machine, '/gpu7/me/data'"),
            ("a.yaml", b"data: /mnt/disk/coco", "a.yaml, data: a path of this machine, '/mnt/disk/coco'"),
            ("a.yml", b"x:\n- y: /gpu7/me/data", "a.yml, x[0].y: a path of this machine, '/gpu7/me/data'"),
            ("a.toml", b'[x]\ny = "/gpu7/me/data"', "a.toml, x.y: a path of this machine, '/gpu7/me/data'"),
            ("a.jsonl", b'{}\n\n{"x": "/gpu7/me/data"}\n', "a.jsonl, line 3: a path of this machine, '/gpu7/me/data'"),
            ("a.yaml", b"data: [/mnt/disk/coco", "a.yaml, line 1: a path of this machine, '/mnt/disk/coco'"),
            ("a.py", rb'x = "C:\\Users\\me\\x"', "a.py, line 1: a path of this machine, 'C:"),
            ("a.ipynb", b'{"outputs": ["/home/me/x\\n"]}', "a.ipynb, line 1: a path of this machine, '/home/me/x"),
            ("a.ipynb", f'{{"outputs": ["{SECRET}"]}}'.encode(), "a.ipynb: a Hugging Face token"),
            ("a.cfg", b"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPx", "a.cfg: a password or key (secret"),
            ("a.sh", b"curl -H 'Authorization: Bearer abcdef0123456789abcd'", "a.sh: a token in a header"),
            ("a.txt", b"git clone https://me:correcthorse@git.test/x", "a.txt: a password in an address (me:cor"),
            ("a.txt", b"glpat-" + b"x1" * 10, "a.txt: a GitLab token"),
            ("id_ecdsa", b"x", "id_ecdsa: files of this name hold secrets"),
            (".ssh/config", b"x", ".ssh/config: files of this name hold secrets"),
            ("events.out.tfevents.1.host", b"x", "events.out.tfevents.1.host: a log of TensorBoard"),
            ("__0_0.distcp", b"x", "__0_0.distcp: a checkpoint"),
            ("latest", b"global_step1", "latest: a mark of DeepSpeed's checkpoints"),
            ("runs/Nov29_gpu7/x.txt", b"x", "runs: logs of TensorBoard"),
            ("array.npy", b"x", "array.npy: a pickle, or what may hold one"),
            ("array.pkl.gz", b"x", "array.pkl.gz: a pickle"),
            ("a.bin", b"PK\x03\x04", "a.bin: a pickle"),
            ("latin.txt", f"caf\xe9 {SECRET}".encode("latin-1"), "latin.txt: a Hugging Face token (hf_aB3…)"),
            ("a.txt", f"key {SECRET}".encode("utf-16"), "a.txt: a Hugging Face token (hf_aB3…)"),
            ("a.txt", f"key {SECRET}".encode("utf-16-be"), "a.txt: a Hugging Face token (hf_aB3…)"),
            ("a.json", b'{"/home/me/x": 1}', "a.json, a key: a path of this machine"),
            ("x.safetensors", b"cut off", "x.safetensors: no whole safetensors file"),
        ],
    )
    def test_are_named_with_what_was_found(self, folder, name, content, problem):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        (found,) = self.problems(folder)
        assert found.startswith(problem)

    def test_thousands_of_a_kind_are_counted(self, folder):
        (folder / "run.log").write_text("".join(f"/home/me/{number}.jpg\n" for number in range(2_345)))
        found = self.problems(folder)
        assert len(found) == 21 and found[-1] == "run.log: and 2,325 more like these"

    def test_a_pickle_by_another_name(self, folder):
        torch.save({"a": torch.zeros(1)}, folder / "weights.dat")
        assert self.problems(folder)[0].startswith("weights.dat/weights/data.pkl: a pickle")

    @pytest.mark.parametrize(
        "tensor", ["exp_avg.lm_head.weight", "0.exp_avg_sq_row", "lm_head.weight.state1", "optimizer.lm_head"]
    )
    def test_the_state_of_an_optimizer_as_safetensors(self, folder, tensor):
        save_file({tensor: torch.zeros(2)}, folder / "extra.safetensors")
        assert self.problems(folder) == ["extra.safetensors: the state of an optimizer; move it out of the folder"]

    def test_a_path_in_what_a_weight_file_says_about_itself(self, folder):
        save_file({"a": torch.zeros(2)}, folder / "extra.safetensors", metadata={"from": "/scratch/me/run"})
        assert "'/scratch/me/run'" in self.problems(folder)[0]

    def test_the_card_is_looked_at(self, folder):
        (folder / "README.md").write_text(f"# Mine\n\nTrained in /home/me/runs with {SECRET}.\n")
        secret, path = self.problems(folder)
        assert secret.startswith("README.md, line 3: a Hugging Face token") and SECRET not in secret
        assert path.startswith("README.md, line 3: a path of this machine, '/home/me/runs'")

    def test_ones_own_token_is_found_whatever_it_looks_like(self, folder, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "api_org_short")
        (folder / "run.log").write_text("login api_org_short ok")
        (found,) = self.problems(folder)
        assert found.startswith("run.log: your own Hugging Face token (api_or…)")

    @given(
        before=st.text(max_size=20),
        after=st.text(max_size=20),
        secret=st.sampled_from([SECRET, "ghp_" + "a1B2" * 9, "AKIA" + "Z" * 16, "sk-proj-" + "x9" * 12]),
        name=st.sampled_from(["README.md", "config.json", "run.log", "deep/folder/notes.txt"]),
    )
    def test_a_secret_is_found_wherever_it_stands_and_is_not_spread(self, before, after, secret, name):
        found = check_files([RepoFile(name, f"{before} {secret} {after}".encode("utf-8", "ignore"))])
        if b"\0" in f"{before}{after}".encode("utf-8", "ignore"):
            return  # no text
        assert any(f"({secret[:6]}…)" in problem for problem in found)
        assert not any(secret in problem for problem in found)

    def test_ones_own_token_is_found_in_other_encodings(self, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "api_org_short")
        for encoding in ("latin-1", "utf-16", "utf-16-le"):
            assert check_files([RepoFile("run.log", "é api_org_short".encode(encoding))])

    def test_a_token_is_asked_for_once_a_file(self, monkeypatch):
        """Asking reads a file: for every line of a tokenizer it took seconds."""
        asked = []
        monkeypatch.setattr("transformers_palo.hub.checks.get_token", lambda: asked.append(1))
        assert check_files([RepoFile("merges.txt", b"a b\n" * 1000)]) == []
        assert len(asked) == 1

    def test_every_problem_is_named_at_once(self, folder):
        (folder / "optimizer.pt").write_bytes(b"x")
        (folder / "run.log").write_text("/root/x")
        (folder / "processor_config.json").unlink()
        assert len(self.problems(folder)) == 3

    def test_addresses_and_words_are_no_paths(self, folder):
        lines = [
            "git clone https://user:password@git.test/x, postgres://user:$PASSWORD@host, https://x.test:8080/a@b",
            "See https://huggingface.co/home/x, [docs](docs/home/a.md), 3/4, and/or, ../data/x, </data/>, ~5B, a/mnt/b",
            "#!/usr/bin/env python",
            r"'Q:\nWhat?\nA:\n'",
            "https://x.test/a?password=short",
            "Clear ~/.cache/huggingface, then docker run -v /data/models:/models with /usr/bin/python3",
            "Show it /content/photo.jpg, with access_token=YOUR_HUGGING_FACE_TOKEN_HERE",
        ]
        (folder / "optimizer_guide.md").write_text("# How to tune")
        (folder / "notes.md").write_text("\n".join(lines))
        assert prepare(folder, "user/palo-tiny").answer is not None

    def test_what_tools_leave_stays_at_home(self, folder):
        for name in (".git/config", ".cache/huggingface/x", "__pycache__/a.pyc", ".DS_Store"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")
        assert not any(file.path.startswith((".", "__")) for file in prepare(folder, "user/palo-tiny").files)

    def test_the_folder_is_left_as_it_was(self, folder):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        prepare(folder, "user/palo-tiny", with_code=True)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


class Caller:
    """Its pickle calls a function where it is loaded."""

    def __reduce__(self):
        return print, ("called",)


OBJECTS = [[1, 2], {"a": 1}, (1, "two"), "text", Caller(), collections.OrderedDict(a=[]), list(range(300_000))]
TEXTS = [
    "Paris\n.",
    "Preface\n.. toctree::\n",
    "cat\ndog\n.gitignore\n",
    "Vienna\nVenice\nb.",
    "I5\n.",
    ").",
    "N.\n",
    "",
    "(lp0\nI1\naI2\na. And so on.",
]


class TestPickles:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("content", OBJECTS, ids=lambda content: type(content).__name__)
    def test_every_protocol_is_known_without_a_name(self, content, protocol):
        packed = pickle.dumps(content, protocol)
        assert is_pickle(io.BytesIO(packed))
        assert is_pickle(io.BytesIO(packed + packed))

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_what_calls_is_known_whatever_follows(self, protocol):
        packed = pickle.dumps(Caller(), protocol)
        assert is_pickle(io.BytesIO(packed + b" and more"))
        assert is_pickle(io.BytesIO(pickletools.optimize(packed)))

    @pytest.mark.parametrize("text", TEXTS)
    def test_texts_whose_letters_are_opcodes(self, text):
        assert not is_pickle(io.BytesIO(text.encode()))

    @given(st.text())
    def test_no_text_is_one(self, text):
        assert not is_pickle(io.BytesIO(text.encode("utf-8", "replace")))

    def test_none_of_the_texts_of_this_project_is_one(self):
        texts = [
            path for path in Path(__file__).parents[2].glob("[!.]*/**/*.*") if path.suffix in (".md", ".py", ".jsonl")
        ]
        assert len(texts) > 100
        for path in texts:
            with path.open("rb") as stream:
                assert not is_pickle(stream), path


def tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr(name, content)
    return buffer.getvalue()


class TestPacked:
    @pytest.mark.parametrize(
        ("name", "pack", "member"),
        [
            ("a.zip", lambda content: zipped("notes.txt", content), "a.zip/notes.txt"),
            ("a.tar", lambda content: tar("notes.txt", content), "a.tar/notes.txt"),
            ("a.tar.gz", lambda content: gzip.compress(tar("notes.txt", content)), "a.tar.gz/a.tar/notes.txt"),
            ("notes.txt.xz", lzma.compress, "notes.txt.xz/notes.txt"),
            ("notes.txt.bz2", bz2.compress, "notes.txt.bz2/notes.txt"),
            ("b", lambda content: zipped("a.zip", zipped("notes.txt", content)), "b/a.zip/notes.txt"),
        ],
    )
    def test_what_is_in_it_is_looked_at(self, name, pack, member):
        for content, problem in ((pickle.dumps([1], 0), "a pickle"), (SECRET.encode(), "a Hugging Face token")):
            (found,) = check_files([RepoFile(name, pack(content))])
            assert found.startswith(f"{member}: {problem}")
        assert check_files([RepoFile(name, pack(b"Nothing to see."))]) == []

    def test_names_inside_count(self):
        assert check_files([RepoFile("a.zip", zipped("run/optimizer.pt", b""))])[0].startswith(
            "a.zip/run/optimizer.pt: "
        )

    @pytest.mark.parametrize("damaged", [zipped("a.txt", b"hello" * 100)[:-30], gzip.compress(b"hello" * 100)[:-9]])
    def test_what_cannot_be_unpacked_is_named(self, damaged):
        (found,) = check_files([RepoFile("a.dat", damaged)])
        assert re.fullmatch(r"a.dat: cannot be unpacked to be looked at \(.+\); take it out", found)


class TestFolders:
    """Everything in a folder is published, left out by its name, or named."""

    def test_what_is_no_file_is_named(self, tmp_path):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.txt").write_text("x")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "linked").symlink_to(tmp_path / "other")
        (folder / "gone").symlink_to(tmp_path / "nowhere")
        (folder / "linked.txt").symlink_to(tmp_path / "other" / "a.txt")
        os.mkfifo(folder / "pipe")
        (folder / "line\nbreak").write_text("x")
        Path(os.fsdecode(bytes(folder) + b"/\xff")).write_text("x")
        files, problems = list_folder(folder)
        # The Hub's own cache is links to files.
        assert [file.path for file in files] == ["linked.txt"]
        assert [problem.split(":")[0] for problem in problems] == [
            r"'\udcff'",
            r"'line\nbreak'",
            "gone",
            "linked",
            "pipe",
        ]
        assert "a link to a folder" in problems[3] and "no file (a pipe" in problems[4]

    def test_a_file_that_cannot_be_read(self, tmp_path):
        """What reading the first byte of this one's memory gives, whoever reads it."""
        if not Path("/proc/self/mem").exists():
            pytest.skip("needs Linux's /proc")
        (tmp_path / "a.dat").symlink_to("/proc/self/mem")
        files, _ = list_folder(tmp_path)
        assert check_files(files) == [
            "a.dat: cannot be read (Input/output error); give yourself the right to, or move it"
        ]

    def test_a_folder_that_cannot_be_read(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            (folder / "closed").mkdir(mode=0o000)
            is_root = os.geteuid() == 0
            if is_root:
                os.seteuid(65534)
            try:
                _, problems = list_folder(folder)
            finally:
                if is_root:
                    os.seteuid(0)
                (folder / "closed").chmod(0o700)
        assert problems == ["closed: cannot be read (Permission denied); give yourself the right to, or move it"]

    def test_names_that_differ_in_case_only(self, folder):
        (folder / "readme.md").write_text("# Mine")
        with pytest.raises(NotPublishableError) as refused:
            prepare(folder, "user/palo-tiny")
        assert refused.value.problems[0].startswith("README.md and readme.md: names that differ in nothing but case")

    def test_a_card_that_the_hub_would_not_see(self, folder):
        (folder / "README.md").rename(folder / "readme.md")
        with pytest.raises(NotPublishableError, match=r"readme\.md and README\.md: names that differ"):
            prepare(folder, "user/palo-tiny")

    def test_empty_files_are_files(self, folder):
        (folder / "EMPTY").touch()
        assert any(file.path == "EMPTY" for file in prepare(folder, "user/palo-tiny").files)

    def test_a_home_directory_of_another_kind(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", "/gpfs7/people/me")
        (found,) = check_files([RepoFile("run.log", b"read /gpfs7/people/me/coco/1.jpg")])
        assert "'/gpfs7/people/me/coco/1.jpg'" in found


def test_every_kind_of_secret_has_the_sign_that_it_is_sought_by():
    assert checks._SIGNS.keys() == checks.SECRETS.keys()


@pytest.mark.parametrize("start", [b"text\n", b"\0binary\n"])
def test_large_files_are_looked_at_in_pieces(start, monkeypatch):
    """Wherever a secret stands, also across the edge of two pieces; lines are counted through."""
    monkeypatch.setattr("transformers_palo.hub.checks._PIECE", 1 << 12)
    monkeypatch.setattr("transformers_palo.hub.checks._OVERLAP", 1 << 8)
    for before in (0, 4000, 4060, 4090, 7800, 20_000):
        content = start + b"0123456\n" * (before // 8) + b"x" * (before % 8) + f" {SECRET}\nend".encode()
        (found,) = check_files([RepoFile("run.log", content)])
        assert found.startswith("run.log: " if b"\0" in start else f"run.log, line {before // 8 + 2}: ")


class CountedText(str):
    """Adds up how many characters are counted through."""

    counted = 0

    def count(self, what, start=0, end=None):
        self.counted += (len(self) if end is None else end) - start
        return super().count(what, start, end)


def test_lines_are_counted_once_however_many_problems_there_are():
    """Counted from the start for each, a log of 5 MB with a path in every line took two minutes."""
    line = f"read /home/me/coco/1.jpg with {SECRET}\n"
    text = CountedText(line * 1000)
    found = list(checks._check_text("run.log", text, checks.SECRETS))
    assert len(found) == 2000
    assert found[-1].startswith("run.log, line 1000: a path") and found[999].startswith(
        "run.log, line 1000: a Hugging"
    )
    assert text.counted <= 3 * len(text)


def test_an_ordinary_line_of_a_log_needs_no_pattern(monkeypatch):
    line = "12:00:01 INFO trainer.py:123 step 5 loss 1.2 tokens 10 keys 3 see /usr/bin and http://example.org/x\n"
    sought = []
    monkeypatch.setattr(checks, "_home_directories", lambda: sought.append("home directories"))
    # Addresses are ordinary as well: their pattern is a fast one.
    rest = dict.fromkeys(checks.SECRETS.keys() - {"a password in an address"})
    assert list(checks._check_text("run.log", line * 10, rest)) == []
    assert sought == []


def test_only_what_reads_like_text_is_looked_at_in_other_files(monkeypatch):
    for before in (b"GGUF\0\xe9", b"GGUF\0name\0"):
        (found,) = check_files([RepoFile("model.gguf", before + SECRET.encode() + b"\xe9")])
        assert found.startswith("model.gguf: a Hugging Face token")
    lengths = []
    monkeypatch.setattr(checks, "_check_secrets", lambda _, text, *__, **___: lengths.append(len(text)) or [])
    check_files([RepoFile("model.gguf", b"GGUF\0" + random.Random(0).randbytes(1 << 20))])
    assert sum(lengths) < 10_000
