"""What has to hold between several values: one function for each rule.

A rule takes a config whose values are fine one by one, and says what is wrong, a line each.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from input_pipeline import frame_budget
from input_pipeline.errors import did_you_mean
from input_pipeline.layout import VisionLayout
from vsft_jax.config.checks.fields import field_checks
from vsft_jax.config.checks.kinds import without_prefix
from vsft_jax.config.checks.values import wrong_in, wrong_values
from vsft_jax.config.data import mixture_of
from vsft_jax.config.layout import choices_of, layout_of
from vsft_jax.config.model import architecture_of, family_of
from vsft_jax.errors import ConfigError

Rule = Callable[[ConfigDict], Iterator[str]]


def length_of_training(config: ConfigDict) -> Iterator[str]:
    """How long to train, and how much to a step, is said in one of two ways."""
    train = config.train
    for key, source in (("steps", "epochs"), ("batch_rows", "batch_examples")):
        if not train[key] and not train[source]:
            yield f"config.train.{key} = 0: set config.train.{key} or config.train.{source}"


def microbatches(config: ConfigDict) -> Iterator[str]:
    """The rows of a step divide among its microbatches; among devices, `row_problems` sees to."""
    rows, parts = config.train.batch_rows, config.train.accumulate
    if rows % parts:
        yield (
            f"config.train.batch_rows = {rows}: expected a multiple of config.train.accumulate = "
            f"{parts}"
        )


def mesh(config: ConfigDict) -> Iterator[str]:
    """Only one axis can take what is left. Devices that share a row have equal shares of it; of its
    patches, `layout_problems` sees to that."""
    axes = config.mesh.to_dict()
    if list(axes.values()).count(-1) > 1:
        yield f"config.mesh = {axes}: expected -1 for one axis at most"
    if config.layout.row_tokens % config.mesh.context:
        yield (
            f"config.layout.row_tokens = {config.layout.row_tokens}: expected a multiple of "
            f"config.mesh.context = {config.mesh.context}, the devices that share a row"
        )


def sampling(config: ConfigDict) -> Iterator[str]:
    """What narrows a draw needs one."""
    settings = config.eval
    if settings.temperature == 0 and (settings.top_p < 1 or settings.top_k):
        yield (
            f"config.eval: top_p = {settings.top_p} and top_k = {settings.top_k} have no effect "
            "with config.eval.temperature = 0, which takes the most likely token"
        )


def mixture(config: ConfigDict) -> Iterator[str]:
    """Mixture and replay name training sets. A config without any is for other jobs."""
    data = config.data
    taken = [name for name, entry in data.train.items() if entry.get("weight", 1.0) > 0]
    if taken or data.mixture or data.replay:
        try:
            mixture_of(data)
        except ConfigError as error:
            yield str(error)


def remedies(config: ConfigDict) -> Iterator[str]:
    """Importance is found on a training set."""
    chosen, known = config.remedy, ", ".join(config.data.train)
    if chosen.ewc and chosen.fisher_data not in config.data.train:
        yield (
            f"config.remedy.fisher_data = {chosen.fisher_data!r}: with config.remedy.ewc it names "
            f"one of config.data.train: {known}"
        )


def benchmarks(config: ConfigDict) -> Iterator[str]:
    """A benchmark's questions stand in annotations, or are read from official files."""
    for name, entry in config.data.benchmarks.items():
        key = f"config.data.benchmarks.{name}"
        official = [each for each in ("options", "partial") if entry.get(each)]
        if bool(entry.get("official")) == bool(entry.get("annotations")):
            yield f"{key}: name its annotations, or the official benchmark that it is"
        elif official and not entry.get("official"):
            yield f"{key}.{official[0]} has no effect: it belongs to official benchmarks"
        elif entry.modality == "held_text" and entry.get("official"):
            yield f"{key}.official: there are no official held texts; name annotations"
        elif entry.modality != "held_text" and entry.get("window"):
            yield f"{key}.window has no effect: it belongs to modality = 'held_text'"


def asking_in_threads(config: ConfigDict) -> Iterator[str]:
    """A policy that asks a model cannot be pickled into processes."""
    specs = {"config.frames": config.frames} | _study_specs(config)
    for key, spec in specs.items():
        if config.data.prepare_processes and frame_budget.needs_model(spec.to_dict()):
            yield (
                f"config.data.prepare_processes = {config.data.prepare_processes}: {key} asks a "
                "model, which works in threads (config.data.workers); set it to 0"
            )


