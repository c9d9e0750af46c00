"""The LLaVA families' examples for transformers: its image processors, its models, its counts.

Files are written without loss and go through our whole host path (probe, layout, chat, decode,
patches, indices); transformers is given the same pictures and the same words. Both sides resize
with Pillow (see `pillow_resize`), so that their pixels are equal and only the model is compared.
"""

import dataclasses
import types
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import tokenizers
import torch
from tokenizers import models, pre_tokenizers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next_video.processing_llava_next_video import (
    LlavaNextVideoProcessor,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from input_pipeline.batches import RowShape, build_row, device_arrays, stack_rows
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.layout import VisionLayout, layout_example
from input_pipeline.media import probe
from input_pipeline.text import ChatTokenizer
from tests.parity.reference import randomise

WORDS, IMAGE, VIDEO, END = 150, 150, 151, 152
TEMPLATE = (
    "{% for message in messages %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }} "
    "{% else %}{{ '<' + part['type'] + '> ' }}{% endif %}"
    "{% endfor %}"
    "{% if message['role'] == 'assistant' %}</s> {% endif %}"
    "{% endfor %}"
)

TEXT_CONFIG = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
TOWER_CONFIG = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 14,
}


def pillow_resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """What transformers' image processors resize with, in place of our own `resize`."""
    if picture.shape[:2] == (height, width):
        return picture
    image = PIL.Image.fromarray(picture).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.asarray(image)


# ── Examples. ───────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Picture:
    """pixels: uint8[H, W, 3], or for a clip uint8[F, H, W, 3]."""

    kind: str
    pixels: np.ndarray


def image(rng, height: int, width: int) -> Picture:
    return Picture("image", _noise(rng, 1, height, width)[0])


def video(rng, frames: int, height: int, width: int) -> Picture:
    return Picture("video", _noise(rng, frames, height, width))


def _noise(rng, frames: int, height: int, width: int) -> np.ndarray:
    """Blotches of several sizes: resizing leaves contrast, and no two regions are alike."""
    coarse = rng.integers(0, 256, (frames, 6, 6, 3), dtype=np.uint8)
    grown = [cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in coarse]
    fine = rng.integers(-30, 31, (frames, height, width, 3))
    return np.clip(np.stack(grown) + fine, 0, 255).astype(np.uint8)


def words(rng, count: int) -> str:
    return " ".join(f"w{i}" for i in rng.integers(0, WORDS, count))


def chat(rules: VisionLayout) -> ChatTokenizer:
    """One id a word: "w7" is 7, then the placeholders, the end of a turn and SmolVLM's tokens."""
    special = ["<image>", "<video>", "</s>", "<fake_token_around_image>", "<global-img>"]
    vocabulary = {f"w{i}": i for i in range(WORDS)}
    vocabulary |= {token: WORDS + i for i, token in enumerate(special)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return ChatTokenizer(
        *(tokenizer, TEMPLATE, rules.media_tokens, {"eos_token": "</s>"}),
        clip_template=rules.clip_template,
    )


class Host:
    """Our side: parts of an example to rows of arrays, through real files."""

    def __init__(self, rules: VisionLayout, folder: Path):
        self.rules, self.folder = rules, folder
        self.chat = self.make_chat(rules)
        self.files: dict[int, str] = {}

    make_chat = staticmethod(chat)

    def example(self, parts: Sequence[str | Picture]) -> Example:
        """One user turn, and an answer of one word."""
        content = tuple(
            part if isinstance(part, str) else MediaRef(part.kind, self._file(part))
            for part in parts
        )
        return Example("it", "test", (Turn("user", content), Turn("assistant", ("w1",))))

    def ids(self, parts) -> list[int]:
        """Before placeholders are expanded, without the answer."""
        example, layout = self.laid_out(parts)
        replacements = [self.rules.placeholder(medium) for medium in layout.media]
        return self.chat.encode_prompt(example, replacements).ids.tolist()

    def laid_out(self, parts, max_tokens: int = 10**6, max_patches: int = 10**6):
        example = self.example(parts)
        infos = [probe(ref) for ref in example.media]
        return example, layout_example(
            self.rules,
            lambda media: self.chat.encode_prompt(
                example, [self.rules.placeholder(medium) for medium in media]
            ),
            infos,
            [info.frames for info in infos],
            max_tokens,
            max_patches,
        )

    def arrays(self, rows, length: int, patches: int) -> dict[str, np.ndarray]:
        """A batch of rows, each a list of examples, without their answers."""
        built = []
        for row in rows:
            items = [self.laid_out(parts) for parts in row]
            built.append(self._row(items, RowShape(length, patches)))
        return device_arrays(stack_rows(built))

    def _row(self, items, shape: RowShape):
        # As prompts, but several in a row: encode_prompt where training would encode the answer.
        prompting = types.SimpleNamespace(
            encode=self.chat.encode_prompt, media_ids=self.chat.media_ids
        )
        row = build_row(items, prompting, self.rules, shape)
        assert not row["failures"]
        return row

    def _file(self, part: Picture) -> str:
        if id(part) not in self.files:
            path = self.folder / f"{len(self.files)}.{'png' if part.kind == 'image' else 'mkv'}"
            if part.kind == "image":
                PIL.Image.fromarray(part.pixels).save(path)
            else:
                _write_lossless(path, part.pixels)
            self.files[id(part)] = str(path)
        return self.files[id(part)]


def _write_lossless(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=4)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())


