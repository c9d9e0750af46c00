"""What is wrong with an address, a folder or the packages is said before a model is loaded."""

import socket
import sys

import pytest

from input_pipeline.errors import UserError
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.serve import serve, server


@pytest.fixture
def config(shared_config, monkeypatch):
    monkeypatch.setattr(server, "Engine", lambda run: pytest.fail("the model was loaded"))
    return shared_config.copy_and_resolve_references()


def test_an_address_that_cannot_be_had_is_named(config, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.serve.port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"config.serve.port = {config.serve.port}: Address"):
            serve(Run(config, tmp_path))
    config.serve.host = "no.such.host.invalid"
    with pytest.raises(ConfigError, match="config.serve.host = 'no.such.host.invalid'"):
        serve(Run(config, tmp_path))


def test_a_media_root_that_is_not_there_is_named(config, tmp_path):
    config.serve.media_root = "nowhere"
    with pytest.raises(
        ConfigError, match="config.serve.media_root = 'nowhere': there is no folder"
    ):
        serve(Run(config, tmp_path))


def test_a_missing_package_is_named(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match="needs the package uvicorn: pip install uvicorn starlette"):
        serve(Run(config, tmp_path))
