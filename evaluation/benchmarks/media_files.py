"""Where a benchmark's videos lie: files, members of archives, folders of frames."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from input_pipeline.media import MediaError, archive_members, is_archive

_VIDEO_ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".gif", ".mpg", ".flv", ".ts")
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")


class _Found(NamedTuple):
    """way: of folders to it, from the benchmark's folder or the archive's top, in lower case:
    "/data/long/"."""

    way: str
    path: str


class MediaFiles:
    """The videos, folders of frames and other files below some folders, by their names.

    A file goes before a member of an archive. fail: makes the error for an archive that cannot be
    used.
    """

    def __init__(self, folders: Sequence[Path], fail: Callable[[str], Exception]):
        self._videos: dict[str, list[_Found]] = defaultdict(list)  # by stem
        self._texts: dict[str, str] = {}
        archives = []
        for folder in folders:
            for directory, names in walk(folder):
                self._add(os.path.relpath(directory, folder), f"{directory}{os.sep}", names)
                archives += [os.path.join(directory, name) for name in names if is_archive(name)]
        for archive in archives:
            try:
                members = archive_members(archive)
            except MediaError as error:
                raise fail(f"{error.path} cannot be used: {error.detail}") from error
            by_folder: dict[str, list[str]] = defaultdict(list)
            for name in sorted(members):
                folder_name, _, last = name.rpartition("/")
                by_folder[folder_name].append(last)
            for inside, names in by_folder.items():
                self._add(inside, f"{archive}::{inside}/" if inside else f"{archive}::", names)

    def video(self, name: str, within: str = "") -> str | None:
        """The address of a video, or of a folder of frames; None where it is not there.

        name: with or without an ending, whose case does not matter, and with the folders before it
        where the official files have them. within: folders that must be on the way to it.
        """
        stem, ending = os.path.splitext(name)
        before, _, last = (stem if ending.lower() in _VIDEO_ENDINGS else name).rpartition("/")
        for found in self._videos.get(last, ()):
            ends = found.way.endswith(_way(before)) or not before
            if ends and (not within or _way(within) in found.way):
                return found.path
        return None

    def text(self, name: str) -> str | None:
        """The address of a file of another kind, such as subtitles, by its whole name."""
        return self._texts.get(name)

    def _add(self, inside: str, before: str, names: Iterable[str]) -> None:
        way = _way(inside.replace(os.sep, "/"))
        pictures = False
        for name in names:
            stem, ending = os.path.splitext(name)
            if ending.lower() in _VIDEO_ENDINGS:
                self._videos[stem].append(_Found(way, before + name))
            elif ending.lower() in _PICTURE_ENDINGS:
                pictures = True
            else:
                self._texts.setdefault(name, before + name)
        if pictures and way != "/":
            folder = before.rstrip("/" + os.sep)  # of frames
            last = os.path.basename(folder.rpartition("::")[2])
            self._videos[last].append(_Found(way[: -len(last) - 1], folder))


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each directory below a folder with its files, in the order of their names; hidden ones, where
    downloads keep what is not finished, are left out."""
    for directory, names, files in os.walk(folder, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield directory, sorted(name for name in files if not name.startswith("."))


def _way(folders: str) -> str:
    """ "Data/long" → "/data/long/"."""
    inside = folders.strip("./").lower()
    return f"/{inside}/" if inside else "/"
