"""A function in the place of a model."""

import threading
import types

from input_pipeline.layout import ExampleLayout
from vsft_jax.inference import Piece
from vsft_jax.serve.engine import Prompt

WORDS = 5  # of every answer
SAID = "yes" * WORDS


class StubEngine:
    """Says "yes" five times when it may go on; notes the batches. A question "fail" breaks it,
    before anything is said or, with "later" in it, behind two words; "slow" waits there.

    left_off: how many words were said when nobody wanted more; None where all were.
    """

    name, frame_policy, step, most = "stub", "fixed-8", 3, 2

    def __init__(self):
        self.batches: list[list[str]] = []
        self.go_on, self.go_on_again = threading.Event(), threading.Event()
        self.left_off: int | None = None
        self.tokenizer = types.SimpleNamespace(
            decode=lambda ids: "yes" * len(ids), spell=lambda id: "yes"
        )

    def lay_out(self, request):
        return Prompt(request, None, ExampleLayout((), 5, 0, ""), "")

    def decoded(self, prompt):
        return prompt.request.temperature

    def answer(self, prompts, wanted):
        asked = [prompt.request.turns[-1].text for prompt in prompts]
        self.batches.append(asked)
        self.go_on.wait(30)
        if "fail" in asked:
            raise RuntimeError("broken")
        for said in range(WORDS):
            if not any(map(wanted, range(len(prompts)))):
                self.left_off = said
                return
            if said == 2 and "slow" in asked:
                self.go_on_again.wait(30)
            if said == 2 and "fail later" in asked:
                raise RuntimeError("broken")
            for i in range(len(prompts)):
                yield i, Piece(i, 1, -0.5)
        for i in range(len(prompts)):
            yield i, Piece(i, None)

    def close(self):
        pass