def model(config: ConfigDict) -> Iterator[str]:
    """Size and numbers are of the family; so far as no file is needed, the model can be made of
    them, and its layout rules fit the rows and the frame policies."""
    family, settings = family_of(config), config.model
    kinds = {"vision": family.vision_config, "text": family.text_config}
    wrong = [
        line
        for part, kind in kinds.items()
        for line in wrong_in(settings[part].to_dict(), field_checks(kind), f"config.model.{part}")
    ]
    if settings.size and settings.size not in family.sizes:
        wrong.append(
            f"config.model.size = {settings.size!r}: {family.name} has {', '.join(family.sizes)}"
        )
    yield from wrong
    described = settings.size or settings.vision or settings.text
    if not wrong and described and not settings.path:
        try:
            architecture = architecture_of(config, family, None)
            choices = choices_of(config, family, architecture.vision, None)
            layout = layout_of(config, family, architecture, choices)
        except ConfigError as error:
            yield str(error)
        else:
            yield from layout_problems(config, layout)


RULES: tuple[Rule, ...] = (
    length_of_training,
    microbatches,
    mesh,
    sampling,
    mixture,
    remedies,
    benchmarks,
    asking_in_threads,
    model,
)


def broken_rules(config: ConfigDict) -> list[str]:
    """What is wrong with a config whose values are fine one by one."""
    return [line for rule in RULES for line in rule(config)]


def wrong_in_study(config: ConfigDict) -> list[str]:
    """What would be wrong with `base_config` and with each remedy's, for a config that has nothing
    wrong itself."""
    found = _wrong_with(base_config(config), "config.study.base")
    study, sets = config.study, ", ".join(config.data.train)
    if study.diagnose and study.diagnose not in config.data.train:
        found.append(
            f"config.study.diagnose = {study.diagnose!r}: it names one of config.data.train: {sets}"
        )
    if study.diagnose and not study.infer_frames:
        found.append("config.study.diagnose needs config.study.infer_frames: frame counts to try")
    labels = [frame_budget.spec_label(spec.to_dict()) for spec in study.frames.values()]
    for label in study.remedies_of:
        if label not in labels:
            found.append(
                f"config.study.remedies_of = {label!r}: no policy of config.study.frames has this "
                f"label, they are {', '.join(labels)}{did_you_mean(label, labels)}"
            )
    for name, changes in config.study.remedies.items():
        remedied = _with_changes(config, changes)
        found += _wrong_with(remedied, f"config.study.remedies.{name}")
    return found


def _wrong_with(changed: ConfigDict, where: str) -> list[str]:
    if wrong := list(wrong_values(changed.to_dict())):
        return [line.replace("config.", f"{where}.", 1) for line in wrong]
    return [f"with {where}: {line}" for line in broken_rules(changed)]


def base_config(config: ConfigDict) -> ConfigDict:
    """The config for the base model of a study: with the changes of `config.study.base`, whatever
    they are, and no study of its own."""
    return _with_changes(config, config.study.base)


def _with_changes(config: ConfigDict, changes: ConfigDict) -> ConfigDict:
    values = _updated(config.to_dict(), changes.to_dict())
    values["study"] |= {"base": {}, "frames": {}, "remedies": {}}
    return ConfigDict(values)


def layout_problems(config: ConfigDict, layout: VisionLayout) -> Iterator[str]:
    """What does not go with a model's layout rules: the patches of a row, numbers of frames."""
    patches, unit, share = config.layout.row_patches, layout.patches_per_unit, config.mesh.context
    if patches % (unit * share):
        by = f"{unit} × {share} (config.mesh.context)" if share > 1 else f"{unit}"
        yield (
            f"config.layout.row_patches = {patches}: expected a multiple of {by}, the patches "
            "that make one visual token"
        )
    for key, spec in ({"config.frames": config.frames} | _study_specs(config)).items():
        try:
            frame_budget.check_multiples(spec.to_dict(), layout.min_frames)
        except ValueError as error:
            yield f"{key}: {without_prefix(error)}"


def _study_specs(config: ConfigDict) -> dict[str, ConfigDict]:
    return {f"config.study.frames.{label}": spec for label, spec in config.study.frames.items()}


def _updated(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As `ConfigDict.update`: sections key by key, but a frame policy as a whole."""
    found = dict(values)
    for key, value in changes.items():
        old = found.get(key)
        if key != "frames" and isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _updated(old, value)
        found[key] = value
    return found
