"""What a scene of the demo world is: a background and a few actors with a known life.

An image is a scene of one frame. Everything a question can ask follows from these records, so
answers are computed, never labelled by hand.
"""

import dataclasses

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
DIGITS = tuple("0123456789")
SIDES = ("left", "right", "top", "bottom")
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
DIRECTIONS = ("left", "right", "up", "down")

HIDDEN = ""  # the "colour" of an actor that is not drawn
LAMP_OFF = "grey"
LAMP_ON = "white"
DIGIT_COLOUR = "white"  # one colour, so that a small model can learn ten shapes in minutes

# What a training run samples; clips are built around what these many uniform frames can show.
FULL_VIEW_FRAMES = 16


@dataclasses.dataclass(frozen=True)
class Background:
    """A dark, slightly tinted plane. rgb: 0..255; texture: peak of its soft variation, 0 = flat."""

    rgb: tuple[int, int, int]
    texture: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Motion:
    """Where an actor's centre is. start, end: (x, y) pixels.

    profile: "linear", "accelerate", "decelerate", or "bounce" (to and fro between start and end:
    `trips` one-way trips in the whole clip, the first of them begun at `phase` trips).
    """

    start: tuple[float, float]
    end: tuple[float, float]
    profile: str = "linear"
    trips: float = 0.0
    phase: float = 0.0

    def at(self, time: float) -> tuple[float, float]:
        """The centre (x, y) in pixels at `time` in 0..1, the clip's first and last frame."""
        if self.profile == "linear":
            way = time
        elif self.profile == "accelerate":
            way = time**2.5
        elif self.profile == "decelerate":
            way = 1.0 - (1.0 - time) ** 2.5
        else:
            way = 1.0 - abs(1.0 - (self.phase + self.trips * time) % 2.0)
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + (x1 - x0) * way, y0 + (y1 - y0) * way


@dataclasses.dataclass(frozen=True)
class Actor:
    """One thing in a scene.

    shape:   one of SHAPES, or a digit.
    radius:  half of its height, pixels.
    motion:  where it is.
    colours: (first frame, colour) in rising order, the first entry at frame 0; HIDDEN = not drawn.
    role:    what the scene means it for: "small", "large", "lamp", "event", "left", ...
    """

    shape: str
    radius: float
    motion: Motion
    colours: tuple[tuple[int, str], ...]
    role: str = ""

    def colour_at(self, frame: int) -> str:
        """The actor's colour in `frame`, or HIDDEN."""
        return next(colour for first, colour in reversed(self.colours) if first <= frame)

    @property
    def colour(self) -> str:
        """The first colour that the actor is drawn in."""
        return next(colour for _, colour in self.colours if colour != HIDDEN)

    @property
    def first_seen(self) -> int:
        """The first frame in which the actor is drawn."""
        return next(first for first, colour in self.colours if colour != HIDDEN)

    @property
    def name(self) -> str:
        """Colour and shape in words, like "red circle"."""
        return f"{self.colour} {self.shape}"


@dataclasses.dataclass(frozen=True)
class Scene:
    """An image (frames == 1, fps == 0) or a clip. width, height: pixels; fps: frames a second."""

    family: str
    width: int
    height: int
    frames: int
    fps: int
    background: Background
    actors: tuple[Actor, ...]

    def time(self, frame: int) -> float:
        """Position of a frame in the clip, 0 = first, 1 = last."""
        return frame / max(1, self.frames - 1)

    def role(self, role: str) -> Actor:
        """The actor that has this role; StopIteration where the family has none."""
        return next(actor for actor in self.actors if actor.role == role)


def still_actor(
    shape: str, colour: str, radius: float, centre: tuple[float, float], role: str = ""
) -> Actor:
    """An actor that stays where it is and keeps its colour."""
    return Actor(shape, radius, Motion(centre, centre), ((0, colour),), role)
