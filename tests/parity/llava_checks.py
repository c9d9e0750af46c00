"""What is checked of every LLaVA family."""

import copy
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import save_file

from input_pipeline.layout import tiles
from input_pipeline.media import frames, resizing
from tests.parity.llava_reference import Host, Oracle, hf_model, media_of, pillow_resize
from tests.vsft_jax.inference.one_prompt import generate
from vsft_jax.huggingface.tensors import params_from_hf, params_to_hf
from vsft_jax.inference import Decoding

TOLERANCE = 2e-4


class Case:
    """A family's tiny model on both sides, with the same weights."""

    def __init__(
        self,
        family,
        kinds,
        numbers: dict,
        folder: Path,
        *,
        length: int,
        patches: int,
        oracle=Oracle,
        host=Host,
        **choices,
    ):
        """kinds: transformers' model and config class. length, patches: size of a row. choices: of
        the layout."""
        self.family, self.numbers = family, numbers
        self.kind = kinds[0]
        self.make_oracle = oracle
        self.oracle = oracle(hf_model(*kinds, numbers))
        self.config = self.our_config("float32")
        tensors = self.oracle.model.state_dict()
        self.tensors = {name: value.numpy() for name, value in tensors.items()}
        self.params = params_from_hf(family, self.config, self.tensors)
        self.graphdef, own = self.split(self.config)
        assert jax.tree.structure(self.params) == jax.tree.structure(own)
        self.host = host(family.layout(self.config.vision, **choices), folder)
        self.shape = (length, patches)
        self._run = jax.jit(self._logits, static_argnums=0)
        self._patch = pytest.MonkeyPatch()

    def split(self, config):
        """Graph definition and shapes of our model; nothing is computed."""
        return nnx.split(nnx.eval_shape(lambda: self.family.model(config, rngs=nnx.Rngs(0))))

    def our_config(self, dtype: str):
        return self.family.from_hf(self.numbers, dtype=dtype, remat="none")

    @staticmethod
    def _logits(graphdef, params, arrays):
        model = nnx.merge(graphdef, params)
        return model.unembed(model.hidden_states(arrays))

    def run(self, *rows, graphdef=None) -> np.ndarray:
        """Rows of examples -> logits; one compilation for all, since rows are filled up to two."""
        arrays = self.host.arrays([*rows, *[[]] * (2 - len(rows))], *self.shape)
        return np.asarray(self._run(graphdef or self.graphdef, self.params, arrays))

    def expected(self, parts) -> np.ndarray:
        return self.oracle.logits(self.host.ids(parts), media_of(parts))

    def __enter__(self):
        # Pictures, frames as they are decoded, and tiles.
        for module in (frames, resizing, tiles):
            self._patch.setattr(module, "resize", pillow_resize)
        return self

    def __exit__(self, *_):
        self._patch.undo()


def logits(case: Case, parts) -> None:
    expected, found = case.expected(parts), case.run([parts])
    assert expected.std() > 0.5  # logits that say something
    assert case.host.laid_out(parts)[1].tokens == len(expected)
    np.testing.assert_allclose(found[0, : len(expected)], expected, atol=TOLERANCE)


def packed(case: Case, rows) -> None:
    """rows: two lists of examples."""
    found = case.run(*rows)
    assert np.isfinite(found).all()
    for row, values in zip(rows, found, strict=True):
        start = 0
        for parts in row:
            expected = case.expected(parts)
            end = start + len(expected)
            np.testing.assert_allclose(values[start:end], expected, atol=TOLERANCE)
            start = end


def their_half_precision(case: Case, parts) -> float:
    """What transformers' own error is, see `half_precision`."""
    ids, media, expected = case.host.ids(parts), media_of(parts), case.expected(parts)
    inputs = case.oracle.inputs(ids, media)
    half = copy.deepcopy(case.oracle.model).to(torch.bfloat16)
    with torch.no_grad():
        error = half(**inputs).logits[0].float().numpy() - expected
    return error.std() / expected.std()


def half_precision(case: Case, parts, bound: float) -> None:
    """bfloat16: the error's deviation, in those of the logits, is at most `bound`."""
    config = case.our_config("bfloat16")
    expected = case.expected(parts)
    found = case.run([parts], graphdef=case.split(config)[0])[0, : len(expected)]
    error = (found - expected).std() / expected.std()
    assert 0 < error < bound, error


