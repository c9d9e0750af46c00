"""Controls: another policy's budgets, given to other clips.

drawing.py   one clip at a time, from a histogram: what a single question gets
dealing.py   a whole data set: exactly as many clips of each budget as the policy has
"""

from input_pipeline.frame_budget.controls.dealing import CONTROLS, Clip, deal, dealt
from input_pipeline.frame_budget.controls.drawing import drawn

__all__ = ["CONTROLS", "Clip", "deal", "dealt", "drawn"]
