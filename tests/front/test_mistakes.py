"""Mistakes as people make them: each ends in one to five lines that say what to change, and code 2.

In this process, by the function behind the command; test_command.py starts it as a user does.
"""

import json

import pytest

from front import main

TINY = "--config=configs/tiny.py"
BROKEN = {  # config files in the folder {here}
    "typo.py": "from configs import tiny\n\n\ndef get_config():\n    config = tiny.get_confg()\n",
    "syntax.py": "def get_config(:\n",
    "nothing.py": "CONFIG = {}\n",
    "wrong.py": "def get_config():\n    return {'train': {}}\n",
    "section.py": (
        "from configs import tiny\n\n\ndef get_config():\n    config = tiny.get_config()\n"
        "    config.trian.steps = 3\n    return config\n"
    ),
    "missing.py": "import no_such_package\n\n\ndef get_config():\n    pass\n",
    "reads.py": "def get_config():\n    return open('no_such_file.json')\n",
    "refuses.py": "def get_config():\n    raise ValueError('set DATA to your folder')\n",
}

MISTAKES = [
    # Nothing, or too little.
    ([], "nothing to do: give --config or --workdir"),
    (["--job=train"], "--job=train needs --config=FILE, or the --workdir of a run"),
    ([TINY, "--job=train"], "--job=train needs --workdir=FOLDER"),
    ([TINY, "--job=predict", "--prompt=Why?"], "--job=predict needs --workdir=FOLDER"),
    ([TINY, "--workdir={run}", "--job=predict"], '--job=predict needs --prompt="a question"'),
    (
        [TINY, "--workdir={run}", "--job=predict", "--prompt=Why?", "--prompts=a.jsonl"],
        "--prompt and --prompts: give one of them",
    ),
    (["--workdir"], "--workdir: expected one argument"),
    # Jobs and flags.
    ([TINY, "--workdir={run}", "--job=trian"], "--job=trian: no such job; did you mean train?"),
    ([TINY, "--workdir={run}", "--job=Train"], "--job=Train: no such job; did you mean train?"),
    ([TINY, "--workdir={run}", "--jobs=train"], "--jobs: no such flag; did you mean --job?"),
    ([TINY, "--work_dir={run}"], "--work_dir: no such flag; did you mean --workdir?"),
    ([TINY, "--workdir={run}", "-config.seed=1", "--promt=x"], "did you mean --prompt?"),
    (
        [TINY, "--workdir={run}", "evaluate"],
        "'evaluate' belongs to no flag; did you mean --job=evalu",
    ),
    ([TINY, "--workdir={run}", "--train.steps=3"], "set with --config.train.steps=…"),
    (
        [TINY, "--workdir={run}", "--job=prepare", "--prompt=x"],
        "--prompt has no effect with --job=pre",
    ),
    ([TINY, "--workdir={run}", "--media=a.mp4"], "--media has no effect with --job=train"),
    ([TINY, "--workdir={run}", "--job=chat", "--prompt=x"], "with --job=chat: it is for predict"),
    ([TINY, "--job=chat"], "--job=chat needs --workdir=FOLDER"),
    (
        [TINY, "--workdir={run}", "--against=x"],
        "--against has no effect with --job=train: it is for",
    ),
    ([TINY, "--workdir={run}", "--even-unlike"], "--even-unlike has no effect with --job=train"),
    ([TINY, "--workdir={run}", "--even_unlike"], "no such flag; did you mean --even-unlike?"),
    ([TINY, "--workdir={run}", "--distributed"], "give --coordinator=HOST:PORT, --processes=N and"),
    (
        [TINY, "--workdir={run}", "--distributed", "--processes=2"],
        "--coordinator and --process missing: the three of --distributed go together",
    ),
    (
        [TINY, "--workdir={run}", "--coordinator=a:1", "--processes=2", "--process=0"],
        "--coordinator, --processes and --process need --distributed",
    ),
    (
        [TINY, "--distributed", "--coordinator=a:1", "--processes=2", "--process=2"],
        "--process=2: expected one of 0 to --processes - 1 = 1",
    ),
    (["--workdir={run}", "--job=compare"], "--job=compare needs --against=FOLDER"),
    (["--workdir={run}", "--job=compare", "--against={run}"], "no results; evaluate the run first"),
    (["--workdir={run}", "--job=report", "--config.seed=1"], "--config.seed=1 has no effect"),
    # Keys of the config.
    (
        [TINY, "--workdir={run}", "--config.train.stepz=3"],
        "train.stepz: no such key; did you mean train.steps?",
    ),
    (
        [TINY, "--workdir={run}", "--config.steps=3"],
        "config.steps: no such key; did you mean train.steps?",
    ),
    ([TINY, "--workdir={run}", "--config.trian.steps=3"], "did you mean train.steps?"),
    (
        [TINY, "--workdir={run}", "--config.train.weight_decay=3"],
        "did you mean optimizer.weight_decay?",
    ),
    (
        [TINY, "--workdir={run}", "--config.frames.framez=4"],
        "config.frames has candidates, gap_seconds, kind, label",
    ),
    (
        [TINY, "--workdir={run}", "--config.train.steps.more=4"],
        "config.train.steps.more: no such key",
    ),
    (
        [TINY, "--workdir={run}", "--config.data.train.video.weight=1"],
        "did you mean data.train.videos.weight?",
    ),
    ([TINY, "--workdir={run}", "--config.=1"], "config.: no such key"),
    # Values of the config.
    (
        [TINY, "--workdir={run}", "--config.train.steps=many"],
        "config.train.steps = 'many': expected a whole number",
    ),
    (
        [TINY, "--workdir={run}", "--config.train.steps=1.5"],
        "config.train.steps = '1.5': expected a whole number",
    ),
    ([TINY, "--workdir={run}", "--config.train.steps", "--debug"], "config.train.steps: "),
    (
        [TINY, "--workdir={run}", "--config.train.epochs=all"],
        "config.train.epochs = 'all': expected a number",
    ),
    (
        [TINY, "--workdir={run}", "--config.plan.search=maybe"],
        "config.plan.search = 'maybe': expected true or false",
    ),
    (
        [TINY, "--workdir={run}", "--config.frames=hybrid"],
        "config.frames = 'hybrid': expected a dict",
    ),
    ([TINY, "--workdir={run}", "--config.train.steps", "3", "4"], "'4' belongs to no flag"),
    # Config files.
    (
        ["--config=configs/tinny.py", "--workdir={run}"],
        "no such file; did you mean configs/tiny.py?",
    ),
    (["--config=config/tiny.py", "--workdir={run}"], "no such file; did you mean configs/tiny.py?"),
    (["--config=configs", "--workdir={run}"], "--config=configs is a folder: name a Python file"),
    (["--config={here}/nope.py", "--workdir={run}"], "{here}/nope.py: no such file\n"),
    (["--config=README.md", "--workdir={run}"], "--config=README.md: expected a Python file"),
    ([f"{TINY}:frame=4", "--workdir={run}"], "unknown config argument 'frame' in 'frame=4'"),
    ([f"{TINY}:frames=eight", "--workdir={run}"], "frames='eight': expected a number of frames"),
    ([f"{TINY}:full=perhaps", "--workdir={run}"], "full='perhaps': expected true or false"),
    ([f"{TINY}:stage=first", "--workdir={run}"], "stage='first': expected base or sft"),
    (["--config={here}/typo.py", "--workdir={run}"], "typo.py: line 5: config = tiny.get_confg()"),
    (["--config={here}/syntax.py", "--workdir={run}"], "line 1 of {here}/syntax.py: "),
    (["--config={here}/nothing.py", "--workdir={run}"], "nothing.py: it has no get_config()"),
    (
        ["--config={here}/nothing.py:x=1", "--workdir={run}"],
        "nothing.py:x=1: it has no get_config()",
    ),
    (
        ["--config={here}/wrong.py", "--workdir={run}"],
        "get_config() returned {'train': {}}, not a ConfigDict",
    ),
    (
        ["--config={here}/wrong.py:x=1", "--workdir={run}"],
        "get_config() takes no arguments, here 'x=1'",
    ),
    (["--config={here}/section.py", "--workdir={run}"], "line 6: config.trian.steps = 3"),
    (["--config={here}/missing.py", "--workdir={run}"], "No module named 'no_such_package'"),
    (
        ["--config={here}/reads.py", "--workdir={run}"],
        "No such file or directory: 'no_such_file.json'",
    ),
    (["--config={here}/refuses.py", "--workdir={run}"], "refuses.py: set DATA to your folder"),
    # Folders.
    ([TINY, "--workdir={here}/typo.py"], "typo.py: a file is in the way"),
    ([TINY, "--workdir={here}/typo.py/run"], "typo.py/run: a file is in the way"),
    ([TINY, "--workdir={here}/typo.py", "--job=evaluate"], "typo.py is a file: name a folder"),
    ([TINY, "--workdir=/proc/run"], "--workdir=/proc/run cannot be made: "),
    ([TINY, "--workdir=nowhere://bucket/run"], "nowhere://bucket/run cannot be reached: "),
    (["--workdir={run}", "--job=evaluate"], "{run} has no config.json; give a --config as well"),
    (["--workdir={here}/elsewhere", "--job=evaluate"], "{here}/elsewhere: no such folder\n"),
    (["--workdir={run}s", "--job=evaluate"], "no such folder; did you mean {run}?"),
    ([TINY, "--workdir={run}s", "--job=export"], "no such folder; did you mean {run}?"),
    (
        ["--workdir={here}/study", "--job=evaluate"],
        "runs of a study that have: {here}/study/cells/base is",
    ),
    (["--workdir={here}/cut", "--job=evaluate"], "cut/config.json is not what training saves"),
    (["--workdir={here}/other", "--job=evaluate"], "other/config.json is not what training saves"),
    ([TINY, "--workdir={run}", "--job=evaluate"], "has no checkpoints: was the model trained?"),
    ([TINY, "--workdir={run}", "--job=export"], "has no checkpoints: was the model trained?"),
    (
        [TINY, "--workdir={run}", "--job=predict", "--prompt=Why?"],
        "has no checkpoints: was the model trained?",
    ),
    (["--workdir={run}", "--job=report"], "no cells; is this a study's directory? Runs are comp"),
    # What jobs find first.
    (
        [TINY, "--workdir={run}", "--job=prepare", "--config.data.demo_world={}"]
        + [
            "--config.data.train={'a': {'annotations': 'README.md'}}",
            "--config.data.benchmarks={}",
        ],
        "config.data.train.a.annotations: there is no {run}/README.md; relative paths start at",
    ),
    (
        [TINY, "--workdir={run}", "--job=prepare", "--config.data.demo_world={}"]
        + ["--config.data.train={'a': {'annotations': '{here}/typo.py', 'media_root': 'docs'}}"],
        "config.data.train.a.media_root: there is no {run}/docs; relative paths start at",
    ),
    ([TINY, "--workdir={run}", "--config.data.train={}"], "config.data.train is empty: there is"),
    ([TINY, "--workdir={run}", "--config.model.family=gpt"], "config.model.family = 'gpt'"),
    (
        [TINY, "--workdir={run}", "--config.model.path=no/where", "--job=export"],
        "config.model.path = 'no/where'",
    ),
    ([TINY, "--workdir={run}", "--config.plan.topology=v9:2x2", "--job=plan"], "v9"),
]


