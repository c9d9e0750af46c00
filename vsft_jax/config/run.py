"""A run: a config and the folder its job works in, and everything that follows from the two."""

import dataclasses
import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.batches import Mixture, RowShape
from input_pipeline.files import replacing
from input_pipeline.frame_budget import Tools, check_multiples, spec_label
from input_pipeline.index import DatasetSpec, IndexSpec
from input_pipeline.layout import VisionLayout
from input_pipeline.media import Decoder
from input_pipeline.mirrors import copy_of
from input_pipeline.paths import is_remote, located
from input_pipeline.text import ChatTokenizer
from vsft_jax.config import data, model
from vsft_jax.config.base import as_json
from vsft_jax.config.checks import check_config, without_prefix
from vsft_jax.config.data import HeldTexts
from vsft_jax.config.exported import exported_frames
from vsft_jax.config.layout import Choice, announce, choices_of, layout_of, stated_by
from vsft_jax.errors import ConfigError
from vsft_jax.lora import Lora
from vsft_jax.models import Family

_NO_TOOLS = Tools()


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a job is given. Properties are made when they are first asked for, and kept.

    config: one of configs/, with its overrides; a copy, which nothing changes from here on.
    workdir: made absolute. Of a workdir at an address it is the copy here, see `mirrors`.
    Making one raises ConfigError for a config that cannot be run, whatever the job (see `checks`);
    each property does, naming the key, where files do not go with it.
    """

    config: ConfigDict
    workdir: Path

    def __post_init__(self) -> None:
        # Not a FrozenConfigDict, which takes no lists of specs, as "consensus" has one.
        config = self.config.copy_and_resolve_references().lock()
        check_config(config)
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "workdir", Path(self.workdir).absolute())

    def with_settings(
        self,
        train: Mapping[str, Any] | None = None,
        eval: Mapping[str, Any] | None = None,
    ) -> "Run":
        """The same run with other values in `config.train` or `config.eval`.

        No property follows from these sections, so what has been made is kept.
        """
        changed = self.config.copy_and_resolve_references()
        changed.train.update(train or {})
        changed.eval.update(eval or {})
        run = Run(changed, self.workdir)
        made = {name: value for name, value in vars(self).items() if name not in vars(run)}
        vars(run).update(made)
        return run

    @property
    def as_json(self) -> dict[str, Any]:
        """The config as JSON values, for records of what was run."""
        return as_json(self.config)

    # ── The model. ──────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def family(self) -> Family:
        """The model family of `config.model.family`."""
        return model.family_of(self.config)

    @functools.cached_property
    def model_directory(self) -> Path | None:
        """The Hugging Face directory of `config.model.path`, None where it is empty."""
        return model.model_directory(self.config)

    @functools.cached_property
    def architecture(self) -> Any:
        """The family's ModelConfig before the tokenizer's ids are known: enough for shapes."""
        return model.architecture_of(self.config, self.family, self.model_directory)

    @functools.cached_property
    def model_config(self) -> Any:
        """The family's ModelConfig, its special token ids read from the tokenizer."""
        return model.with_token_ids(self.config, self.family, self.architecture, self.tokenizer)

    @property
    def router_coef(self) -> float:
        """The factor of the routers' loss; 0 of a model without experts."""
        coef = self.config.train.get("router_coef")  # which older runs have not
        return self.architecture.text.router_coef if coef is None else coef

    @functools.cached_property
    def lora(self) -> Lora | None:
        """The adapters of `config.lora`, None without."""
        return Lora.of(self.config.lora)

    # ── The text. ───────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def tokenizer_dir(self) -> Path:
        """Directory of the tokenizer and chat template.

        Where the config's is not there, the copy that training left in the workdir: a trained model
        can be used without the data it came from.
        """
        if self.model_directory and not self.config.tokenizer:
            return self.model_directory
        configured = located(self.config.tokenizer, self.data_root)
        copied = self.workdir / "tokenizer"
        if not Path(configured).is_dir() and copied.is_dir():
            return copied
        if is_remote(configured):
            raise ConfigError(
                f"config.tokenizer = {self.config.tokenizer!r} leads to the address {configured}: "
                "copy the directory here and name it by an absolute path"
            )
        return Path(configured)

    @functools.cached_property
    def tokenizer(self) -> ChatTokenizer:
        """The tokenizer and chat template, with the placeholders of the model's family."""
        rules = self.layout
        return ChatTokenizer.load(self.tokenizer_dir, rules.media_tokens, rules.clip_template)

    def kept_files(self) -> dict[str, Path]:
        """By name, the files of tokenizer, template and processor that belong to the model."""
        return model.files_in(self.tokenizer_dir, self.model_directory)

    def keep_tokenizer(self) -> None:
        """Copies `kept_files` to workdir/tokenizer: the trained model can be used without them."""
        copy = self.workdir / "tokenizer"
        copy.mkdir(parents=True, exist_ok=True)
        for name, path in self.kept_files().items():
            if path.parent != copy:
                with replacing(copy / name) as partial:
                    shutil.copyfile(path, partial)

    # ── The data. ───────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def data_root(self) -> str:
        """Where relative paths of data start: an absolute path, or an address."""
        return located(self.config.data.root, self.workdir)

    @functools.cached_property
    def layout(self) -> VisionLayout:
        """The rules by which media become patches and tokens. Says where its limits come from."""
        shape, choices = self.architecture, self.layout_choices
        found = layout_of(self.config, self.family, shape, choices)
        announce(self.config, found, shape.text, choices, stated_by(self.model_directory))
        return found

    @functools.cached_property
    def layout_choices(self) -> dict[str, Choice]:
        """What was chosen of the layout rules, and where it stands."""
        vision = self.architecture.vision
        return choices_of(self.config, self.family, vision, self.model_directory)

    @functools.cached_property
    def exported_frames(self) -> dict[str, Any] | None:
        """The frame policy of a model that was trained here before it was exported: what
        `config.model.path` carries with it, None where it is any other model."""
        return exported_frames(self.model_directory)

    @functools.cached_property
    def row_shape(self) -> RowShape:
        """The size of a packed row, and how many devices share it."""
        layout = self.config.layout
        return RowShape(layout.row_tokens, layout.row_patches, self.config.mesh.context)

    @functools.cached_property
    def mixture(self) -> Mixture:
        """What an epoch takes of each training set."""
        return data.mixture_of(self.config.data)

    @functools.cached_property
    def training_sets(self) -> list[DatasetSpec]:
        """The training sets that the mixture takes part of, in the config's order."""
        names = set(self.mixture.names)
        chosen = {name: e for name, e in self.config.data.train.items() if name in names}
        return data.datasets_of(chosen, self.data_root, "train")

    @functools.cached_property
    def benchmarks(self) -> list[DatasetSpec]:
        """The benchmarks that ask questions, in the config's order."""
        entries = self.config.data.benchmarks.items()
        entries = {name: each for name, each in entries if each.modality != "held_text"}
        return data.benchmarks_of(entries, self.data_root, self.benchmark_root, self.index_dir)

    @functools.cached_property
    def held_texts(self) -> dict[str, HeldTexts]:
        """The benchmarks that are texts of which is found how likely they are, by name."""
        return data.held_texts_of(self.config.data.benchmarks, self.data_root)

    @functools.cached_property
    def benchmark_root(self) -> str:
        """Where official benchmarks lie: an absolute path, "" where the config does not say."""
        root = self.config.data.benchmark_root
        return located(root, self.data_root) if root else ""

    @property
    def decoder(self) -> Decoder:
        """What probes and decodes media: one for all runs of this process."""
        return data.decoder_of(self.config.data)

    @functools.cached_property
    def index_dir(self) -> Path:
        """Where prepared indexes and what was found out for them live; of an address its copy here.

        Raises StorageError."""
        named = self.config.data.index_dir
        if is_remote(named):
            return copy_of(named)
        return Path(named or self.workdir / "index").absolute()

    def index_spec(self, frame_policy: Mapping[str, Any], tools: Tools = _NO_TOOLS) -> IndexSpec:
        """What a prepared index depends on besides the data.

        frame_policy: a resolved frame-budget spec. tools: the models that it needs, if any.
        Raises ConfigError for a policy whose numbers of frames the model cannot take, such as that
        of a checkpoint of another family.
        """
        try:
            check_multiples(frame_policy, self.layout.min_frames)
        except ValueError as error:
            label = spec_label(frame_policy)
            raise ConfigError(f"the frame policy {label}: {without_prefix(error)}") from error
        return IndexSpec(
            tokenizer_dir=str(self.tokenizer_dir),
            layout=self.layout,
            frame_policy=frame_policy,
            max_tokens=self.row_shape.tokens,
            max_patches=self.row_shape.patches,
            tools=tools,
            reasoning=self.config.data.reasoning,
            row_slices=self.row_shape.slices,
        )
