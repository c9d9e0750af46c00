"""The cells of a study: which models there are, how each is asked, and what of it is there already.

Every cell has its own folder under <workdir>/cells and is finished when its last result file is
there. What stands there must have been made with this config: `check_unchanged`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from evaluation import cell_config
from evaluation.records import read_object
from evaluation.results import BenchmarkResult, evaluation_folder
from evaluation.study_files import CELL_FILE, Cell
from input_pipeline.frame_budget import canonical_spec, spec_hash, spec_label
from vsft_jax.config import Run, as_json
from vsft_jax.errors import ConfigError
from vsft_jax.prepare import resolve_frame_policy
from vsft_jax.processes import first_finds

Spec = Mapping[str, Any]  # of a frame policy: resolved and canonical


@dataclasses.dataclass(frozen=True)
class Planned:
    """A cell and the config that it is made with.

    trained: not for a released model, which is evaluated as it is. asked: the policies that it is
    evaluated under. model_of: the cell whose model it is, asked in another way; None for its own.
    """

    cell: Cell
    config: ConfigDict
    asked: tuple[Spec, ...]
    trained: bool = True
    model_of: Cell | None = None

    @property
    def trains(self) -> bool:
        """Whether a model is trained for it."""
        return self.trained and self.model_of is None


def plan_cells(config: ConfigDict, workdir: Path, policies: Sequence[Spec]) -> list[Planned]:
    """One base model, then every policy with every seed, all policies of a seed together.

    The base is trained by `config.study.base`; where that is empty and there is a
    `config.model.path`, it is the released model. config: the study's. policies: resolved specs
    with labels of their own.
    """
    released = bool(config.model.path) and not config.study.base
    base = base_of(config)
    counts = [canonical_spec({"kind": "fixed", "frames": n}) for n in config.study.infer_frames]
    first = _planned("base", base, policy=None, start=None, trained=not released)
    cells = [dataclasses.replace(first, asked=_once([*policies, *counts]))]
    for seed in config.study.seeds:
        for policy in policies:
            for remedy in _remedies(config, policy):
                tuned = with_frames(config, policy)
                with tuned.unlocked():
                    tuned.update(config.study.remedies.get(remedy, ConfigDict()))
                tuned.seed = seed
                if not released:
                    tuned.train.init_from = str(cell_folder(workdir, cells[0].cell))
                name = "-".join(filter(None, [spec_label(policy), remedy, f"seed{seed}"]))
                each = _planned(name, tuned, policy, start=cells[0].cell, remedy=remedy)
                # A model with a remedy is asked under its own policy alone.
                asked = _once([policy] if remedy else [policy, *counts])
                cells.append(dataclasses.replace(each, asked=asked, model_of=_same(cells, each)))
    return cells


def _remedies(config: ConfigDict, policy: Spec) -> list[str]:
    """Names of the remedies that a policy is combined with, "" for none of them first."""
    with_remedies = not config.study.remedies_of or spec_label(policy) in config.study.remedies_of
    return ["", *(config.study.remedies if with_remedies else ())]


def _same(cells: Sequence[Planned], each: Planned) -> Cell | None:
    """The cell before it that has the same model: a remedy of evaluation alone trains nothing."""
    own = [other for other in cells if other.model_of is None]
    return next((o.cell for o in own if o.cell.config_hash == each.cell.config_hash), None)


def _once(policies: Sequence[Spec]) -> tuple[Spec, ...]:
    """Each policy once, in order."""
    return tuple({spec_hash(policy): policy for policy in reversed(policies)}.values())[::-1]


def check_unchanged(workdir: Path, planned: Sequence[Planned]) -> None:
    """Raises ConfigError naming the folders under <workdir>/cells that were made with other
    settings than those planned, the config keys that differ, and what to do."""
    changed: dict[Path, list[str]] = {}
    for each in planned:
        folder = cell_folder(workdir, each.cell)
        if (folder / CELL_FILE).exists():
            changed |= _changes(folder, each)
    if changed:
        differences = dict.fromkeys(text for changes in changed.values() for text in changes)
        folders = ", ".join(str(folder.relative_to(workdir)) for folder in changed)
        raise ConfigError(
            f"{workdir} holds what was made with other settings: {'; '.join(differences)}. Go on "
            f"with those, take another workdir, or remove {folders} to make them anew"
        )


def cell_folder(workdir: Path, cell: Cell) -> Path:
    """Where a cell's checkpoints and results are."""
    return workdir / "cells" / cell.name


