"""The plan job: a real step compiled for TPUs that are not there, and what is read off it."""

import importlib.metadata
import importlib.util
import io
import json

import jax
import pytest
from rich.console import Console

from configs import tiny
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.models.shared.attention.splash import WINDOW_SCOPE
from vsft_jax.models.shared.config import TextConfig
from vsft_jax.parameters import flatten
from vsft_jax.plan import compile as planning
from vsft_jax.plan.chips import CHIPS, GIB, parse_topology
from vsft_jax.plan.flops import model_flops
from vsft_jax.plan.program import Visits
from vsft_jax.plan.program.estimate import Estimator
from vsft_jax.plan.program.hlo import Program
from vsft_jax.plan.program.kernels import kernel_cost
from vsft_jax.plan.program.products import product_flops
from vsft_jax.plan.report import print_plan
from vsft_jax.plan.step import topology_devices
from vsft_jax.train import make_trainer

V5E = CHIPS["v5e"]


@pytest.fixture(scope="module")
def config():
    """A small model with the head widths of Qwen2.5-VL, for four chips."""
    config = tiny.get_config()
    config.model.vision.update(depth=2, width=160, mlp_width=256, heads=2)
    config.model.text.update(
        depth=2,
        width=256,
        mlp_width=512,
        heads=4,
        kv_heads=2,
        head_dim=128,
        mrope_section=(16, 24, 24),
    )
    config.layout.update(row_tokens=512, row_patches=1024)
    config.model.remat = "full"
    config.plan.topology = "v5e:2x2"
    config.plan.compile = True
    return config.lock()


@pytest.fixture(scope="module")
def planned(config):
    return planning.plan_step(Run(config, ""), topology_devices("v5e:2x2"), 1)


def test_the_step_lowers_to_mosaic_and_its_numbers_agree(config, planned):
    """Parameters, optimiser and batch are counted anew from shapes, without sharding."""
    assert planned.fits
    assert planned.batch_rows == 4
    assert planned.mesh == {"data": 1, "context": 1, "fsdp": 4, "tensor": 1}
    # Attention ran through the TPU kernels: a layer of the tower near windows, one of it and two of
    # the text by splash, once forward, once again, once backward.
    runs = {name: count for name, (count, _) in planned.cost.pallas.items()}
    assert runs == {
        "short_segments_forward": 2,
        "short_segments_backward": 1,
        "splash_mha_fwd_segmented_residuals": 2 * 3,
        "splash_mha_dkv_segmented_no_residuals": 3,
    }

    config = config.copy_and_resolve_references()
    config.train.batch_rows = 4
    trainer = make_trainer(Run(config, ""), jax.devices()[:4], abstract=True)
    shapes = flatten(trainer.abstract_state.params)
    split = sum(
        leaf.size for leaf in shapes.values() if leaf.sharding.shard_shape(leaf.shape) != leaf.shape
    )
    whole = sum(leaf.size for leaf in shapes.values()) - split
    assert planned.memory["parameters"] == 4 * (split / 4 + whole)
    assert planned.memory["gradients"] <= planned.memory["parameters"]
    # Two moments for each parameter, and a few counters.
    assert 0 < planned.memory["optimiser"] - 2 * planned.memory["parameters"] < 100
    row = 512 * (4 * 3 + 12 + 8 + 1) + 1024 * (1176 + 8 + 8)
    assert planned.memory["batch"] == row
    assert planned.needed == pytest.approx(sum(planned.memory.values()))
    assert planned.needed < planned.available == V5E.hbm
    assert {"all-gather", "reduce-scatter"} <= set(planned.cost.collectives)
    parts = planned.cost
    assert parts.matrix + parts.kernels + parts.other + parts.waiting == pytest.approx(
        parts.seconds
    )
    low, high = planned.mfu
    assert 0 < low < high < 1