# ── transformers. ───────────────────────────────────────────────────────────────────────────────


def hf_model(kind, config_kind, numbers: dict) -> torch.nn.Module:
    """A tiny transformers model with weights large enough for every part to matter."""
    torch.manual_seed(0)
    return randomise(kind(config_kind(**numbers, attn_implementation="eager")).eval())


@dataclasses.dataclass(frozen=True)
class Prepared:
    """pixels: float32[inputs, 3, side, side], as transformers normalises them. tokens: how many
    its processor counts. size: (height, width) of the file."""

    kind: str
    pixels: np.ndarray
    tokens: int
    size: tuple[int, int]


class Oracle:
    """A transformers model with its processors. family: its model type."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.config = model, model.config
        self.family = model.config.model_type
        self.side = model.config.vision_config.image_size
        self.grid = self.side // model.config.vision_config.patch_size

    # Preparing.

    def prepare(self, media: Sequence[Picture]) -> list[Prepared]:
        images = sum(medium.kind == "image" for medium in media)
        find = {
            "llava": self._llava,
            "llava_next_video": self._next_video,
            "llava_onevision": self._onevision,
            "smolvlm": self._smolvlm,
        }[self.family]
        return [find(medium, images) for medium in media]

    def _square(self, kind, frames: Sequence[np.ndarray], **more) -> np.ndarray:
        processor = kind(**more)
        found = processor(images=list(frames), return_tensors="np", do_convert_rgb=False)
        return np.asarray(found["pixel_values"], np.float32)

    @property
    def _crop(self) -> dict:
        side = {"height": self.side, "width": self.side}
        return {"size": {"shortest_edge": self.side}, "crop_size": side}

    def _llava(self, medium: Picture, images: int) -> Prepared:
        frames = [medium.pixels] if medium.kind == "image" else medium.pixels
        pixels = self._square(LlavaImageProcessorPil, frames, **self._crop)
        return Prepared(medium.kind, pixels, len(frames) * self.grid**2, frames[0].shape[:2])

    def _next_video(self, medium: Picture, images: int) -> Prepared:
        counter = types.SimpleNamespace(
            patch_size=self.side // self.grid,
            num_additional_image_tokens=1,
            vision_feature_select_strategy="default",
            image_processor=types.SimpleNamespace(
                image_grid_pinpoints=self.config.image_grid_pinpoints
            ),
            image_token="i",
            video_token="v",
        )
        _borrow(counter, LlavaNextVideoProcessor)
        if medium.kind == "video":
            pixels = self._square(CLIPImageProcessorPil, medium.pixels, **self._crop)
            tokens = counter.replace_video_token({"pixel_values_videos": pixels[None]}, 0)
            return Prepared("video", pixels, len(tokens), medium.pixels.shape[1:3])
        processor = LlavaNextImageProcessorPil(
            **self._crop, image_grid_pinpoints=self.config.image_grid_pinpoints
        )
        found = processor(images=[medium.pixels], return_tensors="np")
        tokens = len(counter.replace_image_token(found, 0))
        return Prepared("image", found["pixel_values"][0], tokens, medium.pixels.shape[:2])

    def _onevision(self, medium: Picture, images: int) -> Prepared:
        half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        size = {"size": {"height": self.side, "width": self.side}}
        counter = types.SimpleNamespace(
            num_image_tokens=self.grid**2,
            vision_feature_select_strategy="full",
            vision_aspect_ratio=self.config.vision_aspect_ratio,
            image_processor=types.SimpleNamespace(
                image_grid_pinpoints=self.config.image_grid_pinpoints
            ),
            image_token="i",
            video_token="v",
        )
        _borrow(counter, LlavaOnevisionProcessor)
        if medium.kind == "video":
            options = dict(**size, **half, resample=PIL.Image.Resampling.BICUBIC)
            pixels = self._square(SiglipImageProcessorPil, medium.pixels, **options)
            tokens = counter.replace_video_token({"pixel_values_videos": pixels[None]}, 0)
            return Prepared("video", pixels, len(tokens), medium.pixels.shape[1:3])
        processor = LlavaOnevisionImageProcessorPil(
            **size, **half, image_grid_pinpoints=self.config.image_grid_pinpoints
        )
        # As many as the example has, since what becomes of each depends on it.
        found = processor(images=[[medium.pixels] * images], return_tensors="np")
        tokens = len(counter.replace_image_token(found, 0))
        return Prepared("image", found["pixel_values"][0], tokens, medium.pixels.shape[:2])

    def _smolvlm(self, medium: Picture, images: int) -> Prepared:
        """A clip is its frames as images that are not split, which is what the video processor
        does, too; tokens: of one input, since each has a placeholder of its own."""
        frames = [medium.pixels] if medium.kind == "image" else medium.pixels
        half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        edges = {"image": 4 * self.side, "video": self.side}
        processor = SmolVLMImageProcessorPil(
            **half,
            size={"longest_edge": edges[medium.kind]},
            max_image_size={"longest_edge": self.side},
            do_image_splitting=medium.kind == "image",
            resample=PIL.Image.Resampling.BICUBIC,
        )
        found = [processor(images=[frame], return_tensors="np")["pixel_values"] for frame in frames]
        pixels = np.concatenate([each[0] for each in found])
        tokens = (self.grid // self.config.scale_factor) ** 2
        return Prepared(medium.kind, pixels, tokens, frames[0].shape[:2])

    # Running.

    def inputs(self, ids: Sequence[int], media: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """What the model's `forward` and `generate` take."""
        prepared = self.prepare(media)
        expanded, waiting = [], {"image": [], "video": []}
        for each in prepared:
            token = "image" if self.family in ("llava", "smolvlm") else each.kind
            waiting[token] += [each.tokens] * (len(each.pixels) if self.family == "smolvlm" else 1)
        kinds = {IMAGE: "image", VIDEO: "video"}
        for i in ids:
            expanded += [i] * (waiting[kinds[i]].pop(0) if i in kinds else 1)
        assert not any(waiting.values())
        inputs = {"input_ids": torch.tensor([expanded])}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if self.family in ("llava", "smolvlm"):
            if prepared:
                pixels = torch.tensor(np.concatenate([each.pixels for each in prepared]))
                inputs["pixel_values"] = pixels if self.family == "llava" else pixels[None]
            return inputs
        images = [each for each in prepared if each.kind == "image"]
        videos = [each for each in prepared if each.kind == "video"]
        if images:
            most = max(len(each.pixels) for each in images)
            padded = [
                np.pad(each.pixels, [(0, most - len(each.pixels)), (0, 0), (0, 0), (0, 0)])
                for each in images
            ]
            inputs["pixel_values"] = torch.tensor(np.stack(padded))
            inputs["image_sizes"] = torch.tensor([each.size for each in images])
            if self.family == "llava_onevision":
                inputs["batch_num_images"] = torch.tensor([len(images)])
        if len({len(each.pixels) for each in videos}) > 1:
            return self._embedded(inputs, videos)
        if videos:
            stacked = np.stack([each.pixels for each in videos])
            inputs["pixel_values_videos"] = torch.tensor(stacked)
        return inputs

    def _embedded(self, inputs: dict, videos: Sequence[Prepared]) -> dict[str, torch.Tensor]:
        """transformers stacks the clips of a batch, so ones of different length are given to its
        tower and projector one after the other, and put where their placeholders stand."""
        ids = inputs.pop("input_ids")
        assert "pixel_values" not in inputs
        with torch.no_grad():
            x = self.model.get_input_embeddings()(ids).clone()
            found = [
                self.model.model.get_video_features(torch.tensor(each.pixels[None])).pooler_output
                for each in videos
            ]
            x[ids == VIDEO] = torch.cat([each.reshape(-1, x.shape[-1]) for each in found])
        return {**inputs, "inputs_embeds": x}

    def logits(self, ids: Sequence[int], media: Sequence[Picture]) -> np.ndarray:
        """float32[positions, V]."""
        with torch.no_grad():
            return self.model(**self.inputs(ids, media)).logits[0].numpy()

    def generate(self, ids: Sequence[int], media: Sequence[Picture], count: int) -> list[int]:
        inputs = self.inputs(ids, media)
        with torch.no_grad():
            out = self.model.generate(
                **inputs, max_new_tokens=count, do_sample=False, suppress_tokens=[IMAGE, VIDEO]
            )
        return out[0, -count:].tolist()


def _borrow(counter: types.SimpleNamespace, kind: type) -> None:
    """Lets `counter` count with a processor's methods; making one would need a tokenizer."""
    for name in (
        "replace_image_token",
        "replace_video_token",
        "_get_number_of_features",
        "_get_unpadded_features",
    ):
        setattr(counter, name, types.MethodType(getattr(kind, name), counter))


def media_of(parts) -> list[Picture]:
    return [part for part in parts if isinstance(part, Picture)]