def _changes(folder: Path, planned: Planned) -> dict[Path, list[str]]:
    """What differs, by the part of a cell's folder that would have to go."""
    now = planned.cell
    record = read_object(folder / CELL_FILE)
    if "config_hash" not in record:
        return {folder: [f"the {CELL_FILE} of an earlier version does not hold its settings"]}
    before = Cell.from_record(record, folder / CELL_FILE)
    if changes := cell_config.model_changes(before, now):
        return {folder: changes}
    results = sorted(folder.glob("eval/*/*.json"))
    if results and (changes := cell_config.answer_changes(before, now)):
        return {folder / "eval": changes}
    folders = {evaluation_folder(folder, policy): policy for policy in planned.asked}
    found = {}
    for path in results:
        if policy := folders.get(path.parent):
            made_with = BenchmarkResult.load(path).provenance.frame_policy
            if changes := cell_config.policy_changes(made_with, policy):
                found[path.parent] = changes
    return found


def lacking(workdir: Path, each: Planned) -> list[tuple[Spec, ConfigDict]]:
    """The evaluations that a cell lacks: under which policy, with which config. To be called by all
    processes of a job."""
    asked, folder = each.asked, cell_folder(workdir, each.cell)
    # A frame policy reaches clips alone, so the rest is evaluated under the first one only.
    configs = [each.config] + [_clips_alone(each.config)] * (len(asked) - 1)
    pairs = list(zip(asked, configs, strict=True))
    # One process looks: at an address the others' copies may be older.
    done = first_finds(lambda: [_evaluated(folder, config, policy) for policy, config in pairs])
    return [pair for pair, is_done in zip(pairs, done, strict=True) if not is_done]


def _planned(
    name: str,
    config: ConfigDict,
    policy: Spec | None,
    start: Cell | None,
    trained: bool = True,
    remedy: str = "",
) -> Planned:
    values = as_json(config)
    if start:  # another base makes another model, wherever the base lies
        values["train"]["init_from"] = f"{start.name}~{start.config_hash}"
    decides = cell_config.deciding(values, policy or config.frames.to_dict())
    cell = Cell(
        name=name,
        role="sft" if start else "base",
        start=start.name if start else ("scratch" if trained else "released"),
        strategy=remedy or cell_config.strategy(values),
        seed=config.seed,
        frame_policy=policy,
        config=decides,
        config_hash=cell_config.config_hash(decides),
    )
    return Planned(cell, config, (), trained)


def frame_policies(config: ConfigDict, workdir: Path) -> list[Spec]:
    """The resolved frame-budget specs of `config.study.frames`."""
    found: dict[str, Spec] = {}
    for entry, spec in config.study.frames.items():
        study = Run(with_frames(config, spec.to_dict()), workdir)
        resolved = canonical_spec(resolve_frame_policy(study))
        same = [name for name, other in found.items() if spec_hash(other) == spec_hash(resolved)]
        label = spec_label(resolved)
        if same or label in found:
            raise ConfigError(
                f"config.study.frames.{entry} is the same policy as, or has the label of, "
                f"{(same or [label])[0]}: change or remove one"
            )
        found[label] = resolved
    return list(found.values())


def shared_paths(run: Run) -> ConfigDict:
    """The config for cells, which have workdirs of their own: data and indexes stay where the
    study has them."""
    shared = run.config.copy_and_resolve_references()
    shared.data.root = run.data_root
    shared.data.index_dir = str(run.index_dir)
    return shared


def _copy(config: ConfigDict) -> ConfigDict:
    return config.copy_and_resolve_references()


def base_of(config: ConfigDict) -> ConfigDict:
    """The config of the base model. A frame policy is a value: a new one takes the old one's
    place."""
    changes = config.study.base.to_dict()
    frames = changes.pop("frames", config.frames.to_dict())
    base = with_frames(config, frames)
    base.update(changes)
    return base


def with_frames(config: ConfigDict, spec: Spec) -> ConfigDict:
    """A copy of the config with another frame policy."""
    changed = _copy(config)
    with changed.unlocked():
        changed.frames = ConfigDict(dict(spec))
    return changed


def _clips_alone(config: ConfigDict) -> ConfigDict:
    config = _copy(config)
    with config.unlocked():
        for name, entry in list(config.data.benchmarks.items()):
            if entry.modality != "video":
                del config.data.benchmarks[name]
    return config


def _evaluated(folder: Path, config: ConfigDict, policy: Spec) -> bool:
    results = evaluation_folder(folder, policy)
    return all((results / f"{name}.json").exists() for name in config.data.benchmarks)
