"""How families write a frame's time into the text."""


def minutes_and_seconds(seconds: float) -> str:
    """As in 01:07; a part of a second is left out."""
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"
