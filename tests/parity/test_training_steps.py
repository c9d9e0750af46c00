"""Three steps of `--job=train` from a transformers directory against torch's AdamW on the same
conversations: an image and a clip, text alone and two turns, packed into rows here, one by one
there. Pictures have the tower's size, so that nothing is resized."""

import importlib
import json

import jax
import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoModelForImageTextToText
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import load_balancing_loss_func

from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import lay_out
from input_pipeline.media.frames import decode_frames
from tests.conftest import devices
from tests.parity.gemma4_reference import fill_buffers
from tests.parity.llava_reference import _write_lossless, image, video
from tests.parity.qwen3_5_reference import fill
from tests.parity.reference import randomise
from tests.parity.released_directories import write_directory
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.export import export
from vsft_jax.huggingface.tensors import params_to_hf
from vsft_jax.predict import Question, predict
from vsft_jax.prepare import prepare_training
from vsft_jax.train import make_trainer, train
from vsft_jax.train.record import read_jsonl

STEPS, RATE, EPS, CLIP = 3, 1e-2, 1e-3, 0.7
COEF = 0.05  # of the routers' loss, over all real tokens of a step
SIDE = 128  # of the tower's input, pixels
GEMMA_SIDE = 384  # 64 of at most 70 visual tokens
TURNS = [
    ("<image>What is it? <video>And this?", "A ball."),
    ("How many times does it bounce?", "Three times."),
    ("<video>What happens?", "It rolls away.", "And then?", "The cat catches it."),
]


@pytest.fixture(
    scope="module", params=["smolvlm", "qwen3_vl", "gemma4", "qwen3_5", "qwen3_5 sparse"]
)
def run(request, tmp_path_factory):
    """Of SmolVLM2, Qwen3-VL with experts, Gemma 4, and Qwen3.5 without and with experts."""
    name, _, sparse = request.param.partition(" ")
    gemma = name == "gemma4"
    qwen = name in ("qwen3_vl", "qwen3_5")
    side = GEMMA_SIDE if gemma else SIDE
    root = tmp_path_factory.mktemp(name)
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(image(rng, side, side).pixels).save(root / "photo.png")
    _write_lossless(root / "clip.mkv", video(rng, 4, side, side).pixels)
    with open(root / "train.json", "w") as file:
        records = []
        for i, turns in enumerate(TURNS):
            roles = ("human", "gpt") * (len(turns) // 2)
            said = [{"from": r, "value": t} for r, t in zip(roles, turns, strict=True)]
            record = {"id": str(i), "conversations": said}
            record |= {"image": "photo.png"} if "<image>" in turns[0] else {}
            record |= {"video": "clip.mkv"} if "<video>" in turns[0] else {}
            records.append(record)
        json.dump(records, file)
    experts = {}
    if name == "qwen3_vl" or sparse:
        experts = dict(experts=7, experts_per_token=3, mlp_width=24)
    if sparse:
        experts["shared_width"] = 20
    directory = write_directory(name, root / "model", **experts)
    if name == "smolvlm":
        numbers = json.loads((directory / "config.json").read_text())
        numbers["vision_config"]["image_size"] = SIDE
        (directory / "config.json").write_text(json.dumps(numbers))
        for file in ("preprocessor_config.json", "processor_config.json"):
            (directory / file).unlink()  # which are those of a larger tower
    kind = AutoModelForImageTextToText
    shape = importlib.import_module("transformers").AutoConfig.from_pretrained(directory)
    model = randomise(kind.from_config(shape).eval())
    if gemma:
        fill_buffers(model)
    if name == "qwen3_5":
        fill(model)
    model.save_pretrained(directory)

    arguments = f"path={directory},annotations={root}/train.json,media_root={root}"
    config = importlib.import_module(f"configs.{name}").get_config(
        f"{arguments},frames={4 if qwen else 2}"
    )
    config.layout.update(row_tokens=512, row_patches=6 * 64)
    if gemma:
        config.layout.update(image_tokens=70, row_tokens=768, row_patches=5 * 576)
    elif qwen:
        config.layout.update(image_min_pixels=SIDE**2)
        config.train.router_coef = COEF if experts else None
    else:
        config.layout.update(image_split=False, image_longest_edge=SIDE, clip_longest_edge=SIDE)
    config.model.update(dtype="float32", remat="none")
    config.train.update(steps=STEPS, batch_rows=1, log_every=1, trackers=())
    rate = RATE / 10 if gemma else RATE  # of whose many layers small steps change much
    config.optimizer.learning_rate.update({"tower": rate, "projector": rate, "llm": rate})
    config.optimizer.update(warmup_steps=0, final_fraction=1.0, b2=0.98, eps=EPS, clip_norm=CLIP)
    config.data.decoder = "threads"
    return Run(config, root / "run")


def _torch_steps(run) -> tuple[dict[str, np.ndarray], list[float]]:
    """transformers' model after as many steps, and the loss before each."""
    model = AutoModelForImageTextToText.from_pretrained(run.model_directory)
    model.eval()
    rate = run.config.optimizer.learning_rate.llm
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, 0.98), eps=EPS, weight_decay=0.0
    )
    (store,), losses = prepare_training(run).stores().values(), []
    examples = [_prepare(run, *store[i]) for i in range(len(store))]
    for _ in range(STEPS):
        optimizer.zero_grad()
        outputs = [model(**inputs) for inputs, _ in examples]
        total = sum(
            torch.nn.functional.cross_entropy(
                output.logits[0, :-1], targets, ignore_index=-100, reduction="sum"
            )
            for output, (_, targets) in zip(outputs, examples, strict=True)
        )
        loss = total / sum((targets >= 0).sum() for _, targets in examples)
        (loss + _router_loss(outputs)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}, losses


