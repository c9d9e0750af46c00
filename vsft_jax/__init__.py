"""Models in JAX and the jobs that use them, each a function of a `Run`.

config/ says what a config means; models/ computes; huggingface/ and checkpoints/ bring parameters
in and out, parameters.py names them, sharding.py splits them over devices by the rules in
models/shared/partition.py, lora.py puts adapters on them. inference/ answers prompts, frame_models/
are models that frame policies ask for. The jobs: prepare.py, train/, predict.py, export.py, plan/.
processes.py is about several hosts, errors.py about what a user can put right.
"""
