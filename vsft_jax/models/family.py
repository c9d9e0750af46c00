"""What a folder of models offers the code around it, under the same names for all of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
from flax import nnx

from input_pipeline.layout import VisionLayout
from vsft_jax.models.shared import partition
from vsft_jax.models.shared.config import Compute, ModelConfig, TextConfig
from vsft_jax.models.shared.hf.processor import Stated
from vsft_jax.models.shared.hf.table import Tensor
from vsft_jax.models.shared.vlm import VisionLanguageModel


class FromHF(Protocol):
    """Reads a transformers `config.json`; compute: fields of `Compute`. Raises ValueError for
    another model type, and for a variant that is not computed here."""

    def __call__(self, config: Mapping[str, Any], **compute: Any) -> Any: ...


class MakeLayout(Protocol):
    """Layout rules for a tower. Raises TypeError or ValueError for choices that it has not."""

    def __call__(self, vision: Any, **choices: Any) -> VisionLayout: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class PortedModel:
    """A model whose weights come from transformers' checkpoints.

    name: of its folder in vsft_jax/models.
    model: its class, made by `model(config, rngs=...)`; model_config: the class of that config.
    from_hf: see `FromHF`.
    checkpoint_table: (config) → every tensor of a checkpoint; each parameter is a part of one.
    canonical_name: a tensor's name in any release or version of transformers → its name in the
        table, None for a tensor that checkpoints may hold and the model has no use for.
    """

    name: str
    model: Callable[..., nnx.Module]
    model_config: type[Compute]
    from_hf: FromHF
    checkpoint_table: Callable[[Any], list[Tensor]]
    canonical_name: Callable[[str], str | None]

    def parameters(self, config: Any) -> nnx.State:
        """The shapes of the model's parameters; nothing is allocated."""
        return jax.eval_shape(lambda: nnx.split(self.model(config, rngs=nnx.Rngs(0)))[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family(PortedModel):
    """A family of vision-language models.

    vision_config, text_config: the classes of the config's parts.
    special_tokens: field of the ModelConfig → the token whose id it is.
    published_sizes: size, such as "7b" → the ModelConfig of the published model.
    to_hf: (config) → a `config.json` that transformers reads; inverse of `from_hf`.
    released_name: a tensor's name in the table → the name under which it was published, which
        every version of transformers reads.
    processor_files: (config, layout) → name and content of the files from which transformers makes
        the model's processor.
    stated_layout: (vision config, `Stated`) → the layout's choices by such files, or the released
        models' where there are none; raises ValueError for what is not computed here.
    layout: see `MakeLayout`; choices are fields of `config.layout`.
    component_of: path of a parameter → "tower", "projector" or "llm".
    partition_rules: () → which mesh axes each parameter is split over.
    """

    model: Callable[..., VisionLanguageModel]
    model_config: type[ModelConfig]
    vision_config: type
    text_config: type[TextConfig]
    special_tokens: Mapping[str, str]
    published_sizes: Mapping[str, ModelConfig]
    to_hf: Callable[[Any], dict[str, Any]]
    released_name: Callable[[str], str]
    processor_files: Callable[[Any, Any], dict[str, dict[str, Any]]]
    stated_layout: Callable[[Any, Stated], dict[str, Any]]
    layout: MakeLayout
    component_of: Callable[[str], str] = partition.component_of
    partition_rules: Callable[[], list[partition.PartitionRule]] = partition.partition_rules

    @classmethod
    def of(
        cls,
        name: str,
        model: Callable[..., VisionLanguageModel],
        *,
        config: Any,
        layout: Any,
        hf: Any,
    ) -> "Family":
        """The family of a folder. config, layout, hf: its modules of these names, in which
        everything is called as here."""
        return cls(
            name=name,
            model=model,
            model_config=config.ModelConfig,
            vision_config=config.VisionConfig,
            text_config=config.TextConfig,
            special_tokens=config.SPECIAL_TOKENS,
            published_sizes=config.PUBLISHED,
            from_hf=config.from_hf,
            to_hf=config.to_hf,
            checkpoint_table=hf.checkpoint_table,
            canonical_name=hf.canonical_name,
            released_name=hf.released_name,
            processor_files=hf.processor_files,
            stated_layout=layout.stated_layout,
            layout=layout.layout,
        )

    @property
    def sizes(self) -> tuple[str, ...]:
        """The published ones, smallest first."""
        return tuple(self.published_sizes)

    def published(self, size: str, **compute: Any) -> Any:
        """The ModelConfig of a published size; compute: fields of `Compute`.

        Raises ValueError for a size that there is not.
        """
        if size not in self.published_sizes:
            raise ValueError(f"size {size!r} is unknown; use one of {self.sizes}")
        return dataclasses.replace(self.published_sizes[size], **compute)
