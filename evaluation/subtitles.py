"""What is said while a clip's frames are shown, as the publisher of Video-MME asks with subtitles.

A question with the address of its clip's subtitles in `meta["subtitles"]` was prepared with the
lines at evenly spaced moments in its text, since its frames were not known. Here these give way to
the lines at its frames.
"""

import dataclasses

from evaluation.benchmarks.source import MAX_TEXT_BYTES
from evaluation.benchmarks.srt import (
    INTRODUCED,
    MOMENTS,
    NOTHING,
    read_srt,
    said_at,
    said_evenly,
)
from evaluation.controls import laid_out_again
from input_pipeline.batches.rows import Item
from input_pipeline.layout import VisionLayout
from input_pipeline.media import read_source
from input_pipeline.text import ChatTokenizer


def with_lines_of_frames(item: Item, chat: ChatTokenizer, rules: VisionLayout, most: int) -> Item:
    """The question with the lines spoken at its frames; as it is where it has no subtitles.

    most: tokens of the whole prompt. Where it would have more, the lines of every second frame are
    left out until it has not. Raises MediaError for a file of subtitles that cannot be read.
    """
    example, layout = item
    address = example.meta.get("subtitles")
    if not address:
        return item
    lines = read_srt(read_source(address, MAX_TEXT_BYTES).decode("utf-8", "replace"))
    before = f"{INTRODUCED}{said_evenly(lines, MOMENTS) or NOTHING}\n"
    times = [time for medium in layout.media for time in medium.frame_times]
    while True:
        after = f"{INTRODUCED}{said_at(lines, times) or NOTHING}\n"
        turns = tuple(
            dataclasses.replace(
                turn,
                parts=tuple(
                    part.replace(before, after, 1) if isinstance(part, str) else part
                    for part in turn.parts
                ),
            )
            for turn in example.turns
        )
        found = laid_out_again(dataclasses.replace(example, turns=turns), layout, chat, rules)
        if found[1].tokens <= most or not times:
            return found
        times = times[1::2]