@pytest.mark.skipif(
    not importlib.metadata.version("libtpu").startswith("0.0.42."),
    reason="docs/tpu.md: how memory is read before code generation was checked for one libtpu",
)
def test_what_is_read_before_code_generation_agrees(config, planned):
    """The same instructions and buffers; cycles are what shapes let one expect."""
    config = config.copy_and_resolve_references()
    config.plan.compile = False
    found = planning.plan_step(Run(config, ""), topology_devices("v5e:2x2"), 1)
    assert found.fits and not found.code_generated
    assert found.cost.flops == planned.cost.flops
    assert found.cost.collectives == planned.cost.collectives
    assert found.cost.kernels == planned.cost.kernels
    assert found.roofline.seconds == pytest.approx(planned.roofline.seconds, rel=0.02)
    program = "padding and program"
    for part in planned.memory.keys() - {program}:
        assert found.memory[part] == planned.memory[part]
    assert found.memory[program] < planned.memory[program]
    # Most instructions of a model this small take what any takes, whatever it computes, and that
    # is not expected of them.
    assert found.roofline.other < found.cost.other < planned.cost.other


def test_the_plan_is_printed_and_written(config, planned, monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "plan_step", lambda *_: planned)
    planning.plan(Run(config, tmp_path))
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written["memory"] == planned.memory
    assert written["cost"]["collectives"]["all-gather"]["count"] > 0
    console = Console(file=io.StringIO(), width=100)
    print_plan(planned, console)
    text = console.file.getvalue()
    for expected in ("v5e:2x2", "parameters", "all-gather", "MFU", "static estimates"):
        assert expected in text


def test_a_step_that_does_not_fit_says_by_how_much(config):
    """An embedding of 8 GiB a chip, with its moments."""
    config = config.copy_and_resolve_references()
    config.model.text.vocab_size = 2**25
    config.plan.compile = False
    found = planning.plan_step(Run(config, ""), topology_devices("v5e:2x2"), 1)
    assert not found.fits
    assert found.needed > 3 * 8 * GIB > found.available == pytest.approx(15.75 * GIB)
    console = Console(file=io.StringIO(), width=100)
    print_plan(found, console)
    assert "Does not fit" in console.file.getvalue()
    assert "config.train.accumulate" in console.file.getvalue()


def test_without_libtpu_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install 'libtpu==0"):
        topology_devices("v5e:2x2")


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v9:2x2", "v5e:2xtwo"])
def test_unknown_topologies_are_named(name):
    with pytest.raises(ConfigError, match="config.plan.topology = '"):
        topology_devices(name)
    with pytest.raises(ConfigError, match="libtpu says"):
        topology_devices("v5e:3x5")


_HLO = """HloModule step, is_scheduled=true

%condition (state: (s32[], f32[8])) -> pred[] {
  %limit = s32[] constant(5)
  %state = (s32[], f32[8]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%product (a: bf16[256,512], b: bf16[512,1024]) -> bf16[256,1024] {
  %a = bf16[256,512]{1,0} parameter(0)
  %b = bf16[512,1024]{1,0} parameter(1)
  ROOT %dot = bf16[256,1024]{1,0} convolution(%a, %b), dim_labels=bf_io->bf
}

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], f32[8]) parameter(0)
  %gather = (bf16[1000], bf16[4000]) all-gather-start(%x), replica_groups=[1,4]<=[4], dimensions={0}
  %work = bf16[256,1024] fusion(%p, %q), calls=%product, config={"estimated_cycles":"3000000"}
  %gathered = bf16[4000]{0} all-gather-done(%gather)
  ROOT %out = (s32[], f32[8]) tuple(%i, %v)
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0), metadata={op_name="two
lines"}
  %loop = (s32[], f32[8]) while(%init), condition=%condition, body=%body
  %sum = f32[250000000]{0} all-reduce(%y), channel_id=2, replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %end = f32[8]{0} copy(%p), backend_config={"estimated_cycles":"1500000"}
}
"""