def generation(case: Case, examples, count: int = 32) -> None:
    """Greedy, several prompts of different length in a batch."""
    arrays = case.host.arrays([[parts] for parts in examples], *case.shape)
    lengths = (arrays["segment_ids"] > 0).sum(axis=1)
    found = generate(
        case.graphdef,
        case.params,
        arrays,
        lengths,
        Decoding(count, (), case.config.media_token_ids, 0),
    )
    for row, parts in zip(np.asarray(found.tokens), examples, strict=True):
        expected = case.oracle.generate(case.host.ids(parts), media_of(parts), count)
        assert row.tolist() == expected


def _written_by_4_52(name: str) -> str:
    return name.replace("model.vision_tower.", "model.vision_tower.vision_model.")


def weights(case: Case, parts, folder: Path, before=_written_by_4_52) -> None:
    """Out to a directory that transformers reads, and back under every layout of names. before: a
    tensor's name as it is saved now → as it was in other software or versions."""
    released = params_to_hf(case.family, case.config, case.params)
    save_file(released, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(case.family.to_hf(case.config)))
    eager = {"attn_implementation": "eager"}  # as the case's own
    model, info = case.kind.from_pretrained(folder, output_loading_info=True, **eager)
    assert not any(info.values()), info
    ids, media = case.host.ids(parts), media_of(parts)
    again = case.make_oracle(model.eval()).logits(ids, media)
    np.testing.assert_allclose(again, case.expected(parts), atol=1e-5)

    config = case.family.from_hf(json.loads((folder / "config.json").read_text()))
    assert config == case.family.from_hf(case.numbers)
    nested = params_to_hf(case.family, case.config, case.params, layout="nested")
    tied = {"lm_head.weight"} if case.config.text.tie_word_embeddings else set()
    assert nested.keys() == case.tensors.keys() - tied
    renamed = {before(name): value for name, value in nested.items()}
    for tensors in (released, nested, renamed):
        found = params_from_hf(case.family, case.config, tensors)
        jax.tree.map(np.testing.assert_array_equal, found, case.params)
    for name, value in nested.items():
        if not _unused(case, name):
            np.testing.assert_array_equal(value, case.tensors[name], err_msg=name)


def _unused(case: Case, name: str) -> bool:
    return any(
        not row.parts and row.name == name for row in case.family.checkpoint_table(case.config)
    )


def unused_is_optional(case: Case) -> None:
    """What the features do not depend on may be missing, or be anything."""
    kept = {name: value for name, value in case.tensors.items() if not _unused(case, name)}
    assert len(kept) < len(case.tensors)
    kept["model.vision_tower.vision_model.head.probe"] = np.zeros(3, np.float32)
    found = params_from_hf(case.family, case.config, kept)
    jax.tree.map(np.testing.assert_array_equal, found, case.params)
    assert torch.is_tensor(case.oracle.model.state_dict()[next(iter(kept))])


def gradients(case: Case, parts) -> None:
    """Of a fixed weighted sum of the logits, by every parameter."""
    arrays = case.host.arrays([[parts], []], *case.shape)
    inputs = case.oracle.inputs(case.host.ids(parts), media_of(parts))
    model = case.oracle.model
    out = model(**inputs).logits[0]
    weights = np.random.default_rng(0).normal(size=out.shape).astype(np.float32)
    (out * torch.tensor(weights)).sum().backward()
    expected = {name: value.grad for name, value in model.named_parameters()}
    model.zero_grad()

    @jax.jit
    def gradient(params):
        def total(params):
            return (case._logits(case.graphdef, params, arrays)[0, : len(weights)] * weights).sum()

        return jax.grad(total)(params)

    found = params_to_hf(case.family, case.config, gradient(case.params), layout="nested")
    # What transformers keeps as buffers does not train.
    for name in found.keys() - expected.keys():
        assert name in dict(model.named_buffers()) and not found[name].any()
    assert expected.keys() <= found.keys()
    for name, reference in expected.items():
        if _unused(case, name):
            assert reference is None or not reference.any()
            continue
        error, size = (np.linalg.norm(x) for x in (found[name] - reference.numpy(), reference))
        # A bias of the tower's keys moves all of a query's scores alike: its gradient is zero.
        assert error < 1e-4 * (1 if name.endswith("k_proj.bias") else size), name
