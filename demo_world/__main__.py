"""`python -m demo_world --out DIR`: builds a world and says what is in it."""

import argparse
import inspect
import json
import time

from rich.console import Console
from rich.progress import Progress

from demo_world.generate import generate_world


def main() -> None:
    """Reads the arguments, builds the world and prints its counts."""
    parser = argparse.ArgumentParser(prog="python -m demo_world")
    parser.add_argument("--out", required=True, help="directory of the world")
    for name, parameter in inspect.signature(generate_world).parameters.items():
        if isinstance(parameter.default, int):
            flag = f"--{name.replace('_', '-')}"
            parser.add_argument(flag, type=int, default=parameter.default)
    arguments = vars(parser.parse_args())
    start = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("files")
        paths = generate_world(
            arguments.pop("out"),
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
            **arguments,
        )
    summary = json.loads(paths.summary.read_text())
    for name, count in summary["counts"].items():
        print(f"{name:14} {count['media']:6} files {count['records']:6} records")
    print(f"{paths.root}: {time.monotonic() - start:.1f} s, sha256 {summary['sha256'][:16]}")


if __name__ == "__main__":
    main()