def test_time_is_added_up_along_the_schedule():
    """Loops count as often as they run; a collective costs what is not hidden behind work."""
    cost = Estimator(Program.parse(_HLO), V5E, (2, 2)).total()
    assert cost.matrix == pytest.approx(5 * 3e6 / 1.5e9)
    assert cost.other == pytest.approx(1.5e6 / 1.5e9)
    assert cost.flops == 5 * 2 * 256 * 512 * 1024
    count, size, seconds = cost.collectives["all-gather"]
    assert (count, size) == (5, pytest.approx(5 * 8000))
    count, size, seconds = cost.collectives["all-reduce"]
    assert (count, size) == (1, 1e9)
    # Two axes of two chips, one link each: 3/4 of the bytes, there and back; 2 hops.
    assert seconds == pytest.approx(2 * 0.75 * 1e9 / (2 * 45e9) + 2e-6)
    assert cost.waiting == pytest.approx(seconds)  # the gathers hide behind the product
    assert cost.seconds == pytest.approx(cost.matrix + cost.other + cost.waiting)


def _instruction(line):
    (found,) = Program.parse(f"ENTRY %main (p: f32[8]) -> f32[8] {{\n  {line}\n}}\n").computations[
        "main"
    ]
    return found


@pytest.mark.parametrize(
    ("product", "left", "right", "multiplications"),
    [
        # Twelve products in a batch; the same as one convolution whose window meets one at a time.
        (
            "bf16[12,64,32] dot(%a, %b), lhs_batch_dims={0}, lhs_contracting_dims={2}",
            *("bf16[12,64,128]", "bf16[12,128,32]", 12 * 64 * 128 * 32),
        ),
        (
            "bf16[12,64,32] convolution(%a, %b), window={size=12 stride=11 pad=0_0 lhs_dilate=12}, "
            "dim_labels=0bf_0io->0bf",
            *("bf16[12,64,128]", "bf16[12,128,32]", 12 * 64 * 128 * 32),
        ),
        # Two contracted dimensions: one is the window.
        (
            "f32[160,256,1] convolution(%a, %b), window={size=2}, dim_labels=0fb_0io->bf0",
            *("bf16[2,1024,160]", "bf16[2,1024,256]", 2 * 1024 * 160 * 256),
        ),
        # A picture with a border of padding: corners meet 4 of 9 places, edges 6.
        (
            "f32[1,4,4,8] convolution(%a, %b), window={size=3x3 pad=1_1x1_1}, "
            "dim_labels=b01f_01io->b01f",
            *("f32[1,4,4,3]", "f32[3,3,3,8]", (4 * 4 + 8 * 6 + 4 * 9) * 3 * 8),
        ),
    ],
)
def test_operations_of_products(product, left, right, multiplications):
    assert product_flops(_instruction(f"%p = {product}"), left, right) == 2 * multiplications


@pytest.mark.parametrize("kind", ["fwd_residuals", "dq_no_residuals", "dkv_no_residuals"])
def test_a_share_of_a_rows_queries_takes_its_part(kind):
    """A fourth of 32 blocks of queries against all keys takes a fourth of the whole row."""

    def cost(blocks):
        sizes = [f"s32[1,{blocks},32]"] * 2 + [f"bf16[28,{1024 * blocks},128]"]
        sizes += ["bf16[4,32768,128]"] * 2 + ["s32[8,8]"] * 3
        shapes = "{" + ", ".join(f"{size}{{0}}" for size in sizes) + "}"
        call = _instruction(
            f"%splash_mha_{kind}.1 = (f32[2,8,8]) custom-call(%a), custom_call_target="
            f'"tpu_custom_call", operand_layout_constraints={shapes}'
        )
        return kernel_cost(call, V5E)

    assert cost(8) == pytest.approx(tuple(x / 4 for x in cost(32)))


