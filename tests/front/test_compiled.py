"""What is damaged of a compilation cache goes before JAX reads it, and nothing else does."""

import json

import jax
import jax.numpy as jnp
import pytest

from front.compiled import CHECKSUMS, remove_damaged


@pytest.fixture
def cache(tmp_path):
    """Compiled functions as JAX keeps them."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    folder = tmp_path / "cache"
    try:
        jax.config.update(names[0], str(folder))
        jax.config.update(names[1], 0.0)
        jax.clear_caches()
        jax.experimental.compilation_cache.compilation_cache.reset_cache()
        for factor in (2.0, 3.0, 4.0):
            jax.jit(lambda x, factor=factor: jnp.sin(x) * factor)(jnp.ones(3))
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        jax.experimental.compilation_cache.compilation_cache.reset_cache()
    assert len(list(folder.glob("*-cache"))) >= 3
    return folder


def _entries(folder):
    return {path.name for path in folder.glob("*-cache")}


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
