"""What is damaged of a compilation cache goes before JAX reads it, and nothing else does."""

import json

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from front.arguments import parse
from front.compiled import CHECKSUMS, remove_damaged
from front.jobs import Request, keep_compiled


def _entries(folder):
    return {path.name for path in folder.glob("*-cache")}


@pytest.fixture
def kept():
    """folder of a run → its cache, with a few functions in it."""
    reset, asked = compilation_cache.reset_cache, ["--job=predict", "--workdir=x", "--prompt=x"]

    def keep(workdir):
        keep_compiled(Request(parse(asked, ""), None, workdir))
        reset()
        for factor in (2.0, 3.0, 4.0):
            jax.jit(lambda x, factor=factor: jnp.sin(x) * factor)(jnp.ones(3))
        return workdir / ".compilation_cache"

    yield keep
    jax.config.update("jax_compilation_cache_dir", None)
    reset()


@pytest.fixture
def cache(kept, tmp_path):
    folder = kept(tmp_path / "run")
    assert len(_entries(folder)) >= 3
    return folder


def test_a_folder_that_is_moved_keeps_its_functions(cache, kept, tmp_path):
    before = _entries(cache)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert _entries(kept(tmp_path / "moved")) == before


def test_a_cut_off_entry_goes_and_the_others_stay(cache):
    first, *others = sorted(cache.glob("*-cache"))
    first.write_bytes(first.read_bytes()[:-5])
    remove_damaged(cache)
    assert _entries(cache) == {path.name for path in others}
    assert json.loads((cache / CHECKSUMS).read_text()).keys() == _entries(cache)


def test_a_flipped_bit_is_noticed_from_the_second_start_on(cache, caplog):
    remove_damaged(cache)
    first, *others = sorted(cache.glob("*-cache"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    remove_damaged(cache)
    assert _entries(cache) == {path.name for path in others}
    assert f"{first} is damaged: that function is compiled again" in caplog.messages
    caplog.clear()
    remove_damaged(cache)
    assert _entries(cache) == {path.name for path in others} and not caplog.messages


def test_damaged_checksums_are_made_again(cache):
    before = _entries(cache)
    (cache / CHECKSUMS).write_text("[1")
    remove_damaged(cache)
    assert _entries(cache) == before == json.loads((cache / CHECKSUMS).read_text()).keys()


def test_without_a_cache_nothing_is_made(tmp_path):
    remove_damaged(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