@pytest.fixture
def places(tmp_path):
    """{run}: an empty folder; {here}: one with files that are not right."""
    run, here = tmp_path / "run", tmp_path / "here"
    run.mkdir()
    for name, text in BROKEN.items():
        here.mkdir(exist_ok=True)
        (here / name).write_text(text)
    for name, text in (
        ("study/cells/base", json.dumps({"config": {}})),
        ("cut", '{"config": '),
        ("other", json.dumps({"model_type": "qwen2_5_vl"})),
    ):
        (here / name).mkdir(parents=True)
        (here / name / "config.json").write_text(text)
    return {"run": str(run), "here": str(here)}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    """What JAX says where nobody tells of other processes; it looks only before it computes."""

    def initialize(*_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", initialize)


@pytest.mark.parametrize("arguments, line", MISTAKES)
def test_a_mistake_costs_a_readable_line(arguments, line, places, capfd):
    def placed(text):
        for name, place in places.items():
            text = text.replace(f"{{{name}}}", place)
        return text

    assert main([placed(argument) for argument in arguments]) == 2
    said = capfd.readouterr().err
    end = said[said.index("error: ") :]
    assert placed(line) in end
    assert 1 <= len(end.splitlines()) <= 5
    assert ("Traceback" in said) == ("--debug" in arguments)
