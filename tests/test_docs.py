"""What README, docs and the docstrings of configs say can be typed, opened and set, is so.

Every command goes through the front door up to the job, in whose place its config is checked.
What is not here is not asked for: workdirs count as there; a workdir's saved config is that of an
earlier command of the page, or the demo's; a file that the page makes with `cp` is what it was
copied from; a config that names a model directory is also checked as the family's smallest size.
Data and media are not looked at.
"""

import ast
import dataclasses
import importlib
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

import front
from configs import default, llava_1_5, llava_next_video, qwen2_5_vl
from front import configs, workdirs
from front.arguments import JOBS
from input_pipeline.errors import UserError
from vsft_jax.config.checks import check_config, check_study
from vsft_jax.config.checks.values import wrong_values
from vsft_jax.models import family_named

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
DOCSTRINGS = sorted(ROOT.glob("configs/**/*.py"))

# What counts as a command, an option, a key of the config or a file of this repository.
_PROGRAM = re.compile(r"(?:vsft|python main\.py) +\S")
_OPTION = re.compile(r"--config\.[\w.]+=")
_SECTIONS = "data|eval|export|layout|lora|mesh|model|optimizer|plan|study|train"
_KEY = re.compile(
    rf"(?:(?:--)?config\.|(?=(?:{_SECTIONS})\.))"
    r"(?!(?:[\w.]*\.)?(?:csv|py|jsonl?)\b|key=value)([\w.]+\w)\b"
)
_INLINE = re.compile(r"(?<!`)(`{1,2})(?!`)(.+?)\1(?!`)", re.DOTALL)
_FENCED = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PLACEHOLDERS = ("--config.key=value", "--config.KEY=VALUE")  # of sentences about the form
_FOLDERS = (
    "bench|configs|demo_world|docs|emoji_world|evaluation|front|input_pipeline|tests|vsft_jax"
)
_PATH = re.compile(rf"[\w.<>*/-]+\.(?:py|md|toml|sh)|(?:{_FOLDERS})(?:/[\w.<>*-]+)*/?")
_OF_THE_READER = ("configs/mine.py",)  # what pages call a copy of configs/forkme.py


# ── Reading pages. ──────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line as it is typed, and what the page says before it."""

    line: str
    before: tuple["Command", ...] = ()
    copies: tuple[tuple[str, str], ...] = ()  # (from, to)

    @property
    def words(self) -> list[str]:
        """What the program is given."""
        words = shlex.split(self.line, comments=True)
        return words[2 if words[0] == "python" else 1 :]

    def flag(self, name: str) -> str | None:
        """The value of a flag."""
        return next((w.split("=", 1)[1] for w in self.words if w.startswith(f"--{name}=")), None)


def text_of(path: Path) -> str:
    """A page; of a Python file the docstring, as its lines stand."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    docstring = ast.parse(text).body[0]
    return textwrap.dedent("\n".join(text.splitlines()[: docstring.end_lineno])).replace('"""', "")


def blocks_of(text: str) -> Iterator[str]:
    """Fenced and indented blocks, with continued lines joined."""
    indented = _FENCED.sub(lambda block: f"\n{textwrap.indent(block[1], '    ')}\n", text)
    for block in re.finditer(r"(?:^|\n)((?: {4}.*\n?|[ \t]*\n(?= {4}))+)", indented):
        yield textwrap.dedent(block[1]).replace("\\\n", "")


def commands_of(text: str) -> list[Command]:
    """The command lines of a page: those of blocks in order, then inline ones.

    $NAME is what a line NAME=value of a block says. Raises KeyError for one that none does.
    """
    lines = [line.strip() for block in blocks_of(text) for line in block.splitlines()]
    values: dict[str, str] = {}
    copies, found = [], []
    for line in [*lines, *_inline(text)]:
        if match := re.match(r"(\w+)=(\S+)(?:\s+#.*)?$", line):
            values[match[1]] = Template(match[2]).substitute(values)
        elif match := re.match(r"cp (\S+) (\S+)", line):
            copies.append((match[1], match[2]))
        elif _PROGRAM.match(line):
            line = Template(line).substitute(values)
            found.append(Command(line, tuple(found), tuple(copies)))
    return found


def options_of(text: str) -> list[list[str]]:
    """Lines and inline code that are `--config.key=value` alone."""
    lines = [line for block in blocks_of(text) for line in block.splitlines()]
    found = [line.strip() for line in [*lines, *_inline(text)] if line not in _PLACEHOLDERS]
    return [shlex.split(line, comments=True) for line in found if _OPTION.match(line)]