def test_a_kernel_in_a_loop_over_rows_is_known_by_where_it_comes_from():
    sizes = ["s32[1,4,3]"] * 2 + ["f32[2,1024,80]"] * 3
    shapes = "{" + ", ".join(f"{size}{{2,1,0}}" for size in sizes) + "}"

    def call(name, origin):
        return _instruction(
            f'%{name} = (f32[2,1024,80]) custom-call(%a), custom_call_target="tpu_custom_call", '
            f'operand_layout_constraints={shapes}, metadata={{op_name="jit(_splash_attention)/'
            f'{origin}/pallas_call"}}'
        )

    alone = call("splash_mha_fwd_residuals.3", "splash_mha_fwd_residuals")
    looped = call("closed_call.48", "splash_mha_fwd_residuals/while/body/closed_call")
    assert looped.kernel == alone.kernel == "splash_mha_fwd_residuals"
    assert kernel_cost(looped, V5E) == kernel_cost(alone, V5E) > (0, 0)

    # Causal, since queries' positions are given: of layers with a window, and of the others.
    sizes += ["s32[8,8]"] * 3
    shapes = "{" + ", ".join(f"{size}{{0}}" for size in sizes) + "}"
    scope = f"transpose(jvp({WINDOW_SCOPE}))/splash_mha_dkv_no_residuals"
    windowed, other = call("a.1", scope), call("a.2", "splash_mha_dkv_no_residuals")
    visits = Visits(text=0.5, near=0.25)
    for each, share in ((windowed, 0.25), (other, 0.5)):
        assert kernel_cost(each, V5E, visits)[1] == share * kernel_cost(each, V5E)[1]


def test_short_segments_take_what_their_tiles_or_their_bytes_take():
    row, log = "bf16[1,16,80,4096]{3,2,1,0}", "f32[1,16,1,4096]{3,2,1,0}"

    def cost(kind, chip, inputs):
        shapes = "{" + ", ".join(["s32[1,4,1,1280]{3,2,1,0}", *inputs]) + "}"
        call = _instruction(
            f"%short_segments_{kind}.1 = ({row}, {log}) custom-call(%a), custom_call_target="
            f'"tpu_custom_call", operand_layout_constraints={shapes}'
        )
        return kernel_cost(call, parse_topology(f"{chip}:2x2x2" if chip == "v5p" else "v5e:2x2")[0])

    seconds, operations = cost("forward", "v5p", [row] * 7)
    assert seconds == 16 * 32 * 217 / 1.75e9 / 2
    assert operations == 2 * 2 * 16 * 4096 * 256 * 80
    # On v5e the memory takes longer. Five arrays of eight are read with 256 positions more of 1024.
    seconds, operations = cost("backward", "v5e", [row] * 15 + [log] * 3)
    assert seconds == pytest.approx((8 + 5 / 4) * 2 * 16 * 80 * 4096 / (0.75 * 819e9))
    assert operations == 2 * 5 * 16 * 4096 * 256 * 80


def _grouped(name, origin, *shapes, gives):
    inputs = ["s32[]", "s32[130]{0}", *shapes]
    return _instruction(
        f'%{name} = {gives} custom-call(%a), custom_call_target="tpu_custom_call", '
        f"operand_layout_constraints={{{', '.join(f'{each}{{1,0}}' for each in inputs)}}}, "
        f'metadata={{op_name="jit(loss)/{origin}/pallas_call"}}'
    )


def test_products_of_experts_count_the_tokens_that_are_there():
    rows, kernels, out = "bf16[65536,2048]", "bf16[128,2048,768]", "bf16[65536,768]"
    calls = [
        _grouped("jvp_jit_gmm__.2", "jvp(jit(gmm))", rows, kernels, gives=out),
        # Of the inputs, with turned matrices; and of the matrices.
        _grouped("t.1", "transpose(jvp(jit(gmm)))", out, kernels, gives=rows),
        _grouped("t.2", "transpose(jvp(jit(tgmm)))", rows, out, gives=kernels),
    ]
    assert [call.kernel for call in calls] == ["gmm", "gmm", "tgmm"]
    v5p = parse_topology("v5p:4x4x4")[0]
    for call in calls:
        seconds, operations = kernel_cost(call, v5p)
        assert operations == 2 * 65536 * 2048 * 768
        assert 1 < seconds * v5p.peak / operations < 2  # tiles where groups meet are done twice


def test_of_experts_those_that_a_token_goes_to_count():
    text = TextConfig(1, 8, 4, 2, 2, 100, experts=10, experts_per_token=2)
    shapes = {
        "llm/layers/mlp/experts/gate/kernel": (3, 10, 8, 4),
        "llm/layers/mlp/experts/gate/lora_a": (3, 10, 8, 5),
        "llm/layers/mlp/router/kernel": (3, 8, 10),
    }
    given = dict(rows=1, row_tokens=7, row_patches=0, patches_per_unit=4)
    found = model_flops(shapes, set(), lambda path: "llm", text, **given)
    assert found.matrices == 2 * 7 * 3 * (2 * 8 * 4 + 2 * 8 * 5 + 8 * 10)


