"""What a program for several slices has that one for a single slice has not."""

import pytest

from vsft_jax.plan.chips import BETWEEN_SLICES, CHIPS
from vsft_jax.plan.program import Estimator, Program

# As libtpu writes it: the first layer's gradients are computed before the loop, so that those of a
# layer can be on their way while the next one's are computed.
_HLO = """HloModule step, is_scheduled=true

%condition (state: (s32[], f32[8])) -> pred[] {
  %limit = s32[] constant(5)
  %state = (s32[], f32[8]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], f32[8]) parameter(0)
  %send = (f32[31250000]{0}, u32[]{:S(2)}, token[]) send(%x, %after), is_host_transfer=true
  %recv = (f32[31250000]{0}, u32[]{:S(2)}, token[]) recv(%after), is_host_transfer=true
  %work = f32[8]{0} copy(%p), backend_config={"estimated_cycles":"15000000"}
  %sent = token[] send-done(%send)
  %received = (f32[31250000]{0}, token[]) recv-done(%recv)
  ROOT %out = (s32[], f32[8]) tuple(%i, %work)
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %one = s32[] constant(1)
  %begun = s32[] copy(%one)
  %init = (s32[], f32[8]) tuple(%begun, %p)
  %loop = (s32[], f32[8]) while(%init), condition=%condition, body=%body
  ROOT %end = f32[8]{0} get-tuple-element(%loop), index=1
}
"""


def test_loops_and_gradients_on_their_way():
    v5e = CHIPS["v5e"]
    cost = Estimator(Program.parse(_HLO), v5e, (2, 2)).total()
    # Four of five iterations are left in the loop; 125 MB at 3.125 GB/s take longer than the work.
    assert cost.other == pytest.approx(4 * 15e6 / 1.5e9)
    assert cost.collectives == {BETWEEN_SLICES: [4, 4 * 125e6, pytest.approx(4 * 0.04)]}
    assert cost.seconds == pytest.approx(4 * 0.04)
    assert cost.waiting == pytest.approx(4 * 0.03)