def _inline(text: str) -> list[str]:
    return [" ".join(match[2].split()) for match in _INLINE.finditer(_FENCED.sub("", text))]


# ── Asking the door. ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What the front door, or a check of the config, has against a command: "" where nothing."""
    asked: list[Command] = []
    load = configs.load

    def load_copy(named):
        path, colon, argument = named.partition(":")
        copied = {to: of for of, to in asked[-1].copies}
        return load(f"{path if Path(path).exists() else copied.get(path, path)}{colon}{argument}")

    def saved(workdir):
        for earlier in reversed(asked[-1].before):
            if earlier.flag("workdir") == str(workdir) and earlier.flag("config"):
                return load_copy(earlier.flag("config"))
        return load("configs/demo.py")

    def check(request):
        if request.config is not None:
            check_without_files(request.config)
            if request.typed.job == "study":
                check_study(request.config)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(configs, "load", load_copy)
    monkeypatch.setattr(configs, "saved", saved)
    for name in ("existing", "writable"):
        monkeypatch.setattr(workdirs, name, lambda named, *_: Path(named))
    monkeypatch.setattr("front.console.prepare_console", lambda: None)
    monkeypatch.setattr("front.door.keep_compiled", lambda request: None)
    monkeypatch.setattr("front.door.DO", dict.fromkeys(JOBS, check))
    monkeypatch.setattr("jax.distributed.initialize", lambda *_: None)

    def ask(command: Command) -> str:
        asked.append(command)
        try:
            code = front.main(command.words)
        except SystemExit as answered:  # --help
            code = answered.code
        said = capsys.readouterr().err
        return said if code else ""

    return ask


def check_without_files(config):
    """Raises ConfigError as making a Run does, and for what would show with the model's files."""
    check_config(config)
    if config.model.path:
        config.model.size = config.model.size or family_named(config.model.family).sizes[0]
        config.model.path = ""
        check_config(config)


@pytest.mark.parametrize("page", [*PAGES, *DOCSTRINGS], ids=lambda path: path.name)
def test_commands_are_not_refused(page, refusal):
    wrong = {command.line: refusal(command) for command in commands_of(text_of(page))}
    assert not {line: said for line, said in wrong.items() if said}


@pytest.mark.parametrize("page", [*PAGES, *DOCSTRINGS], ids=lambda path: path.name)
def test_options_can_be_set(page):
    for words in options_of(text_of(page)):
        config = default.get_config()
        configs.override(config, words)
        assert not list(wrong_values(config.to_dict())), words


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_and_modules_are_there(page):
    text = page.read_text(encoding="utf-8")
    typed = [line for block in blocks_of(text) for line in block.splitlines()] + _inline(text)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in typed:
        if match := re.match(r"make ([\w./-]+)", line.strip()):
            assert re.search(rf"^{re.escape(match[1])}:", makefile, re.MULTILINE), line
        if match := re.match(r"python -m ([\w.]+)", line.strip()):
            module = ROOT / match[1].replace(".", "/")
            assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_is_right(page):
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if re.search(r"^config\.\S+ = ", block, re.MULTILINE):
            config = default.get_config()
            exec(block, {"config": config})
            assert not list(wrong_values(config.to_dict())), block
        for module, names in re.findall(r"^from (\w[\w.]*) import (.+)", block, re.MULTILINE):
            for name in names.split(", "):
                found = hasattr(importlib.import_module(module), name)
                assert found or importlib.util.find_spec(f"{module}.{name}"), f"{module}.{name}"


def test_pages_have_commands():
    assert len(commands_of(text_of(ROOT / "README.md"))) >= 6
    assert len(commands_of(text_of(ROOT / "configs/forkme.py"))) == 4
    assert len(commands_of(text_of(ROOT / "configs/qwen2_5_vl.py"))) == 2


# ── What pages name. ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    assert not broken_links(page.read_text(encoding="utf-8"), page.parent)


@pytest.mark.parametrize("page", [*PAGES, *DOCSTRINGS], ids=lambda path: path.name)
def test_named_files_are_there(page):
    assert not missing_files(text_of(page))


@pytest.mark.parametrize("page", [*PAGES, *DOCSTRINGS], ids=lambda path: path.name)
def test_named_keys_are_there(page):
    assert not missing_keys(text_of(page))


