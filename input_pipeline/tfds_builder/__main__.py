"""See the package."""

from absl import app
from tensorflow_datasets.scripts.cli import build, cli_utils


def _parse(argv: list[str]) -> build.Args:
    parse = cli_utils.make_flags_parser(build.Args, description="Stores annotations as TFDS.")
    ours = ["corpus", "--imports=input_pipeline.tfds_builder.corpus"]
    return parse([argv[0], *ours, *argv[1:]])


if __name__ == "__main__":
    app.run(build.Args.execute, flags_parser=_parse)
