"""python -m launch: prints what starts a job on TPUs, or does it. See docs/launch.md."""

import argparse
import subprocess
import sys
from collections.abc import Sequence

import yaml

from input_pipeline.errors import UserError
from launch import jobset, queued, xpk
from launch.slices import Job, LaunchError, Slice

_STEPS = ("make", "look", "set up", "run", "end")


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the arguments say and returns the exit code: 2 for what a user can put right."""
    words = sys.argv[1:] if argv is None else list(argv)
    split = words.index("--") if "--" in words else len(words)
    try:
        typed = _parser().parse_args(words[:split])
        return _do(typed, tuple(words[split + 1 :]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launch",
        usage="%(prog)s {queued,jobset,xpk} --name=NAME --tpu=TPU [flags] -- ARGUMENTS OF VSFT",
        description="Starts vsft on TPUs, on all hosts of all slices.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("way", choices=("queued", "jobset", "xpk"), help="TPU VMs, or GKE without or with xpk")
    add("--name", required=True, help="of the resource or the workload")
    add("--tpu", required=True, help="as config.plan.topology: v5e:4x4, v5p:2x2x4, v6e:16x16")
    add("--slices", type=int, default=1)
    add("--spot", action="store_true", help="cheaper, and may be taken away")
    add("--restarts", type=int, default=50, help="jobset, xpk: when it fails")
    add("--image", default="", help="jobset, xpk: the container, see Dockerfile")
    add("--cluster", default="", help="xpk: the cluster")
    add("--zone", default="", help="queued: where")
    add("--repository", default="", help="queued: address of the code, for git")
    add("--step", choices=_STEPS, default="", help="queued: this one alone")
    add("--print", action="store_true", help="what would be done, and nothing is done")
    return parser


def _do(typed: argparse.Namespace, words: tuple[str, ...]) -> int:
    job = Job(
        name=typed.name,
        slice=Slice.of(typed.tpu),
        slices=typed.slices,
        words=words,
        image=typed.image,
        spot=typed.spot,
        restarts=typed.restarts,
    )
    if typed.way == "jobset":
        text = yaml.safe_dump(jobset.manifest(job), sort_keys=False, width=1000)
        if typed.print:
            print(text, end="")
            return 0
        return subprocess.run(["kubectl", "apply", "-f", "-"], input=text, text=True).returncode
    if typed.way == "xpk":
        return _run_or_print([xpk.command(job, cluster=typed.cluster)], typed.print)
    if not (typed.zone and typed.repository):
        raise LaunchError("queued resources need --zone=ZONE and --repository=ADDRESS of the code")
    steps = queued.steps(job, zone=typed.zone, repository=typed.repository)
    if typed.step:
        return _run_or_print([steps[typed.step]], typed.print)
    if not typed.print:
        raise LaunchError(f"one at a time: --step={'|'.join(_STEPS)}, or --print to see them")
    for does, line in steps.items():
        print(f"# {does}\n{line}")
    return 0


def _run_or_print(lines: Sequence[str], only_print: bool) -> int:
    for line in lines:
        print(line, flush=True)
        if not only_print and (code := subprocess.run(line, shell=True).returncode):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
