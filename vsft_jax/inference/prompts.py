"""What prompts share: those about the same media begin alike, and are computed so far once."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from input_pipeline.batches.rows import Item
from input_pipeline.index import ExampleStore
from input_pipeline.layout import ExampleLayout, VisionLayout, expand_text
from input_pipeline.text import ChatTokenizer
from vsft_jax.inference.prompt_rows import RowSizes

Prompts = ExampleStore | Sequence[Item]

_MOST_ENDINGS = 32  # of a group; more make another one, so that rows come out alike


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a prompt has behind the shared beginning: text, of w >= 1 tokens.

    index: the prompt's place. tokens: int32[w]. positions: int32[w, 3]. next_position: of the first
    token of the answer: text goes on from the highest position on any axis, since a medium may end
    far beyond its tokens.
    """

    index: int
    tokens: np.ndarray
    positions: np.ndarray
    next_position: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Prompts that begin alike: with all their media, and `tokens` text positions in all."""

    tokens: int
    patches: int
    endings: tuple[Ending, ...]

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Shared positions, patches, positions of the endings, and how many those are."""
        text = sum(len(ending.tokens) for ending in self.endings)
        return self.tokens, self.patches, text, len(self.endings)


class Beginnings(Sequence[Item]):
    """The shared part of each group as an example and a layout, for `make_batches`."""

    def __init__(self, prompts: Prompts, groups: Sequence[Group]):
        self._prompts, self._groups = prompts, groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]  # no slices are taken
        group = self._groups[place]
        example, layout = self._prompts[group.endings[0].index]
        return example, dataclasses.replace(layout, tokens=group.tokens)


def group_prompts(
    prompts: Prompts, chat: ChatTokenizer, rules: VisionLayout, *, share: bool
) -> list[Group]:
    """Groups of prompts, prepared in "prompt" mode, that are about the same media, laid out alike,
    with the same text up to the end of them; in the order of their first prompts.

    share: False makes every prompt its own group. Raises ValueError for prompts that were laid out
    with another tokenizer, or that end with a medium.
    """
    members: dict[object, list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
    layouts: dict[object, ExampleLayout] = {}
    for i in range(len(prompts)):
        example, layout = prompts[i]
        text = expand_text(
            chat.encode_prompt(example, [rules.placeholder(m) for m in layout.media]).ids,
            layout.media,
            rules,
            chat.media_ids,
        )
        media_end = int((text.visual_index[:, 0] != -1).nonzero()[0].max(initial=-1)) + 1
        if len(text.tokens) != layout.tokens or media_end == len(text.tokens):
            raise ValueError(
                f"prompt {example.id!r} has {len(text.tokens)} tokens, {media_end} of them up to "
                f"the end of its media, but its index entry says {layout.tokens}: prepare the "
                "index again with this tokenizer"
            )
        # Without media there is little to share: the words of the system.
        alike = share and layout.media
        key = (example.media, layout.media, text.tokens[:media_end].tobytes()) if alike else i
        if len(members[key]) == _MOST_ENDINGS:
            members[key, i] = members.pop(key)
            layouts[key, i] = layouts[key]
        layouts[key] = layout
        members[key].append((i, text.tokens, text.positions))
    groups = [_group(layouts[key].patches, members[key]) for key in members]
    return sorted(groups, key=lambda group: group.endings[0].index)


def _group(patches: int, members: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> Group:
    shared = _shared_tokens([tokens for _, tokens, _ in members])
    endings = tuple(
        Ending(i, tokens[shared:], positions[shared:], int(positions.max()) + 1)
        for i, tokens, positions in members
    )
    return Group(shared, patches, endings)


def _shared_tokens(texts: Sequence[np.ndarray]) -> int:
    """How many tokens all begin with, at least one of each left out."""
    most = min(map(len, texts)) - 1
    differ = np.zeros(most, bool)
    for text in texts[1:]:
        differ |= text[:most] != texts[0][:most]
    return int(differ.argmax()) if differ.any() else most


def lay_out_endings(
    rows: Sequence[Sequence[Group]], shape: RowSizes
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The fields of `generate.Endings` for rows of groups, in this shape; and the places of their
    prompts, int64[B, G], -1 for none."""
    count, width, most = len(rows), shape.endings, shape.questions
    found = {
        "tokens": np.zeros((count, width), np.int32),
        "positions": np.zeros((count, width, 3), np.int32),
        "prompts": np.zeros((count, width), np.int32),
        "last": np.full((count, most), -1, np.int32),
        "beginnings": np.zeros((count, most), np.int32),
        "next_positions": np.zeros((count, most), np.int32),
    }
    places = np.full((count, most), -1)
    for r, groups in enumerate(rows):
        endings = [(s, ending) for s, group in enumerate(groups, 1) for ending in group.endings]
        start = 0
        for g, (segment, ending) in enumerate(endings):
            here = slice(start, start + len(ending.tokens))
            found["tokens"][r, here] = ending.tokens
            found["positions"][r, here] = ending.positions
            found["prompts"][r, here] = g + 1
            found["last"][r, g] = here.stop - 1
            found["beginnings"][r, g] = segment
            found["next_positions"][r, g] = ending.next_position
            places[r, g] = ending.index
            start = here.stop
    return found, places