def _prepare(run, example, layout):
    by_family = {"qwen3_vl": _qwen_inputs, "qwen3_5": _qwen_inputs, "gemma4": _gemma_inputs}
    return by_family.get(run.family.name, _inputs)(run, example, layout)


def _router_loss(outputs) -> torch.Tensor | float:
    if getattr(outputs[0], "router_logits", None) is None:
        return 0.0
    layers = zip(*(output.router_logits for output in outputs), strict=True)
    return COEF * load_balancing_loss_func(tuple(map(torch.cat, layers)), 7, 3)


def _encoded(run, example, layout):
    asked = example.turns[-1].role == "user"
    encode = run.tokenizer.encode_prompt if asked else run.tokenizer.encode
    return encode(example, [run.layout.placeholder(m) for m in layout.media])


def _frames(ref, medium) -> np.ndarray:
    if ref.kind == "image":
        return np.asarray(PIL.Image.open(ref.path))[None]
    return decode_frames(ref, medium.frame_indices)


def _qwen_inputs(run, example, layout):
    """As `_inputs`. A picture is 8 × 8 patches of 16 pixels, four of them a token."""
    encoded = _encoded(run, example, layout)
    config = run.model_config
    kinds = np.select(
        [encoded.ids == config.image_token_id, encoded.ids == config.video_token_id], [1, 2]
    )
    ids, learnt, kinds = (
        np.repeat(x, np.where(kinds > 0, 16, 1)) for x in (encoded.ids, encoded.loss_mask, kinds)
    )
    inputs = {
        "input_ids": torch.tensor(ids[None], dtype=torch.long),
        "mm_token_type_ids": torch.tensor(kinds[None], dtype=torch.int32),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
    }
    if config.text.experts:
        inputs["output_router_logits"] = True
    for ref, medium in zip(example.media, layout.media, strict=True):
        frames = np.repeat(_frames(ref, medium), 2 if ref.kind == "image" else 1, axis=0)
        count = len(frames) // 2
        cut = frames.reshape(count, 2, 4, 2, 16, 4, 2, 16, 3).transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
        values = (cut.reshape(64 * count, -1).astype(np.float32) / 255 - 0.5) / 0.5
        pixels = "pixel_values" if ref.kind == "image" else "pixel_values_videos"
        inputs |= {pixels: torch.tensor(values)}
        inputs[f"{ref.kind}_grid_thw"] = torch.tensor([[count, 8, 8]])
    return inputs, torch.tensor(np.where(learnt, ids, -100)[1:], dtype=torch.long)


def _gemma_inputs(run, example, layout):
    """As `_inputs`. A picture is 24 × 24 patches of 16 pixels, nine of them a token."""
    encoded = _encoded(run, example, layout)
    config = run.model_config
    visual = np.isin(encoded.ids, [config.image_token_id, config.video_token_id])
    ids, learnt = (np.repeat(x, np.where(visual, 64, 1)) for x in (encoded.ids, encoded.loss_mask))
    inputs = {"input_ids": torch.tensor(ids[None], dtype=torch.long)}
    places = np.stack(np.meshgrid(np.arange(24), np.arange(24)), axis=-1).reshape(-1, 2)
    for ref, medium in zip(example.media, layout.media, strict=True):
        assert (medium.height, medium.width) == (GEMMA_SIDE, GEMMA_SIDE)
        frames = _frames(ref, medium)
        cut = frames.reshape(-1, 24, 16, 24, 16, 3).swapaxes(2, 3).reshape(len(frames), 576, -1)
        pixels = "pixel_values" if ref.kind == "image" else "pixel_values_videos"
        inputs |= {pixels: torch.tensor(cut.astype(np.float32) / 255)}
        inputs[f"{ref.kind}_position_ids"] = torch.tensor(places[None].repeat(len(frames), 0))
        if ref.kind == "video":
            inputs["num_frames_per_video"] = torch.tensor([len(frames)])
    return inputs, torch.tensor(np.where(learnt, ids, -100)[1:], dtype=torch.long)


