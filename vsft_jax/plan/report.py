"""A plan, printed."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from vsft_jax.plan.chips import GIB
from vsft_jax.plan.result import Plan
from vsft_jax.plan.rows import PackedRows
from vsft_jax.plan.search import Found

_SHOWN = 5  # settings of a search
_KNOBS = """What makes a step smaller, roughly in the order in which it costs speed:
  config.mesh.fsdp              more devices to split parameters and optimiser over
  config.optimizer.mu_dtype     bfloat16 saves 2 bytes a trained parameter
  config.train.accumulate       more microbatches of fewer rows
  config.train.loss_chunk       fewer logits at a time
  config.model.remat            "full" keeps least of each layer
  config.layout.row_tokens, row_patches   shorter rows
  config.lora.rank, config.train.only, learning rates of 0   fewer trained parameters"""


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """Tables of memory, time and collectives."""
    console = console or Console(width=100)
    mesh = " × ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    console.print(
        f"[bold]{plan.topology}[/bold]: {plan.devices} devices ({plan.chip}), {mesh}; "
        f"rows of {plan.row_tokens} tokens and {plan.row_patches} patches, {plan.rows_per_device} "
        f"a device × {plan.accumulate} microbatches: config.train.batch_rows = {plan.batch_rows}"
    )
    if not plan.fits:
        over = (plan.needed - plan.available) / GIB
        console.print(
            f"[bold red]Does not fit[/bold red]: the compiler needs {plan.needed / GIB:.2f} GiB of "
            f"{plan.available / GIB:.2f} GiB, {over:.2f} GiB too much.\n{_KNOBS}",
            highlight=False,
        )
    if plan.rows:
        console.print(_rows(plan, plan.rows), highlight=False)
    if plan.memory:
        console.print(_memory(plan))
        console.print(_time(plan))
        console.print(_collectives(plan))
    versions = ", ".join(f"{name} {version}" for name, version in plan.versions.items())
    depth = "Compiled" if plan.code_generated else "Read before code generation"
    console.print(
        f"{depth} in {plan.compile_seconds:.0f} s with {versions}. Times are static estimates: "
        "nothing was run.",
        highlight=False,
    )


def print_search(found: Sequence[Found], console: Console | None = None) -> None:
    """The best few settings, each with the arguments that choose it."""
    console = console or Console(width=100)
    if not found:
        console.print(f"[bold red]Nothing that was tried fits[/bold red].\n{_KNOBS}")
    for each in found[:_SHOWN]:
        plan = each.plan
        low, high = plan.useful_mfu if plan.rows else plan.mfu
        console.print(
            f"[bold]{low:.1%}–{high:.1%}[/bold] {'useful ' if plan.rows else ''}MFU, "
            f"{plan.roofline.seconds:.2f}–{plan.cost.seconds:.2f} s a step, "
            f"{plan.needed / GIB:.1f} GiB:\n  {each.line}",
            highlight=False,
            soft_wrap=True,
        )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def _rows(plan: Plan, rows: PackedRows) -> str:
    """How the corpus fills rows, in words."""
    balanced = "these balance"
    if abs(rows.balanced_patches - plan.row_patches) > 0.05 * plan.row_patches:
        balanced = f"config.layout.row_patches = {rows.balanced_patches} would balance"
    near = f" ({rows.visits.near:.0%} in layers with a window)" if rows.near_pairs else ""
    return (
        f"Rows of {rows.source}: {rows.examples:.1f} examples each, {rows.token_fill:.1%} of "
        f"tokens and {rows.patch_fill:.1%} of patches in use; {balanced}.\nAttention visits "
        f"{rows.visits.text:.0%} of the text's blocks{near}, {rows.visits.frames:.0%} of those of "
        "whole frames."
    )


def _memory(plan: Plan) -> Table:
    table = _table("Memory of one device", "", "GiB", "of its memory")
    for name, size in plan.memory.items():
        table.add_row(name, f"{size / GIB:.2f}", f"{size / plan.available:.0%}")
    table.add_section()
    share = plan.needed / plan.available
    table.add_row("needed", f"{plan.needed / GIB:.2f}", f"{share:.0%}", style="bold")
    table.add_row("available", f"{plan.available / GIB:.2f}", "")
    return table


def _time(plan: Plan) -> Table:
    flops = plan.model_flops
    table = _table(
        "Time of one step, by static estimates", "", "compiler's price", "memory roofline"
    )

    def row(name: str, part: str) -> None:
        costs = (plan.cost, plan.roofline)
        table.add_row(
            name, *(f"{(s := getattr(c, part)):.3f} s {s / c.seconds:4.0%}" for c in costs)
        )

    row("matrix products", "matrix")
    row("kernels: attention, experts", "kernels")
    row("everything else on the chip", "other")
    row("waiting for collectives", "waiting")
    table.add_section()
    table.add_row(
        "step", *(f"{cost.seconds:.3f} s" for cost in (plan.cost, plan.roofline)), style="bold"
    )
    table.add_row("model FLOPs: products with parameters", f"{flops.matrices:.3e}", "")
    table.add_row("model FLOPs: causal attention", f"{flops.attention:.3e}", "")
    compiled = plan.cost.flops * plan.devices
    table.add_row("compiled FLOPs, with recomputation", f"{compiled:.3e}", "")
    table.add_row("MFU, rows taken as full", *(f"{share:.1%}" for share in plan.mfu))
    if plan.useful_flops:
        table.add_row(
            "useful FLOPs: no padding, the tower's attention", f"{sum(plan.useful_flops):.3e}", ""
        )
        useful = (f"{share:.1%}" for share in plan.useful_mfu)
        table.add_row("useful MFU", *useful, style="bold")
    return table


def _collectives(plan: Plan) -> Table:
    table = _table("Collectives of one step, on one device", "", "count", "GiB", "seconds on links")
    for kind, (count, size, seconds) in sorted(plan.cost.collectives.items()):
        table.add_row(kind, f"{count:.0f}", f"{size / GIB:.2f}", f"{seconds:.3f}")
    return table
