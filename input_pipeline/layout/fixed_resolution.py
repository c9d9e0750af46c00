"""Media at a fixed resolution: the layout rules that the LLaVA model families share.

Every input of the tower is a square of the same size: a frame, or for large images a small picture
of the whole and tiles of it ("anyres", LLaVA-NeXT). Each is a segment of its own in the tower.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from input_pipeline.layout import tiles
from input_pipeline.layout.patches import check_frames, patchify
from input_pipeline.layout.vision_layout import (
    NEWLINE,
    MediaLayout,
    PatchIndices,
    TokenBlock,
    check_aspect_ratio,
)
from input_pipeline.media import MediaInfo


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedResolution:
    """What all of these families have in common; a subclass says what media become.

    image_size: side of the tower's input, pixels. patch_size: side of a patch.
    class_token: whether the tower has one (CLIP). It takes a place among the patches of each input,
    before them: a row of zeros, coordinate 0.

    `MediaLayout.grid` is (inputs of the tower, patches down, patches across).
    """

    image_size: int
    patch_size: int
    class_token: bool

    @property
    def frame_fit(self) -> tiles.Fit:
        """How a frame of a clip becomes a square."""
        raise NotImplementedError

    @property
    def media_tokens(self) -> Mapping[str, str]:
        return {"image": "<image>", "video": "<video>"}

    @property
    def clip_template(self) -> str | None:
        return None

    @property
    def side(self) -> int:
        """Patches along one side of an input; what is left over at its edge is not seen."""
        return self.image_size // self.patch_size

    @property
    def slots(self) -> int:
        """Rows of vision input that one input of the tower takes."""
        return self.side**2 + self.class_token

    @property
    def patch_dim(self) -> int:
        return 3 * self.patch_size**2

    @property
    def patches_per_unit(self) -> int:
        return 1

    @property
    def coord_columns(self) -> int:
        return 1

    @property
    def taps(self) -> int:
        return 1

    @property
    def min_frames(self) -> int:
        return 1

    def placeholder(self, medium: MediaLayout) -> tuple[str, str] | None:
        return None

    def patch_indices(self, medium: MediaLayout) -> PatchIndices:
        """coords: row of the tower's table of positions, A = 1."""
        inputs = medium.grid[0]
        coords = np.tile(np.arange(self.slots, dtype=np.int32), inputs)[:, None]
        frames = np.repeat(np.arange(inputs, dtype=np.int32), self.slots)
        return PatchIndices(coords, frames, frames)

    def decode_size(self, medium: MediaLayout) -> tiles.Size | None:
        return tiles.size_before_fit(medium.source_size, self.image_size, self.frame_fit)

    def write_patches(self, frames: np.ndarray, medium: MediaLayout, out: np.ndarray) -> None:
        """Resizes and cuts the frames of one medium into `out`.

        frames: uint8[F, H, W, 3], the decoded frames of `medium.frame_indices`.
        out: uint8[P, C], written.
        Raises ValueError if there are not as many frames as were laid out.
        """
        check_frames(frames, medium)
        seen = self.side * self.patch_size
        inputs = self.inputs(frames, medium)[:, :seen, :seen]
        rows = out.reshape(len(inputs), self.slots, self.patch_dim)
        rows[:, : self.slots - self.side**2] = 0
        cut = self.cut(inputs).reshape(len(inputs), self.side**2, -1)
        rows[:, self.slots - self.side**2 :] = cut

    def cut(self, inputs: np.ndarray) -> np.ndarray:
        """uint8[inputs, h, w, 3] -> uint8[inputs · side², C], patches row by row."""
        return patchify(inputs, self.patch_size)

    def inputs(self, frames: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[F, H, W, 3] -> uint8[inputs, image_size, image_size, 3]: a square a frame."""
        return np.stack([self.square(frame) for frame in frames])

    def square(self, frame: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] -> uint8[image_size, image_size, 3]."""
        return tiles.fit_square(frame, self.image_size, self.frame_fit)

    def features(self, medium: MediaLayout) -> np.ndarray:
        """int32[inputs, side, side]: the number of each feature, counted over the medium."""
        inputs = medium.grid[0]
        slots = np.arange(inputs * self.slots, dtype=np.int32).reshape(inputs, self.slots)
        return slots[:, self.slots - self.side**2 :].reshape(inputs, self.side, self.side)

    def frames_layout(
        self, info: MediaInfo, frame_indices: tuple[int, ...], tokens: int
    ) -> MediaLayout:
        """Each frame as one input of the tower; there is one size only."""
        size = (self.image_size, self.image_size)
        return self.medium(info, frame_indices, size=size, inputs=len(frame_indices), tokens=tokens)

    def medium(
        self,
        info: MediaInfo,
        frame_indices: tuple[int, ...],
        *,
        size: tiles.Size,
        inputs: int,
        tokens: int,
    ) -> MediaLayout:
        """A `MediaLayout` of this many inputs and tokens.

        Raises LayoutError if one side of the picture is more than 200 times the other.
        """
        check_aspect_ratio(info.height, info.width)
        grid, patches = (inputs, self.side, self.side), inputs * self.slots
        return MediaLayout.of(info, frame_indices, size, grid, patches, tokens)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyRes(FixedResolution):
    """Images as a small picture of the whole and tiles of a canvas that suits their aspect ratio; a
    subclass says what a clip becomes.

    canvases: (height, width) in pixels of those to choose from, multiples of image_size.
    image_max_tiles: use none with more tiles than this; 0: the small picture alone; None: any.
    """

    canvases: tuple[tiles.Size, ...]
    image_max_tiles: int | None = None

    def __post_init__(self) -> None:
        odd = [size for size in self.canvases if any(side % self.image_size for side in size)]
        if odd or not self.canvases:
            raise ValueError(
                f"canvases must be multiples of image_size = {self.image_size} pixels a side, "
                f"got {odd or 'none'}"
            )
        if self.image_max_tiles is not None and self.image_max_tiles < 0:
            raise ValueError(f"image_max_tiles = {self.image_max_tiles} must be 0 or more, or None")

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`: images shrink to smaller canvases, at last to the small
        picture alone; clips have one size only."""
        if info.kind == "image":
            canvas = self.choose_canvas((info.height, info.width), shrink, images)
            return self.lay_out_image(info, canvas)
        return self.frames_layout(info, frame_indices, self.clip_tokens(len(frame_indices)))

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block a medium."""
        if medium.kind == "image":
            return [self.image_block(medium)]
        return [self.clip_block(medium)]

    def decode_size(self, medium: MediaLayout) -> tiles.Size | None:
        """An image is cut into tiles, from its own pixels."""
        return None if medium.kind == "image" else super().decode_size(medium)

    def inputs(self, frames: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[F, H, W, 3] -> uint8[inputs, image_size, image_size, 3]."""
        if medium.kind == "image":
            return self.image_inputs(frames[0], medium)
        return super().inputs(frames, medium)

    def clip_tokens(self, frames: int) -> int:
        """Visual tokens of a clip of so many frames."""
        raise NotImplementedError

    def clip_block(self, medium: MediaLayout) -> TokenBlock:
        """What a clip becomes."""
        raise NotImplementedError

    def canvas_tiles(self, canvas: tiles.Size) -> tiles.Size:
        """(rows, columns) of tiles."""
        return canvas[0] // self.image_size, canvas[1] // self.image_size

    def choose_canvas(self, size: tiles.Size, shrink: float, images: int) -> tiles.Size | None:
        """The canvas for one of an example's `images`, of at most `shrink` times the best one's
        area; None: none."""
        allowed = [
            canvas
            for canvas in self.canvases
            if self.image_max_tiles is None
            or np.prod(self.canvas_tiles(canvas)) <= self.image_max_tiles
        ]
        if allowed and shrink < 1:
            best = tiles.best_canvas(size, allowed)
            limit = shrink * best[0] * best[1]
            allowed = [canvas for canvas in allowed if canvas[0] * canvas[1] <= limit]
        return tiles.best_canvas(size, allowed) if allowed else None

    def lay_out_image(self, info: MediaInfo, canvas: tiles.Size | None) -> MediaLayout:
        """An image on a canvas, or for None as the small picture alone."""
        size = (info.height, info.width)
        rows, columns = self.canvas_tiles(canvas) if canvas else (0, 0)
        newlines = self.token_grid(size, canvas) if canvas else (1, 0)
        return self.medium(
            info,
            (0,),
            size=canvas or (self.image_size, self.image_size),
            inputs=1 + rows * columns,
            tokens=self.side**2 + newlines[0] * (newlines[1] + 1),
        )

    def token_grid(self, size: tiles.Size, canvas: tiles.Size) -> tiles.Size:
        """(rows, columns) of visual tokens of a picture's canvas, newlines not counted."""
        rows, columns = tiles.unpadded(size, self.feature_grid(canvas))
        return rows.stop - rows.start, columns.stop - columns.start

    def feature_grid(self, canvas: tiles.Size) -> tiles.Size:
        """(rows, columns) of features of a whole canvas."""
        rows, columns = self.canvas_tiles(canvas)
        return rows * self.side, columns * self.side

    def image_inputs(self, picture: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[H, W, 3] -> uint8[inputs, image_size, image_size, 3]: the whole, then its tiles."""
        if medium.grid[0] == 1:
            return self.small_picture(picture)[None]
        whole = tiles.fit_square(picture, self.image_size, "stretch")
        canvas = tiles.paint(picture, (medium.height, medium.width))
        return np.concatenate([whole[None], tiles.cut_tiles(canvas, self.image_size)])

    def small_picture(self, picture: np.ndarray) -> np.ndarray:
        """An image that gets no canvas -> uint8[image_size, image_size, 3]."""
        return tiles.fit_square(picture, self.image_size, "stretch")

    def image_block(self, medium: MediaLayout) -> TokenBlock:
        """The features of the small picture, then those of the canvas with a newline a row; a
        newline alone where there is no canvas."""
        features = self.features(medium)
        index, weights = self.alone(features[0].reshape(-1))
        if medium.grid[0] == 1:
            lines, shares = self.alone(np.empty((1, 0), np.int32))
        else:
            canvas = (medium.height, medium.width)
            rows, columns = self.canvas_tiles(canvas)
            grid = features[1:].reshape(rows, columns, self.side, self.side)
            whole = self.feature_grid(canvas)
            grid = grid.swapaxes(1, 2).reshape(whole)
            shown = tiles.unpadded(medium.source_size, whole)
            lines, shares = self.canvas_taps(
                grid[shown], self.token_grid(medium.source_size, canvas)
            )
        lines = np.pad(lines, [(0, 0), (0, 1), (0, 0)], constant_values=NEWLINE)
        shares = np.pad(shares, [(0, 0), (0, 1), (0, 0)])
        index = np.concatenate([index, lines.reshape(-1, self.taps)])
        return TokenBlock.in_line(index, np.concatenate([weights, shares.reshape(-1, self.taps)]))

    def canvas_taps(
        self, grid: np.ndarray, token_grid: tiles.Size
    ) -> tuple[np.ndarray, np.ndarray]:
        """int32[R, C] features of a canvas -> index and weights, [*token_grid, K]."""
        return self.alone(grid)

    def alone(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int32[...] -> index and weights [..., K] of each feature as it is."""
        index = np.repeat(features[..., None], self.taps, axis=-1)
        weights = np.zeros(index.shape, np.float32)
        weights[..., 0] = 1.0
        return index, weights