def broken_links(text: str, folder: Path) -> list[str]:
    """Targets of relative links without their file."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    return [t for t in targets if "://" not in t and not (folder / t).exists()]


def missing_files(text: str) -> list[str]:
    """Files and folders of this repository in inline code that are not there.

    <family> stands for any. A name without its folder may be in any folder.
    """
    named = [name for code in _inline(text) if _PATH.fullmatch(name := code.partition(":")[0])]
    return [name for name in named if name not in _OF_THE_READER and not _exists(name)]


def _exists(name: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", name.rstrip("/"))
    if re.match(rf"(?:{_FOLDERS})/", name):
        return any(ROOT.glob(pattern))
    folders = [ROOT, *(ROOT / folder for folder in _FOLDERS.split("|"))]
    return any(next(f.glob(pattern), None) for f in folders) or any(
        next(folder.rglob(pattern), None) for folder in folders[1:]
    )


def missing_keys(text: str) -> list[str]:
    """`config.section.key` and `section.key` of inline code that no family's config has."""
    known = [default.get_config(), *(f.get_config() for f in (llava_1_5, llava_next_video))]
    known.append(qwen2_5_vl.get_config())
    named = [match[1] for code in _inline(text) if (match := _KEY.match(code))]
    return [key for key in named if not any(_has(config, key) for config in known)]


def _has(config, key: str) -> bool:
    first, _, rest = key.partition(".")
    if key.startswith("frames.") or not config:  # keys of the kind of policy, names of one's own
        return True
    return first in config and (not rest or _has(config[first], rest))


# ── The tests of these tests. ───────────────────────────────────────────────────────────────────

MADE_UP = """
    M=/models/some                 # a model
    C=configs/qwen2_5_vl.py:path=$M,{argument}

    cp configs/forkme.py configs/mine.py
    vsft --config=$C --workdir=runs/mine \\
        --job=prepare    # what it makes of them
    vsft --workdir=runs/mine --job={job} {override}

```sh
python main.py --config=configs/{file}.py --workdir=runs/other --job=study
```

`vsft --config=configs/tiny.py --workdir=runs/tiny {inline}` is short.
"""
RIGHT = {"argument": "frames=8", "job": "export", "override": "", "file": "mine", "inline": ""}


def test_a_made_up_page_is_right(refusal):
    assert [refusal(command) for command in commands_of(MADE_UP.format(**RIGHT))] == [""] * 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"argument": "framez=8"}, "unknown config argument 'framez'"),
        ({"argument": "size=9b"}, "config.model.size = '9b'"),
        ({"job": "exprot"}, "did you mean export?"),
        ({"override": "--config.export.dtpye=float32"}, "did you mean export.dtype?"),
        ({"override": "--config.export.dtype=fp16"}, "config.export.dtype = 'fp16'"),
        ({"override": "--prompt=Why?"}, "--prompt has no effect with --job=export"),
        ({"file": "yours"}, "no such file"),
        ({"file": "qwen3_vl"}, "config.study.frames is empty"),
        ({"inline": "--confg=x"}, "--confg: no such flag"),
        ({"inline": "--config.train.batch_rows=7 --config.train.accumulate=2"}, "batch_rows"),
    ],
)
def test_a_made_up_page_with_a_mistake_is_refused(wrong, said, refusal):
    answers = [refusal(command) for command in commands_of(MADE_UP.format(**{**RIGHT, **wrong}))]
    assert said in "".join(answers) and len([answer for answer in answers if answer]) <= 2


def test_a_page_that_does_not_say_what_a_name_stands_for_is_refused():
    with pytest.raises(KeyError, match="C"):
        commands_of("    vsft --config=$C --workdir=runs/mine\n")


def test_mistakes_in_names_are_found():
    text = (
        "`vsft_jax/train/lop.py`, `lop.py`, `vsft_jax/train/loop.py`, `loop.py`, `frnt/`, `docs/`"
    )
    assert missing_files(text) == ["vsft_jax/train/lop.py", "lop.py"]
    keys = "`config.train.stepz`, `--config.seeds`, `data.route`, `train.steps`, `config.json`"
    assert missing_keys(keys) == ["train.stepz", "seeds", "data.route"]
    assert broken_links("[a](README.md#a) [b](REDME.md) [c](https://x.org)", ROOT) == ["REDME.md"]
    [option] = options_of("`--config.train.stepz=3` and `--config.key=value`")
    with pytest.raises(UserError, match=r"did you mean train\.steps"):
        configs.override(default.get_config(), option)