def _inputs(run, example, layout):
    """What the torch model takes, and the token to learn at each place but the last."""
    encoded = _encoded(run, example, layout)
    image_id = run.model_config.image_token_id
    repeats = np.where(encoded.ids == image_id, run.layout.tokens_of_input, 1)
    ids, learnt = (np.repeat(x, repeats) for x in (encoded.ids, encoded.loss_mask))
    targets = np.where(learnt, ids, -100)[1:]
    inputs = {"input_ids": torch.tensor(ids[None], dtype=torch.long)}
    frames = [_frames(*pair) for pair in zip(example.media, layout.media, strict=True)]
    if frames:
        pixels = np.concatenate(frames).transpose(0, 3, 1, 2)[None].astype(np.float32)
        inputs["pixel_values"] = torch.tensor((pixels / 255 - 0.5) / 0.5)
    return inputs, torch.tensor(targets, dtype=torch.long)


def test_three_steps_are_torchs(run):
    expected, losses = _torch_steps(run)
    with devices(1):
        train(run)
        trainer = make_trainer(run)
        with jax.set_mesh(trainer.mesh):
            checkpoints = Checkpoints(run.workdir, read_only=True)
            params = checkpoints.restore_params(trainer.abstract_state.params)
    rows = read_jsonl(run.workdir / "train.jsonl")
    np.testing.assert_allclose([row["loss"] for row in rows], losses, atol=2e-5)
    assert losses[-1] < losses[0] - 0.05
    before = AutoModelForImageTextToText.from_pretrained(run.model_directory).state_dict()
    found = params_to_hf(run.family, run.model_config, params)
    # Qwen3-VL's experts are written as released, and lie in transformers' memory the other way
    # round.
    found = {n: x if x.shape == before[n].shape else x.swapaxes(1, 2) for n, x in found.items()}
    moved = {name: np.abs(expected[name] - before[name].numpy()).max() for name in found}
    # A bias of the tower's keys moves all of a query's scores alike: its gradient is zero. Bounds
    # and a layer's scalar do not train.
    still = ("k_proj.bias", "put_min", "put_max", "layer_scalar")
    assert min(far for name, far in moved.items() if not name.endswith(still)) > 1e-4
    assert max(moved.values()) > run.config.optimizer.learning_rate.llm
    if run.architecture.text.experts:
        assert all(row["router_loss"] > 2.9 and 1 < row["busiest_expert"] < 7 / 3 for row in rows)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=4e-5, err_msg=name)


def test_the_export_answers_in_transformers_as_predict_does(run):
    """Greedy tokens and their logarithms, after the three steps: a picture, a clip, both."""
    root = run.workdir.parent
    photo, clip = (str(root / name) for name in ("photo.png", "clip.mkv"))
    run.config.eval.update(batch_rows=1, max_new_tokens=6)
    run.config.export.dtype = "float32"
    asked = [
        Question("What is it?", [photo], "picture"),
        Question("What happens?", [clip], "clip"),
        Question("Is it in both?", [photo, clip], "both"),
    ]
    if run.family.name == "smolvlm":
        asked = asked[:2]  # transformers' template does not take both
    with devices(1):
        train(run)
        out, said = export(run), predict(run, asked)
    assert sum(len(answer["token_ids"]) for answer in said) > 3
    model = AutoModelForImageTextToText.from_pretrained(out).eval()
    banned = list(run.model_config.media_token_ids)
    kinds = {photo: "image", clip: "video"}
    for question, answer in zip(asked, said, strict=True):
        media = [MediaRef(kinds[path], path) for path in question.media]
        example = Example(question.id, "test", (Turn("user", (*media, question.prompt)),))
        store = lay_out([example], run.index_spec(run.config.frames.to_dict()), mode="prompt")
        inputs, _ = _prepare(run, *store[0])
        inputs.pop("output_router_logits", None)
        count = len(answer["token_ids"])
        with torch.no_grad():
            found = model.generate(
                **inputs,
                max_new_tokens=count,
                do_sample=False,
                suppress_tokens=banned,
                output_logits=True,
                return_dict_in_generate=True,
            )
        assert found.sequences[0, -count:].tolist() == answer["token_ids"], question.id
        logits = torch.cat(found.logits)
        logits[:, banned] = -torch.inf
        theirs = logits.log_softmax(-1)[range(count), answer["token_ids"]]
        np.testing.assert_allclose(answer["token_logprobs"][:count], theirs, atol=2e-4)
