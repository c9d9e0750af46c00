"""The step of Qwen2.5-VL-7B on pods of TPUs, by the plan's own estimates, with none at hand.

    python -m bench.tpu

Rows of 8192 tokens, full fine-tuning. Useful MFU counts no padding, and the tower's attention as
useful; a row of text alone is one segment. The text's step is that of the language model with the
same tokens a chip. "To one grid" is what padding every clip to the largest one leaves of the
samples a second: a row then holds one example. Both prices of the plan: the compiler's cycles, and
what memory and matrix units allow. Nothing is run.
"""

import argparse

from bench.tpu.cases import CASES
from vsft_jax.plan.chips import GIB
from vsft_jax.plan.compile import plan_step
from vsft_jax.plan.result import Plan
from vsft_jax.plan.step import topology_devices


def main() -> None:
    """Plans every case and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--topology", default="", help="of one pod alone")
    options = parser.parse_args()
    print(
        "| step | GiB a chip | seconds | useful MFU | to text alone | samples a second, "
        "to one grid |\n|---|---|---|---|---|---|"
    )
    chosen = [case for case in CASES if options.topology in ("", case.topology)]
    found = {
        case: plan_step(case.run(), topology_devices(case.topology), rows=1) for case in chosen
    }
    for case, plan in found.items():
        text = next(p for c, p in found.items() if c.topology == case.topology and not p.rows)
        print(line(f"{case.topology}, {case.what}", plan, text), flush=True)
    versions = next(iter(found.values())).versions
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))


def line(name: str, plan: Plan, text: Plan) -> str:
    """One line of the Markdown table. text: the plan of text alone on the same pod."""
    seconds = f"{plan.roofline.seconds:.2f}–{plan.cost.seconds:.2f}"
    low, high = useful(plan)
    against = [ours / theirs for ours, theirs in zip((low, high), useful(text), strict=True)]
    cells = [name, f"{plan.needed / GIB:.1f}", seconds, f"{low:.3f}–{high:.3f}"]
    cells.append(f"{against[0]:.2f}–{against[1]:.2f}")
    if plan.rows:
        rate = plan.batch_rows * plan.rows.examples
        samples = (rate / cost.seconds for cost in (plan.cost, plan.roofline))
        cells.append("{:.0f}–{:.0f}, ".format(*samples) + f"{plan.rows.examples:.1f} ×")
    else:
        cells.append("")
    return f"| {' | '.join(cells)} |"


def useful(plan: Plan) -> tuple[float, float]:
    """Useful MFU at both prices; of rows that are full where there is no corpus for them."""
    return plan.useful_mfu if plan.rows else plan.mfu


if __name__ == "__main__":
    main()
