"""Media: from an address (a file, a record, a remote object, a folder of pictures) to facts about
it, and to chosen frames as RGB pixels.

In:  a `MediaRef`. Out: `MediaInfo` of what can be used, uint8[F, H, W, 3] of its frames, or a
`MediaError` with a reason. `Decoder` is the way in for the pipeline: it probes and decodes in
processes that a hang cannot stop, and keeps frames on disk.
"""

from input_pipeline.media.archives import archive_members, is_archive
from input_pipeline.media.decoder import Decoder
from input_pipeline.media.errors import LASTING, PASSING, REASONS, MediaError
from input_pipeline.media.frame_cache import CacheSettings
from input_pipeline.media.frames import read_frames
from input_pipeline.media.probing import MediaInfo, cut_clip, kind_of_file, probe
from input_pipeline.media.resizing import resize
from input_pipeline.media.sampling import EvenTimes, times_at, uniform_frame_indices
from input_pipeline.media.sources import read_source
from input_pipeline.media.video.folder import is_frame_folder

__all__ = [
    "LASTING",
    "PASSING",
    "REASONS",
    "CacheSettings",
    "Decoder",
    "EvenTimes",
    "MediaError",
    "MediaInfo",
    "archive_members",
    "cut_clip",
    "is_archive",
    "is_frame_folder",
    "kind_of_file",
    "probe",
    "read_frames",
    "read_source",
    "resize",
    "times_at",
    "uniform_frame_indices",
]
