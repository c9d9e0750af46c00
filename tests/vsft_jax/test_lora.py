"""Adapters and partial tuning: which parameters train, and what adapters compute."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs import default
from tests.conftest import devices
from vsft_jax import lora
from vsft_jax.errors import ConfigError
from vsft_jax.lora import Lora, ModelBuilder
from vsft_jax.models import FAMILIES, family_named
from vsft_jax.models.qwen2_5_vl import FAMILY as qwen2_5_vl
from vsft_jax.models.qwen3_vl import FAMILY as qwen3_vl
from vsft_jax.models.shared.layers import Linear
from vsft_jax.parameters import PRESETS, flatten, selector
from vsft_jax.sharding import abstract_model, make_mesh, shardings
from vsft_jax.train.optimizer import make_optimizer, trainable
from vsft_jax.train.step import Trainer

TINY = qwen2_5_vl.model_config(
    qwen2_5_vl.vision_config(depth=2, width=16, mlp_width=24, heads=2, fullatt_block_indexes=(0,)),
    qwen2_5_vl.text_config(3, 32, 48, 4, 2, 50, head_dim=8, mrope_section=(2, 1, 1)),
    dtype="float32",
    remat="none",
)
ALL = PRESETS["linear"]
ADAPTERS = Lora(4, 8.0, ALL)
MESH = {"data": 1, "fsdp": -1, "tensor": 1}


def _config(only="", rank=0, targets="linear", alpha=8.0, **rates) -> ConfigDict:
    config = default.get_config()
    config.train.only = only
    config.lora.update(rank=rank, alpha=alpha, targets=targets)
    config.optimizer.update(warmup_steps=0, weight_decay=0.1)
    config.optimizer.learning_rate = ConfigDict(
        {"tower": 1e-2, "projector": 1e-2, "llm": 1e-2, **rates}
    )
    return config


def _arrays(rows=2, length=24, patches=16):
    """Rows of random tokens, the first four of them visual, and random patches."""
    rng = np.random.default_rng(0)
    index = np.full((rows, length, 1), -1, np.int32)
    index[:, :4, 0] = np.arange(4)
    tokens = rng.integers(0, 46, (rows, length)).astype(np.int32)
    place = np.arange(length, dtype=np.int32)
    grid = np.stack(np.divmod(np.arange(patches, dtype=np.int32), 4), -1)
    ones = np.ones((rows, patches), np.int32)
    return {
        "tokens": tokens,
        "positions": np.broadcast_to(place[:, None], (rows, length, 3)).copy(),
        "segment_ids": np.ones((rows, length), np.int32),
        "targets": np.roll(tokens, -1, axis=1),
        "loss_weights": np.ones((rows, length), np.float32),
        "visual_index": index,
        "patches": rng.integers(0, 256, (rows, patches, TINY.vision.patch_columns)).astype("uint8"),
        "patch_coords": np.broadcast_to(grid, (rows, patches, 2)).copy(),
        "patch_frames": ones,
        "patch_windows": ones,
    }


@jax.jit(static_argnums=0)
def _logits(graphdef, params, arrays):
    model = nnx.merge(graphdef, params)
    return model.unembed(model.hidden_states(arrays))


@functools.cache
def _fresh(spec: Lora | None = None):
    """A new model: (graphdef, params)."""
    return jax.jit(lambda: nnx.split(ModelBuilder(qwen2_5_vl, TINY, spec)()))()


def _tuned():
    """A model whose adapters have moved: (graphdef, params)."""
    graphdef, params = _fresh(ADAPTERS)
    rng = np.random.default_rng(1)

    def move(path, leaf):
        moved = "lora_b" in jax.tree_util.keystr(path)
        return jnp.asarray(rng.normal(0, 0.1, leaf.shape), leaf.dtype) if moved else leaf

    return graphdef, jax.tree_util.tree_map_with_path(move, params)


# ── Which parameters train. ─────────────────────────────────────────────────────────────────────


def test_a_pattern_is_for_whole_paths_or_what_lies_below():
    chosen = selector("llm/layers/(q|k)", "key")
    assert chosen("llm/layers/q/kernel") and chosen("llm/layers/k/bias")
    assert not chosen("llm/layers/q_norm/scale") and not chosen("visual/llm/layers/q/kernel")
    assert selector("merger|llm/norm/scale", "key")("merger/fc1/bias")
    assert selector("attention", "key")("llm/layers/o/kernel")
    assert not selector("attention", "key")("visual/blocks/o/kernel")
    with pytest.raises(ConfigError, match=r"config.train.only = 'llm/\(q' is neither one of"):
        selector("llm/(q", "config.train.only")


def _family(name):
    """A family and its ModelConfig at a published size."""
    family = family_named(name)
    return family, family.published(family.sizes[0], param_dtype="bfloat16")


STRATEGIES = {
    "everything": _config(),
    "no tower": _config(tower=0.0),
    "projector": _config(tower=0.0, llm=0.0),
    "attention": _config("attention"),
    "gate_up": _config("gate_up"),
    "projector and values": _config(r"merger|llm/layers(/\w+)?/v/kernel"),
    "lora": _config(rank=8),
    "lora without projector": _config(rank=8, tower=0.0, projector=0.0),
    "lora of attention": _config(rank=8, targets="attention", tower=0.0),
    "lora, only the values": _config(r"llm/layers(/\w+)?/v", rank=8),
}
# By kind of layer, if there are several, the matrices of attention.
KINDS = {
    "gemma4": {
        **{"sliding/": "qkvo", "full/": "qkvo"},
        **{"sliding_shared/": "qo", "full_shared/": "qo"},
    },
    "qwen3_5": {"linear/": "qkvzo", "full/": "qkvo"},
}


def _expected(strategy: str, name: str, text, base: set[str]) -> set[str]:
    """What should train, written out by hand."""
    tower = {path for path in base if path.startswith("visual/")}
    projector = {path for path in base if path.startswith("merger/")}
    llm = {path for path in base if path.startswith("llm/")}
    assert len(tower) + len(projector) + len(llm) == len(base) and tower and projector and llm
    kinds = KINDS.get(name, {"": "qkvo"})
    parts = {f"{kind}{part}" for kind, parts in kinds.items() for part in parts}
    values = {part for part in parts if part.endswith("v")}
    gate_up = {f"{kind}mlp/{part}" for kind in kinds for part in ("gate", "up")}
    down = {f"{kind}mlp/down" for kind in kinds}

    def kernels(parts):
        return {f"llm/layers/{part}/kernel" for part in parts}

    def adapters(parts):
        return {f"llm/layers/{part}/lora_{x}" for part in parts for x in "ab"}

    attention = kernels(parts)
    attention |= {f"llm/layers/{part}/bias" for part in "qkv" if text.qkv_bias}
    return {
        "everything": base,
        "no tower": projector | llm,
        "projector": projector,
        "attention": attention,
        "gate_up": kernels(gate_up),
        "projector and values": projector | kernels(values),
        "lora": tower | projector | adapters(parts | gate_up | down),
        "lora without projector": adapters(parts | gate_up | down),
        "lora of attention": projector | adapters(parts),
        "lora, only the values": adapters(values),
    }[strategy]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_strategy_trains_what_it_says_in_every_family(name):
    family, shape = _family(name)
    mesh = make_mesh(MESH)
    rules = lora.partition_rules(family.partition_rules())
    base = set(flatten(abstract_model(ModelBuilder(family, shape), rules, mesh)[1]))
    found = {}
    for strategy, config in STRATEGIES.items():
        build = ModelBuilder(family, shape, Lora.of(config.lora))
        if build.lora not in found:
            found[build.lora] = flatten(abstract_model(build, rules, mesh)[1])
        leaves = found[build.lora]
        trains = trainable(config, leaves, family.component_of)
        assert trains == _expected(strategy, name, shape.text, base), strategy
    adapted = found[Lora(8, 8.0, ALL)]
    up = f"llm/layers/{next(iter(KINDS.get(name, {'': ''})))}mlp/up"
    (depth, width, mlp_width), rank = adapted[f"{up}/kernel"].shape, 8
    assert (width, mlp_width) == (shape.text.width, shape.text.mlp_width)
    a, b = (adapted[f"{up}/lora_{x}"] for x in "ab")
    assert a.shape == (depth, width, rank) and b.shape == (depth, rank, mlp_width)
    assert a.dtype == b.dtype == jnp.float32  # beside matrices in bfloat16
    kernel = adapted[f"{up}/kernel"].sharding.spec
    assert tuple(a.sharding.spec) == (None, kernel[1], None)
    assert tuple(b.sharding.spec) == (None, None, kernel[2])


def test_what_cannot_train_is_named():
    paths = ["visual/patch_embed/kernel", "merger/fc1/kernel", "llm/layers/q/kernel"]
    adapted = [*paths, "llm/layers/q/lora_a", "llm/layers/q/lora_b"]
    component_of = qwen2_5_vl.component_of

    with pytest.raises(ConfigError, match="config.train.only = 'llm/layer' matches no parameter"):
        trainable(_config("llm/layer"), paths, component_of)
    with pytest.raises(ConfigError, match="nothing would train with config.train.only = 'att"):
        trainable(_config("attention", llm=0.0), paths, component_of)
    with pytest.raises(ConfigError, match="no adapter would train.*learning_rate.*lie in llm"):
        trainable(_config(llm=0.0), adapted, component_of)
    with pytest.raises(ConfigError, match="no adapter would train with config.train.only = 'mer"):
        trainable(_config("merger"), adapted, component_of)


def test_adapters_that_cannot_be_are_named():
    for targets, message in (
        ("llm/layers/w", "targets = 'llm/layers/w' matches no matrix; there are llm/head, llm/la"),
        ("llm", "targets = 'llm' matches llm/head, the output matrix"),
    ):
        with pytest.raises(ConfigError, match=message):
            jax.eval_shape(
                lambda t=targets: nnx.split(ModelBuilder(qwen2_5_vl, TINY, Lora(2, 1.0, t))())
            )
    for values in ({"rank": -1}, {"rank": 4, "alpha": 0.0}):
        with pytest.raises(ConfigError, match="config.lora.rank = .* must be positive"):
            Lora.of({"rank": 4, "alpha": 8.0, "targets": "linear", **values})
    assert Lora.of(default.get_config().lora) is None


# ── What adapters compute. ──────────────────────────────────────────────────────────────────────


def test_one_matrix_against_the_formula():
    rng = np.random.default_rng(0)
    linear = Linear(6, 5, bias=True, param_dtype="float32", rngs=nnx.Rngs(0))
    a, b, x, bias = (
        rng.normal(size=shape).astype("float32") for shape in ((6, 2), (2, 5), (3, 4, 6), (5,))
    )
    linear.lora_a, linear.lora_b, linear.lora_scale = nnx.Param(a), nnx.Param(b), 2.5
    linear.bias = nnx.Param(bias)
    weight = np.asarray(linear.kernel[...], np.float64)
    expected = np.einsum(
        "bli,io->blo", x.astype(np.float64), weight + 2.5 * a.astype(np.float64) @ b
    )
    np.testing.assert_allclose(linear(jnp.asarray(x)), expected + bias, atol=1e-5)


def test_adapters_begin_without_effect_on_the_same_model():
    base_graph, base = _fresh()
    graphdef, params = _fresh(ADAPTERS)
    before, after = flatten(base), flatten(params)
    added = after.keys() - before.keys()
    assert len(added) == 14 and all(map(lora.is_adapter, added))
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path], err_msg=path)
    for path in added:
        value = np.asarray(after[path])
        if path.endswith("lora_b"):
            assert not value.any()
        else:
            bound = value.shape[-2] ** -0.5
            assert np.abs(value).max() <= bound
            assert value.std() == pytest.approx(bound / 3**0.5, rel=0.2), path
            assert len({layer.tobytes() for layer in value}) == TINY.text.depth
    arrays = _arrays()
    np.testing.assert_array_equal(
        _logits(base_graph, base, arrays), _logits(graphdef, params, arrays)
    )


def test_moved_adapters_equal_changed_matrices_and_merging():
    graphdef, params = _tuned()
    arrays = _arrays()
    found = _logits(graphdef, params, arrays)
    flat = {path: np.asarray(value) for path, value in flatten(params).items()}
    base_graph, base = _fresh()
    assert np.abs(found - _logits(base_graph, base, arrays)).max() > 0.1

    def changed(path, leaf):
        stem = "/".join(str(key.key) for key in path if hasattr(key, "key")).removesuffix("kernel")
        if f"{stem}lora_a" not in flat:
            return leaf
        a, b = flat[f"{stem}lora_a"].astype(np.float64), flat[f"{stem}lora_b"].astype(np.float64)
        update = np.stack([one @ other for one, other in zip(a, b, strict=True)])
        return jnp.asarray(flat[f"{stem}kernel"] + 8.0 / 4 * update, jnp.float32)

    by_hand = jax.tree_util.tree_map_with_path(changed, base)
    np.testing.assert_allclose(found, _logits(base_graph, by_hand, arrays), atol=1e-5)

    kernel, a, b = (flat[f"llm/layers/q/{name}"] for name in ("kernel", "lora_a", "lora_b"))
    layer = lora.merged_kernel(*map(jnp.asarray, (kernel[1], a[1], b[1])), 2.0)
    np.testing.assert_allclose(layer, by_hand["llm"]["layers"]["q"]["kernel"][1], atol=1e-6)

    merged = lora.merge(graphdef, jax.tree.map(jnp.copy, params))  # consumes them
    assert flatten(merged).keys() == flatten(base).keys()
    np.testing.assert_allclose(found, _logits(base_graph, merged, arrays), atol=1e-5)


def test_a_factor_at_evaluation():
    graphdef, params = _tuned()
    arrays = _arrays()
    config = _config(rank=4)
    assert lora.for_evaluation(config, graphdef, params) is graphdef
    config.lora.eval_scale = 0.0
    off = lora.for_evaluation(config, graphdef, params)
    np.testing.assert_array_equal(_logits(off, params, arrays), _logits(*_fresh(), arrays))
    config.lora.eval_scale = 0.25
    quarter = lora.for_evaluation(config, graphdef, params)
    lower = _fresh(Lora(4, 2.0, ALL))[0]
    np.testing.assert_allclose(
        _logits(quarter, params, arrays), _logits(lower, params, arrays), atol=1e-6
    )
    with pytest.raises(ConfigError, match="eval_scale = 0.25 has no effect"):
        lora.for_evaluation(config, *_fresh())


# ── Steps. ──────────────────────────────────────────────────────────────────────────────────────


def _trainer(config, shape=TINY) -> Trainer:
    build = ModelBuilder(qwen2_5_vl, shape, Lora.of(config.lora))
    mesh = make_mesh(MESH)
    rules = tuple(lora.partition_rules(qwen2_5_vl.partition_rules()))
    paths = flatten(abstract_model(build, rules, mesh)[1])
    return Trainer(
        build=build,
        trains=trainable(config, paths, qwen2_5_vl.component_of),
        optimizer=make_optimizer(config.optimizer, qwen2_5_vl.component_of),
        steps=4,
        rules=rules,
        mesh=mesh,
    )


@pytest.mark.parametrize("strategy", ["projector", "attention", "gate_up", "lora"])
def test_what_is_frozen_stays_bit_for_bit_without_optimiser_state(strategy):
    config = STRATEGIES[strategy]
    with devices(1):
        trainer = _trainer(config)
        with jax.set_mesh(trainer.mesh):
            state = trainer.init()
            before = jax.device_get(flatten(state.params))
            for _ in range(2):  # with B = 0, A gets a gradient only after the first step
                state, _ = trainer.step(state, _arrays())
            after = jax.device_get(flatten(state.params))
    base = {path for path in before if not lora.is_adapter(path)}
    expected = _expected(strategy, "qwen2_5_vl", TINY.text, base)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == expected
    for moment in ("mu", "nu"):
        kept = [path for path in flatten(state.opt_state) if f"/{moment}/" in path]
        assert {path.split(f"/{moment}/")[1] for path in kept} == expected
        assert len(kept) == len(expected)


@pytest.mark.usefixtures("one_device")
def test_a_changed_number_of_steps_is_no_other_program():
    """It is data: what was compiled before the change is found again."""
    programs, weights, step = set(), [], None
    for steps in (4, 2):
        trainer = dataclasses.replace(_trainer(STRATEGIES["projector"]), steps=steps)
        with jax.set_mesh(trainer.mesh):
            lowered = trainer.step.lower(trainer.abstract_state, _arrays())
            programs.add(lowered.as_text())
            step = step or lowered.compile()
            state = trainer.init()
            for _ in range(2):
                state, _ = step(state, _arrays())
        weights.append(np.asarray(flatten(state.params)["merger/fc1/kernel"]))
    assert len(programs) == 1
    assert (weights[0] != weights[1]).any(), "the second step's rate is another"


def _flops(config, remat="none") -> float:
    trainer = _trainer(config, dataclasses.replace(TINY, remat=remat))
    with jax.set_mesh(trainer.mesh):
        return trainer.step.lower(trainer.abstract_state, _arrays()).cost_analysis()["flops"]


@pytest.mark.usefixtures("one_device")
def test_a_frozen_tower_has_no_backward_pass():
    # Narrow text and many patches: nearly all of a step is the tower.
    graphdef, params = _fresh()

    def tower(params, arrays):
        model = nnx.merge(graphdef, params)
        names = ("patches", "patch_coords", "patch_frames", "patch_windows")
        return model.visual(*(arrays[name] for name in names))

    forward = jax.jit(tower).lower(params, _arrays()).cost_analysis()["flops"]
    trained, frozen = _flops(_config()), _flops(_config(tower=0.0))
    # The backward pass costs twice the forward one, but for the patches, which need no gradient.
    assert 1.2 * forward < trained - frozen < 2.5 * forward
    # Rematerialisation has nothing to compute again where there is no backward pass.
    again = _flops(_config(), "full") - _flops(_config(tower=0.0), "full")
    assert trained - frozen < again < 3.5 * forward


def test_adapters_shard_and_give_the_same_step():
    losses = []
    for count in (1, 8):
        with devices(count):
            trainer = _trainer(_config(rank=4))
            with jax.set_mesh(trainer.mesh):
                state = trainer.init()
                for _ in range(2):
                    state, metrics = trainer.step(state, _arrays(rows=8))
            losses.append(metrics.compute())
    assert losses[0]["loss"] == pytest.approx(losses[1]["loss"], rel=2e-5)
    assert losses[0]["grad_norm"] == pytest.approx(losses[1]["grad_norm"], rel=1e-4)
    a = state.trainable["llm"]["layers"]["q"]["lora_a"]
    assert a.sharding.shard_shape(a.shape) == (3, 32 // 8, 4)


def test_every_expert_has_adapters_of_its_own():
    config = qwen3_vl.model_config(
        qwen3_vl.vision_config(depth=1, width=16, mlp_width=24, heads=2, deepstack_layers=(0,)),
        qwen3_vl.text_config(
            *(2, 32, 24, 4, 2, 50),
            **dict(head_dim=8, mrope_section=(2, 1, 1), experts=5, experts_per_token=2),
        ),
        dtype="float32",
        remat="none",
    )
    build = ModelBuilder(qwen3_vl, config, ADAPTERS)
    graphdef, params = jax.jit(lambda: nnx.split(build()))()
    flat = flatten(params)
    assert flat["llm/layers/mlp/experts/gate/lora_a"].shape == (2, 5, 32, 4)
    assert flat["llm/layers/mlp/experts/down/lora_b"].shape == (2, 5, 4, 32)
    assert "llm/layers/mlp/router/lora_a" not in flat
    rng = np.random.default_rng(1)
    moved = jax.tree_util.tree_map_with_path(
        lambda path, x: (
            rng.normal(0, 0.1, x.shape).astype(x.dtype)
            if "experts" in (name := jax.tree_util.keystr(path)) and "lora_b" in name
            else x
        ),
        params,
    )
    arrays = {n: x for n, x in _arrays().items() if not n.startswith(("patch", "visual"))}
    found, before = (_logits(graphdef, each, arrays) for each in (moved, params))
    assert abs(found - before).max() > 0.1
    mesh = make_mesh({"data": 1, "fsdp": -1, "tensor": 2})
    rules = lora.partition_rules(qwen3_vl.partition_rules())
    with jax.set_mesh(mesh):
        placed = jax.device_put(moved, shardings(moved, rules, mesh))
        np.testing.assert_allclose(_logits(graphdef, placed, arrays), found, atol=1e-5)
    merged = lora.merge(graphdef, moved)
    assert not any(map(lora.is_adapter, flatten(merged)))
    plain = nnx.graphdef(nnx.eval_shape(ModelBuilder(qwen3_vl, config)))
    np.testing.assert_allclose(_logits(plain, merged, arrays), found, atol=1e-5)
