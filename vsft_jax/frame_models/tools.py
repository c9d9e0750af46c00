"""What a run's frame policy may ask for, as functions of the policy's spec."""

import functools

from input_pipeline.frame_budget import Tools
from vsft_jax.config import Run
from vsft_jax.frame_models.dino import DinoEmbedder
from vsft_jax.frame_models.judge import JudgeModel


def tools(run: Run) -> Tools:
    """The models of "similarity" and "judge" specs. Answers are kept beside the run's indexes.

    No model is loaded before a policy has a question for it.
    """
    return Tools(
        embed=DinoEmbedder, ask=functools.partial(JudgeModel, run=run), folder=run.index_dir
    )
