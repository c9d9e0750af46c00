"""How numbers read in the report: scores in percent, differences in points."""

import math
from collections.abc import Sequence

from evaluation.statistics import Interval

NOT_FINISHED = "not finished"
NOT_RECORDED = "not recorded"
BELOW_CHANCE = "base below chance"


class Strong(str):
    """A text to be set in bold: a difference beyond noise."""


def percent(share: float) -> str:
    """0.619 → "61.9"; nan → "–"."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def plural(modality: str) -> str:
    """ "images", "videos", "text": what questions are about."""
    return modality if modality == "text" else f"{modality}s"


def signed(share: float, digits: int = 1) -> str:
    """0.072 → "+7.2", in points, with a real minus sign; zero has no sign. digits: behind the
    point."""
    text = f"{100 * share:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def signed_range(interval: Interval) -> str:
    """ "+4.1 to +10.2", or why there is none."""
    if math.isnan(interval.low):
        return "no interval"
    return f"{signed(interval.low)} to {signed(interval.high)}"


def within_noise(difference: Interval) -> bool:
    """Whether a difference has an interval, and it holds zero."""
    return not (math.isnan(difference.low) or difference.excludes_zero)


def score_text(interval: Interval | None) -> str:
    """ "61.9 (57.0–66.5)" in percent."""
    if interval is None:
        return NOT_FINISHED
    if math.isnan(interval.low):
        return percent(interval.mean)
    return f"{percent(interval.mean)} ({percent(interval.low)}–{percent(interval.high)})"


def gain_text(interval: Interval | None, *, below_chance: bool = False) -> str:
    """ "+7.2 (+4.1 to +10.2)" in points, strong if the interval excludes zero.

    below_chance: whether it is a gain over a base that guessing beats, which is then said in it.
    """
    if interval is None:
        return NOT_FINISHED
    remark = f", {BELOW_CHANCE}" if below_chance else ""
    text = f"{signed(interval.mean)} ({signed_range(interval)}{remark})"
    return Strong(text) if interval.excludes_zero else text


def bits_text(interval: Interval | None) -> str:
    """ "0.812 (0.790–0.834)" bits a byte."""
    if interval is None:
        return NOT_FINISHED
    ends = f" ({interval.low:.3f}–{interval.high:.3f})" if not math.isnan(interval.low) else ""
    return f"{interval.mean:.3f}{ends}"


def bits_change_text(interval: Interval | None) -> str:
    """ "+0.031 (+0.020 to +0.042)" bits a byte, strong if the interval excludes zero."""
    if interval is None:
        return NOT_FINISHED
    mean, low, high = (
        f"{each:+.3f}".replace("-", "−") for each in (interval.mean, interval.low, interval.high)
    )
    text = f"{mean} ({'no interval' if math.isnan(interval.low) else f'{low} to {high}'})"
    return Strong(text) if interval.excludes_zero else text


def count(number: float | None, digits: int = 0) -> str:
    """1234.5 → "1,234"; None or nan → "not recorded"."""
    if number is None or math.isnan(number):
        return NOT_RECORDED
    return f"{number:,.{digits}f}"


def shortened(text: str, most: int = 160) -> str:
    """A text in one line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def task_name(task: str) -> str:
    """ "motion_direction" → "motion direction"."""
    return task.replace("_", " ")


def of_questions(at_least: int, at_most: int) -> str:
    """ "n = 40"; "n = 38–40" where models answered different numbers of questions."""
    return f"n = {at_least:,}" + (f"–{at_most:,}" if at_most > at_least else "")


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
