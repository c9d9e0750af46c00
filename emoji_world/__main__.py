"""`python -m emoji_world --out DIR`: fetches the packages, builds the world, says what is in it."""

import argparse
import inspect
import json
import sys

from absl import logging

from demo_world.building import SUMMARY
from emoji_world.generate import generate_emoji_world, guessing_lines
from input_pipeline.errors import UserError


def main() -> None:
    """Reads the arguments, builds the world, prints its counts and what text alone gets right."""
    parser = argparse.ArgumentParser(prog="python -m emoji_world", description=__doc__)
    parser.add_argument("--out", required=True, help="directory of the world")
    for name, parameter in inspect.signature(generate_emoji_world).parameters.items():
        if name not in ("directory", "pins"):
            flag, default = f"--{name.replace('_', '-')}", parameter.default
            parser.add_argument(flag, type=type(default), default=default, help=str(default))
    arguments = vars(parser.parse_args())
    logging.set_verbosity(logging.INFO)
    try:
        root = generate_emoji_world(arguments.pop("out"), **arguments)
    except UserError as error:
        sys.exit(str(error))
    for name, count in json.loads((root / SUMMARY).read_text())["counts"].items():
        print(f"{name:24} {count:6} records")
    print("\n".join(guessing_lines(root)))


if __name__ == "__main__":
    main()
