"""What instructions read and write, counted by hand."""

import pytest

from vsft_jax.plan.chips import CHIPS
from vsft_jax.plan.program.estimate import Estimator
from vsft_jax.plan.program.hlo import Program
from vsft_jax.plan.program.prices import Traffic, expected_price, roofline_price, stored_bytes

V5E = CHIPS["v5e"]

# A loop's body takes its layer of stacked parameters, and writes its layer of a buffer.
_HLO = """%take (stack: bf16[28,512,256], x: bf16[512,256]) -> bf16[512,256] {
  %stack = bf16[28,512,256]{2,1,0} parameter(0)
  %x = bf16[512,256]{1,0} parameter(1)
  %layer = bf16[1,512,256]{2,1,0} dynamic-slice(%stack, %i, %z, %z), dynamic_slice_sizes={1,512,256}
  %flat = bf16[512,256]{1,0} bitcast(%layer)
  ROOT %sum = bf16[512,256]{1,0} add(%flat, %x)
}

%put (buffer: f32[28,512,256], x: f32[1,512,256]) -> f32[28,512,256] {
  %buffer = f32[28,512,256]{2,1,0} parameter(0)
  %x = f32[1,512,256]{2,1,0} parameter(1)
  ROOT %new = f32[28,512,256]{2,1,0} dynamic-update-slice(%buffer, %x, %i, %z, %z)
}

%deeper (stack: bf16[28,512,256], x: bf16[512,256]) -> bf16[512,256] {
  %stack = bf16[28,512,256]{2,1,0} parameter(0)
  %x = bf16[512,256]{1,0} parameter(1)
  %same = bf16[28,512,256]{2,1,0} bitcast(%stack)
  ROOT %sum = bf16[512,256]{1,0} fusion(%same, %x), kind=kLoop, calls=%take
}

ENTRY %main (p: bf16[28,512,256]) -> bf16[512,256] {
  %a = bf16[512,256]{1,0} fusion(%p, %q), kind=kLoop, calls=%take
  %n = bf16[512,256]{1,0} fusion(%p, %q), kind=kLoop, calls=%deeper
  %b = f32[28,512,256]{2,1,0} fusion(%r, %s), kind=kLoop, calls=%put
  %c = bf16[512,256]{1,0} copy(%a)
  %d = (f32[8], f32[8]) tuple(%x, %y)
  %e = f32[1024]{0} all-reduce(%x), replica_groups={{0,1}}
}
"""
_OPERANDS = {
    "a": ["bf16[28,512,256]{2,1,0}", "bf16[512,256]{1,0}"],
    "n": ["bf16[28,512,256]{2,1,0}", "bf16[512,256]{1,0}"],
    "b": ["f32[28,512,256]{2,1,0}", "f32[1,512,256]{2,1,0}"],
    "c": ["bf16[512,256]{1,0}"],
    "d": ["f32[8]", "f32[8]"],
    "e": ["f32[1024]{0}"],
}
_LAYER = 512 * 256  # numbers


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("bf16[512,256]{1,0}", 2 * 512 * 256),
        # Heads of width 80 fill up tiles of 128; the second tile of bfloat16 packs pairs of rows.
        ("bf16[16,1000,80]{2,1,0:T(8,128)(2,1)}", 2 * 16 * 1000 * 128),
        ("f32[1,10,80]{1,2,0:T(8,128)}", 4 * 80 * 128),
        ("f32[100]{0:T(1024)}", 4 * 1024),
        ("f32[512,256]{1,0:T(8,128)S(1)}", 0),
        ("(f32[4], s32[])", 4 * 4 + 4),
    ],
)
def test_bytes_of_arrays_in_tiles(shape, size):
    assert stored_bytes(shape) == size


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("a", 3 * 2 * _LAYER),
        ("n", 3 * 2 * _LAYER),
        ("b", 2 * 4 * _LAYER),
        ("c", 2 * 2 * _LAYER),
        ("d", 0),
        ("e", 0),
    ],
)
def test_slices_of_stacks_are_read_and_written_not_the_stacks(name, size):
    program = Program.parse(_HLO)
    (instruction,) = (each for each in program.computations["main"] if each.name == name)
    assert Traffic(program, stored_bytes).of(instruction, _OPERANDS[name]) == size
    roofline = roofline_price(program, V5E)(instruction, 0.0, _OPERANDS[name])
    assert roofline == pytest.approx(size / (0.75 * V5E.bandwidth))
    # The compiler expects more for whatever is no product.
    assert expected_price(program, V5E)(instruction, 0.0, _OPERANDS[name]) >= roofline


def test_a_product_takes_what_its_operations_or_its_bytes_take():
    program = Program.parse(_HLO)
    (copy,) = (each for each in program.computations["main"] if each.name == "c")
    for price in (roofline_price(program, V5E), expected_price(program, V5E)):
        assert price(copy, 1e12, _OPERANDS["c"]) == pytest.approx(1e12 / (0.93 * V5E.peak))


# A loop in whose background a gather goes on, which begins before it and ends after it.
_THREE = "(f32[64,64]{1,0}, bf16[160,4096]{1,0}, bf16[2560,4096]{1,0})"
_PASSED = "kind=kOutput, output_to_operand_aliasing={{1}: (1, {}), {2}: (2, {})}, calls=%part"
_BEHIND = """%part (x: f32[64,64], here: bf16[160,4096], whole: bf16[2560,4096]) -> THREE {
  %x = f32[64,64]{1,0} parameter(0)
  %here = bf16[160,4096]{1,0} parameter(1)
  %whole = bf16[2560,4096]{1,0} parameter(2)
  %sum = f32[64,64]{1,0} add(%x, %x)
  %gather = bf16[2560,4096]{1,0} all-gather(%here), channel_id=7, replica_groups=[16,16]<=[256]
  ROOT %all = THREE tuple(%sum, %here, %gather)
}

ENTRY %main (x: f32[64,64], a: bf16[160,4096], b: bf16[2560,4096]) -> f32[64,64] {
  %x = f32[64,64]{1,0} parameter(0)
  %a = bf16[160,4096]{1,0} parameter(1)
  %b = bf16[2560,4096]{1,0} parameter(2)
  %one = THREE fusion(%x, %a, %b), PASSED
  %y = f32[64,64]{1,0} get-tuple-element(%one), index=0
  %two = THREE fusion(%y, %a, %b), PASSED
}
""".replace("THREE", _THREE).replace("PASSED", _PASSED)


def test_a_collective_that_goes_on_behind_a_loop_costs_nothing_in_it():
    program = Program.parse(_BEHIND)
    price = roofline_price(program, V5E)
    cost = Estimator(program, V5E, (16, 16), price).total()
    assert not cost.collectives and cost.waiting == 0
    # Two sums of an array of 16 KiB, read and written.
    assert cost.seconds == pytest.approx(2 * 2 * 64 * 128 * 4 / (0.75 * V5E.bandwidth), rel=0.6)
    # One that is shown once begins and ends here.
    alone = Program.parse(_BEHIND[: _BEHIND.index("  %y =")] + "}\n")
    cost = Estimator(alone, V5E, (16, 16), price).total()
    assert cost.collectives["all-gather"][:2] == [1, 2560 * 4096 * 2]
