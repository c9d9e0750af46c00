"""Answers to prepared prompts: the same on any mesh, in any batch, and on record."""

import collections
import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from input_pipeline.examples import MediaRef
from input_pipeline.index import ExampleStore
from tests.conftest import devices
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.inference import LoadedModel, answer, generation_settings
from vsft_jax.lora import ModelBuilder
from vsft_jax.prepare import prepare_benchmarks, resolve_frame_policy
from vsft_jax.sharding import abstract_model, make_mesh


@pytest.fixture(scope="module")
def config(shared_config):
    config = shared_config.copy_and_resolve_references()
    config.eval.update(temperature=0.9, top_p=0.95, max_new_tokens=4, batch_rows=8)
    return config


@pytest.fixture(scope="module")
def store(config, tmp_path_factory):
    """Pictures and clips to ask about."""
    workdir = tmp_path_factory.mktemp("prompts")
    run = Run(config, workdir)
    prepared = prepare_benchmarks(run, resolve_frame_policy(run))
    return ExampleStore.concatenate(list(prepared.stores().values()))


def _model(config) -> LoadedModel:
    """An untrained model on the config's mesh."""
    run = Run(config, "")
    build = ModelBuilder(run.family, run.model_config)
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        graphdef, like = abstract_model(build, run.family.partition_rules(), mesh)
        placed = jax.tree.map(lambda x: x.sharding, like)
        params = jax.jit(lambda: nnx.split(build())[1], out_shardings=placed)()
    return LoadedModel(
        graphdef=graphdef,
        params=params,
        mesh=mesh,
        tokenizer=run.tokenizer,
        frame_policy=None,
        step=0,
        trained_config={},
        source=Path(),
    )


def _answers(config, store) -> dict:
    found = {said.index: said for said in answer(Run(config, ""), _model(config), store)}
    assert sorted(found) == list(range(len(store)))
    return found


def test_drawn_answers_do_not_depend_on_the_mesh_or_the_batch(config, store):
    with devices(1):
        one = _answers(config, store)
    other = config.copy_and_resolve_references()
    other.eval.batch_rows = 12
    other.mesh.update(data=2, fsdp=2, tensor=2)
    with devices(8):
        eight = _answers(other, store)
    assert len({tuple(said.token_ids) for said in one.values()}) > len(store) // 2
    for index, said in one.items():
        assert said.token_ids == eight[index].token_ids
        np.testing.assert_allclose(said.logprobs, eight[index].logprobs, atol=1e-4)
        assert said.text == eight[index].text and said.failure is None


def test_media_that_cannot_be_decoded_are_told_of_every_prompt_about_them(config, store):
    """All prompts about one clip, and a prompt about a picture."""
    media = collections.Counter(store[i][0].media for i in np.flatnonzero(store.budgets).tolist())
    ((clip, _),) = media.most_common(1)
    items = [store[i] for i in range(len(store))]
    gone = [i for i, (example, _) in enumerate(items) if example.media == clip]
    lost = MediaRef("video", "/gone.mp4")
    for i in gone:
        example, layout = items[i]
        parts = tuple(lost if part == clip[0] else part for part in example.turns[0].parts)
        turns = (dataclasses.replace(example.turns[0], parts=parts), *example.turns[1:])
        items[i] = dataclasses.replace(example, turns=turns), layout
    with devices(1):
        model = _model(config)
        found = {each.index: each for each in answer(Run(config, ""), model, items, many=True)}
        rest = answer(Run(config, ""), model, items, many=True, answered=set(found) - {gone[0]})
        again = {each.index: each for each in rest}
    assert {i for i, each in found.items() if each.failure} == set(gone) and len(gone) > 1
    for i in gone:
        assert found[i].failure["id"] == items[i][0].id
        assert found[i].failure["path"] == "/gone.mp4" and found[i].failure["reason"] == "missing"
    # The batch that holds it, as it was.
    assert gone[0] in again and len(again) < len(found)
    for i, each in again.items():
        assert each.token_ids == found[i].token_ids and each.logprobs == found[i].logprobs


def test_settings_are_recorded_and_checked(config):
    assert generation_settings(config) == {
        "max_new_tokens": 4,
        "temperature": 0.9,
        "top_p": 0.95,
        "top_k": 0,
        "seed": 0,
        "lora_eval_scale": 1.0,
    }
    greedy = config.copy_and_resolve_references()
    greedy.eval.temperature = 0.0
    with pytest.raises(ConfigError, match="config.eval: top_p = 0.95 .* no effect"):
        generation_settings(greedy)
    greedy.eval.top_p = 1.0
    assert "seed" not in generation_settings(greedy)
