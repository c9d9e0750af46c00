"""The part of an output that is scored: lmms-eval's default of --reasoning_tags."""

import re

_TAGS = ("think", "analysis")


def visible(said: str) -> str:
    """What is left without <think>…</think> and <analysis>…</analysis>, which are written so.

    Behind a closing tag that nothing opened, the rest counts; behind an opening one that nothing
    closes, all of it stays.
    """
    for tag in _TAGS:
        said = re.sub(f"<{tag}>.*?</{tag}>", "", said, flags=re.DOTALL)
        if f"<{tag}>" not in said:
            said = said.rpartition(f"</{tag}>")[2]
    return said.strip()
