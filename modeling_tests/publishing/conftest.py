"""A Hub on the loopback interface, and a small model to publish there.

Clients run with `HF_HUB_DISABLE_XET=1` (see hub_server.py): large files travel by Git LFS.
"""

import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from ..conftest import tiny_model
from ..hub_server import TOKEN, HubServer
from ..test_model_card import a_card


# A secret that looks like one, put together so that this file holds none.
SECRET = "hf_" + "aB3" * 12


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, processor) -> Path:
    """A model as training leaves it: shards, configs, processor, tokenizer, card."""
    folder = tmp_path_factory.mktemp("trained") / "palo-tiny"
    model = tiny_model()
    model.save_pretrained(folder, max_shard_size="300KB")
    processor.save_pretrained(folder)
    a_card(license="apache-2.0").to_card().save(folder / "README.md")
    return folder


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "palo-tiny"))


@pytest.fixture
def api(hub, monkeypatch) -> HfApi:
    """A client in this process, to which the same applies as to those that get `hub.environment`."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return HfApi(endpoint=hub.endpoint, token=TOKEN)


@pytest.fixture
def environment(hub, tmp_path) -> dict[str, str]:
    """Of a process with a clean cache that knows no other Hub."""
    return {**os.environ, **hub.environment, "HF_HOME": str(tmp_path / "clean"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def palo_publish(hub, api, here, monkeypatch):
    """`palo publish` with some arguments, against the loopback Hub: exit code, standard output, standard error."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return lambda *arguments: here("publish", *map(str, arguments))
