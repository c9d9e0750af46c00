"""What lmms-eval makes of an answer, to stand beside the strict score.

Read from its readers and scorers as of 2026-08-06 (0.7, commit 75571cf), told in own words, and
compared with them on generated answers. docs/evaluation.md has a list of how they differ from the
strict scorers, and why. Each is a function of what was said and of the question's meta: its
"answer", "choices" and facts. It gives 0..1, or None for an answer that is left out of the count.
Nothing is drawn at random: where lmms-eval picks an option at random, that is worth what picking is
worth on average.

reasoning.py     the thoughts that are cut before anything is read
letters.py       a letter by the place and the signs around it: most benchmarks of choices
first_letter.py  the first capital letter
mmmu.py          the last or first letter, or an option's text: MMMU and what took its parser
open_answer.py   open answers of Video-MMMU
The others are each one benchmark's, or a few lines for several.
"""

from evaluation.scoring.compat.first_letter import longvideobench, videomme_v2
from evaluation.scoring.compat.grounding import charades_sta
from evaluation.scoring.compat.letters import four_letters, realworldqa
from evaluation.scoring.compat.mmbench import mmbench
from evaluation.scoring.compat.mmmu import egoschema, mmmu, nextqa, tomato
from evaluation.scoring.compat.mvbench import mvbench
from evaluation.scoring.compat.open_answer import videommmu
from evaluation.scoring.compat.reasoning import visible
from evaluation.scoring.compat.tempcompass import tempcompass
from evaluation.scoring.compat.text import ai2d, ocrbench, textvqa
from evaluation.scoring.compat.yes_no import mme, pope

__all__ = [
    "ai2d",
    "charades_sta",
    "egoschema",
    "four_letters",
    "longvideobench",
    "mmbench",
    "mme",
    "mmmu",
    "mvbench",
    "nextqa",
    "ocrbench",
    "pope",
    "realworldqa",
    "tempcompass",
    "textvqa",
    "tomato",
    "videomme_v2",
    "videommmu",
    "visible",
]
