"""What transformers' processor files say of media, and what of it is not computed here.

A directory has preprocessor_config.json for images, video_preprocessor_config.json for clips, or
both as parts of processor_config.json. Which of them counts follows transformers 5
`image_processing_base.py` and `video_processing_utils.py`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vsft_jax.models.shared.config import check

NAMES = IMAGE_FILE, VIDEO_FILE, PROCESSOR_FILE = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of the processor of one kind of medium. file: where they stand. keys: those that are set."""

    file: str
    keys: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, `default` where it is not set."""
        return self.keys.get(key, default)

    def require(self, holds: bool, message: str) -> None:
        """Raises ValueError naming the file unless `holds`."""
        check(holds, f"{self.file}: {message}")

    def require_value(self, key: str, *supported: Any) -> None:
        """Raises ValueError where a key is set to something that is not computed here."""
        value = self.get(key, supported[0])
        words = " or ".join(map(repr, supported))
        self.require(value in supported, f"{key} = {value!r} is not supported (only {words})")


@dataclasses.dataclass(frozen=True)
class Stated:
    """What a directory states. image, video: None where no file does. whole: of what is around the
    two."""

    image: Settings | None
    video: Settings | None
    whole: Settings

    @classmethod
    def of(cls, files: Mapping[str, Mapping[str, Any]]) -> "Stated":
        """files: name → content of those of `NAMES` that are there."""
        parts = files.get(PROCESSOR_FILE, {})

        def first(part: str, *names: str) -> Settings | None:
            if isinstance(parts.get(part), Mapping):
                return Settings(PROCESSOR_FILE, _set(parts[part]))
            found = [Settings(name, _set(files[name])) for name in names if name in files]
            return found[0] if found else None

        return cls(
            image=first("image_processor", IMAGE_FILE),
            video=first("video_processor", VIDEO_FILE, IMAGE_FILE),
            whole=Settings(PROCESSOR_FILE, _set(parts)),
        )

    @property
    def kinds(self) -> list[Settings]:
        """Of images and of clips, those that there are."""
        return [each for each in (self.image, self.video) if each]

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """`image_mean` and `image_std` of the pixels, where they are stated.

        Raises ValueError where they are not three numbers, or not the same for images and clips.
        """
        found: dict[str, tuple[float, ...]] = {}
        for settings in self.kinds:
            for key in ("image_mean", "image_std"):
                if (value := settings.get(key)) is None:
                    continue
                values = tuple(value) if isinstance(value, Sequence) else (value,) * 3
                settings.require(len(values) == 3, f"{key} = {value!r}: expected three numbers")
                settings.require(
                    found.setdefault(key, values) == values,
                    f"{key} = {list(values)} differs from that of images, {list(found[key])}; one "
                    "for both is supported",
                )
        return found

    def sampling(self) -> str:
        """How transformers' own processor samples a clip, in words; "" where nothing is said."""
        if self.video is None or not self.video.get("do_sample_frames", True):
            return ""
        keys = ("fps", "num_frames", "min_frames", "max_frames")
        said = [f"{key} {self.video.get(key)}" for key in keys if self.video.get(key) is not None]
        return ", ".join(said)


def require_processor(
    settings: Settings,
    types: Sequence[str],
    *,
    resample: Sequence[int | str] = (3, "bicubic"),
    normalize: Sequence[bool] = (True,),
    **numbers: int,
) -> None:
    """Raises ValueError for a processor of other types, and for steps that are not computed here.

    resample, normalize: the filters, and values of do_normalize, that are supported, the default
    first. numbers: settings that have to be the tower's where they are set.
    """
    for key in ("image_processor_type", "video_processor_type", "feature_extractor_type"):
        if (kind := settings.get(key)) is not None:
            known = kind.removesuffix("Fast").removesuffix("Pil") in types
            settings.require(known, f"{key} {kind!r} is not supported (only {', '.join(types)})")
    for key in ("do_resize", "do_rescale"):
        settings.require_value(key, True)
    settings.require_value("do_normalize", *normalize)
    settings.require_value("resample", *resample)
    factor = settings.get("rescale_factor", 1 / 255)
    settings.require(
        abs(255 * factor - 1) < 1e-6, f"rescale_factor = {factor} is not supported (only 1/255)"
    )
    for key, number in numbers.items():
        value = settings.get(key, number)
        settings.require(value == number, f"{key} = {value!r}, but the tower's is {number}")


def sampling_to_hf(frames: Mapping[str, Any] | None) -> dict[str, Any]:
    """Keys of a video processor that samples a clip as a frame-budget spec does, {} for a policy
    that they cannot express: one that looks at the question or the clip."""
    if frames and frames["kind"] == "fixed":
        return {"do_sample_frames": True, "num_frames": frames["frames"], "fps": None}
    if frames and frames["kind"] == "fps":
        limits = {key: frames[key] for key in ("min_frames", "max_frames")}
        return {"do_sample_frames": True, "fps": frames["frames_per_second"], **limits}
    return {}


def _set(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}