@pytest.mark.parametrize(
    "branches",
    [
        "branch_computations={%cheap, %dear}",
        "true_computation=%dear, false_computation=%cheap",
        "true_computation=%cheap, false_computation=%dear",
    ],
)
def test_the_dearer_branch_counts(branches):
    copy = '  ROOT %c = f32[8] copy(%p), backend_config={{"estimated_cycles":"{}"}}'
    lines = ["%cheap (p: f32[8]) -> f32[8] {", copy.format(3), "}"]
    lines += ["%dear (p: f32[8]) -> f32[8] {", copy.format(3000), "}"]
    lines += ["ENTRY %main (p: f32[8]) -> f32[8] {"]
    lines += [f"  ROOT %c = f32[8] conditional(%i, %p, %p), {branches}", "}", ""]
    cost = Estimator(Program.parse("\n".join(lines)), V5E, (2, 2)).total()
    assert cost.seconds == pytest.approx(3000 / 1.5e9)


def test_rings_close_on_long_axes_only():
    topology = parse_topology("v5e:16x16")[1]
    whole = V5E.collective_seconds("all-gather", 1e9, 256, topology)
    assert whole == pytest.approx(1e9 * 255 / 256 / (4 * 45e9) + 16e-6)
    part = V5E.collective_seconds("all-gather", 1e9, 4, topology)
    assert part == pytest.approx(1e9 * 3 / 4 / 45e9 + 3e-6)


def test_model_flops_by_hand():
    """6 operations for a matrix that trains, 4 for one that gradients pass through, else 2."""

    class text:  # noqa: N801
        # Two heads of width 8 in three layers, and of width 4 in one with a window.
        attention_widths, window, tie_word_embeddings = (2 * 8 * 3, 2 * 4), 6, True
        state_operations = 7

    shapes = {
        "visual/blocks/q/kernel": (2, 10, 10),
        "visual/blocks/norm1/scale": (2, 10),
        "merger/fc1/kernel": (40, 20),
        "llm/layers/q/kernel": (3, 20, 20),
        "llm/embed/embedding": (50, 20),
    }
    parts = {"visual": "tower", "merger": "projector", "llm": "llm"}

    def count(trained, **known):
        return model_flops(
            shapes,
            {path for path in shapes if path.split("/")[0] in trained},
            lambda path: parts[path.split("/")[0]],
            text,
            rows=2,
            row_tokens=16,
            row_patches=64,
            patches_per_unit=4,
            **known,
        )

    tower, projector, llm = 64 * 200, 16 * 800, 16 * (1200 + 1000)
    # Of 16 positions in a window of 6 the first sees none before it, from the sixth on all see 6.
    scores = 2 * 16**2 * 2 * 8 * 3 + 4 * (16 * 6 - 18) * 8 + 16 * 7
    everything = count({"visual", "merger", "llm"})
    assert everything.matrices == 2 * 6 * (tower + projector + llm)
    assert everything.attention == 2 * 3 * scores
    # The output matrix, here the embedding's, at 5 of 16 positions; pairs as they are.
    some = count({"visual", "merger", "llm"}, predicting=5, text_pairs=(40, 30), tower_scores=1000)
    assert everything.matrices - some.matrices == 2 * 6 * 11 * 1000
    assert some.attention == 2 * 3 * (4 * (40 * 2 * 8 * 3 + 30 * 8) + 16 * 7)
    assert some.tower_attention == 2 * 3 * 4 * 1000
    assert count({"merger"}).matrices == 2 * (2 * tower + 6 * projector + 4 * llm)
    assert count({"llm"}).matrices == 2 * (2 * tower + 2 * projector + 6 * llm)
    assert count(set()) == (2 * 2 * (tower + projector + llm), 2 * scores, 0)
