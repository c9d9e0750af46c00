"""Media named without their ending: "v_abc.*" is the v_abc.mp4, .mkv or .webm that lies there."""

import functools
import os

from input_pipeline.paths import is_remote

ANY = ".*"
# In this order where a folder has several of one name.
_ENDINGS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv")
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
_KEPT_FOLDERS = 64


def with_ending(path: str) -> str:
    """The file that a path with ".*" for its ending stands for. A path of any other form, one below
    an address and one that no file belongs to stay what they are."""
    if not path.endswith(ANY) or is_remote(path):
        return path
    folder, name = os.path.split(path)
    stem = name.removesuffix(ANY)
    return os.path.join(folder, _files(folder).get(stem, name))


@functools.lru_cache(_KEPT_FOLDERS)
def _files(folder: str) -> dict[str, str]:
    """The media files of a folder by their names without endings."""
    order = {ending: place for place, ending in enumerate((*_ENDINGS, *_IMAGE_ENDINGS))}
    found: dict[str, tuple[int, str]] = {}
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    for name in names:
        stem, ending = os.path.splitext(name)
        if (place := order.get(ending.lower())) is not None:
            found[stem] = min(found.get(stem, (place, name)), (place, name))
    return {stem: name for stem, (_, name) in found.items()}
