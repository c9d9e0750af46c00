"""What a model can do: asked, scored and compared.

In: a `Run` (config and workdir) with a checkpoint or a model to import. Out: result files and
answers in its workdir; for a study of many models, their folders and a report.

benchmarks/      official benchmarks: their files become questions, scored answers their numbers
scoring/         an answer's score against its question
evaluate.py      asks a model the questions of benchmarks, under a frame policy
asked.py         which questions, as they are or under a control against guessing of controls.py
held_texts/      how likely a model finds texts
subtitles.py     what is said while the frames of a question are shown
journal.py       answers as they come, so that an interrupted evaluation goes on
results.py       what one evaluation found, with intervals by statistics/
provenance.py    what else answers depend on, for the record
study_files.py   what a study leaves beside results: its cells, its frame budgets
cell_config.py   what of a config makes a cell what it is
run_study.py     trains and evaluates the cells of a study
compare/         two runs' answers to the same questions
lmms_samples.py  answers as lmms-eval logs them
report/          from a study's folder to a report

Others import from these modules: reading results needs no JAX, evaluating does.
"""
