"""Every knob, its default and what it means. Other configs start from `get_config()` here.

Any value can be overridden on the command line: `--config.optimizer.learning_rate.llm=1e-5`.
An unknown key is an error. Paths are absolute, or relative to `data.root`. Which values a key may
have stands in vsft_jax/config/checks/keys.py; a new key needs its line there.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """The full config with defaults for a Qwen2.5-VL-shaped model; data sets are left empty."""
    config = ConfigDict()
    config.seed = 0  # parameters, data order, everything that is drawn

    # --- Model: which architecture, with which weights to begin. -------------------------------
    config.model = ConfigDict()
    config.model.family = "qwen2_5_vl"  # a folder of vsft_jax/models
    # Hugging Face directory or hub id: architecture, weights to begin with, tokenizer.
    config.model.path = ""
    config.model.size = ""  # a published size, such as "7b"; beside a path it is only checked
    # Fields of VisionConfig and TextConfig in vsft_jax/models/<family>/config: on top of path or
    # size, or all of them without either.
    config.model.vision = ConfigDict()
    config.model.text = ConfigDict()
    config.model.dtype = "bfloat16"  # compute
    # Parameters that do not train, and all of them in evaluation. What trains is float32, with its
    # optimiser state.
    config.model.param_dtype = "float32"
    config.model.remat = "full"  # what the backward pass keeps of each layer: a key of stacks.REMAT
    config.model.tower_remat = ""  # of the tower's layers; "": as remat
    # "splash" (TPU kernels), "segments" (loops, for CPUs), "xla", or "auto": what suits the device.
    config.model.attention = "auto"
    # Low-rank adapters (LoRA): see docs/training.md. With them the parts of the model that they
    # lie in are frozen but for the adapters.
    config.lora = ConfigDict()
    config.lora.rank = 0  # 0: no adapters
    config.lora.alpha = 32.0  # their effect is scaled by alpha / rank
    # Which matrices: "linear" (all of the LLM's layers), "attention" (q, k, v, o), "gate_up", or a
    # regular expression for parameter paths such as "llm/layers/(q|v)".
    config.lora.targets = "linear"
    config.lora.eval_scale = 1.0  # further factor on their effect at evaluation
    config.tokenizer = ""  # directory with tokenizer.json and a chat template

    # --- Data ----------------------------------------------------------------------------------
    config.data = ConfigDict()
    config.data.root = ""  # relative paths below start here; "" is the workdir
    # Training sets by name: {"annotations": path, "media_root": path}, and where they are wanted
    # "weight": float, "format": str, "preset": name of a public data set, "columns": which of the
    # records' keys is what, as in {"video": "{video_id}.mp4", "question": "{q}"}. annotations:
    # JSON, JSONL, CSV, TSV, Parquet, WebDataset tars (a file, a folder, a pattern with *) or
    # "<TFDS folder>/<split>". media_root: a folder, or an address such as gs://bucket/folder.
    # format: told from the records unless it is named; see docs/data.md.
    # weight 0.5 takes half of the set each epoch (all of it over two), 2.0 takes it twice.
    config.data.train = ConfigDict()
    # Instead of the weights, what an epoch takes: "videos%50,images#20000,notes" is half of the
    # videos, 20000 images and all notes; sets that are not named are left out.
    config.data.mixture = ""
    # "amounts": an epoch is what weights or mixture say. With the others they are proportions, and
    # the epoch ends when the set used up first ("smallest") or last ("largest") was read once.
    config.data.epoch = "amounts"
    # Sets that fill a share of the epoch instead: "images%10" makes a tenth of its tokens images.
    config.data.replay = ""
    config.data.replay_unit = "tokens"  # or "examples"
    # Benchmarks by name: {"annotations": path, "media_root": path, "modality": what its questions
    # show, "image", "video" or "text" alone}, and "format", "preset", "columns" as above.
    # Or {"annotations": path, "modality": "held_text", "window": 2048}: texts of which is found how
    # likely they are, so many tokens at a time.
    # Or one of evaluation/benchmarks, from its publisher's files: {"official": "mme", "modality":
    # "image"}, and where they are wanted "options" (see docs/evaluation.md) and "partial": True,
    # which asks the questions whose media are there.
    config.data.benchmarks = ConfigDict()
    config.data.benchmark_root = ""  # folder that official benchmarks lie in, a folder for each
    config.data.demo_world = ConfigDict()  # sizes of the built-in data set; empty: not used
    # The data set of public packages' emoji, see docs/emoji_world.md: sizes, "pixels", "packages"
    # (folder of the fetched files, 750 MB; "" is one of the user's cache), and the registries'
    # addresses, "npm" and "pypi". Empty: not used.
    config.data.emoji_world = ConfigDict()
    # What answers think before their text, "reasoning" of a message or <think>…</think> in it:
    # "keep" (rendered where the chat template does, in the last answer) or "drop".
    config.data.reasoning = "keep"
    config.data.workers = 4  # examples that are probed or decoded at a time
    # "processes" can be killed when a file makes them hang or crash; "threads" start at once.
    config.data.decoder = "processes"
    # Threads that share one clip: for a few long clips on many cores. Many clips fill the workers.
    config.data.decode_threads = 1
    config.data.decode_timeout_s = 60.0  # for one medium, in processes; then it is left out
    # Hosts, * for any part of a name, that a web server of media may send on to, beside itself.
    # These are where Hugging Face keeps the files that it hands out under its own address.
    config.data.redirect_hosts = ("*.hf.co", "*.huggingface.co")
    config.data.cache_dir = ""  # keeps decoded frames from one epoch and run to the next; "": off
    config.data.cache_gb = 100.0  # on its disk
    # Stop when more than this fraction of a data set, or of what was trained on, cannot be used.
    config.data.max_bad_fraction = 0.1
    # Processes that prepare large sets; 0: `workers` threads, which share one Python.
    config.data.prepare_processes = 0
    config.data.index_dir = ""  # where prepared indexes live; "" is <workdir>/index

    # --- Frame budget: how many frames each video gets. See docs/frame_budget.md. --------------
    # kind: "fixed", "fps", "duration", "instruction", "similarity" (pixels, or DINOv2 with a path),
    # "hybrid", "learned" (the path of what --job=budget wrote), "judge" (a model is asked: a path
    # or a url), "consensus" (of several specs), "random_matched", "type_matched" (controls). Each
    # has keys of its own; others are named.
    config.frames = ConfigDict({"kind": "hybrid", "candidates": (8, 16, 32, 64)})

    # --- Layout: pixels to patches to tokens. What is unset is as the model's own processor files
    # say, or without a path as the model was released; a job's first line says what is in force.
    config.layout = ConfigDict()
    config.layout.image_min_pixels = config_dict.placeholder(int)
    config.layout.image_max_pixels = config_dict.placeholder(int)
    config.layout.video_min_pixels = config_dict.placeholder(int)  # per frame
    config.layout.video_max_pixels = config_dict.placeholder(int)  # per frame
    config.layout.video_total_pixels = config_dict.placeholder(float)  # of a clip's temporal grids
    # Temporal positions: "float" (the default), or "hf_int" for bit parity, see docs.
    config.layout.time_mode = config_dict.placeholder(str)
    config.layout.row_tokens = 8192  # L: text positions in a packed row
    config.layout.row_patches = 16384  # N: patches in a packed row

    # --- Training ------------------------------------------------------------------------------
    config.train = ConfigDict()
    config.train.steps = 0  # 0: as many as `epochs` take
    config.train.epochs = 1.0
    config.train.batch_rows = 64  # packed rows in a global step; 0: to hold `batch_examples`
    config.train.batch_examples = 0  # about so many examples in a step, however long they are
    config.train.accumulate = 1  # microbatches a step; must divide batch_rows
    config.train.init_from = ""  # workdir whose last checkpoint gives the starting parameters
    # What may train in the parts that have a learning rate: "" (everything), "attention" or
    # "gate_up" of the LLM, or a regular expression for parameter paths. See docs/training.md.
    config.train.only = ""
    config.train.log_every = 10  # steps
    config.train.checkpoint_every = 500  # steps; the last step is always saved
    config.train.keep_checkpoints = 2
    # Files of checkpoints are compared with their checksums before they are used; this reads them
    # once more. Also for evaluate, predict and export.
    config.train.verify_checkpoints = True
    config.train.evaluate_every = 0  # steps; 0: only when asked by --job=evaluate
    config.train.evaluate_limit = 0  # questions of each benchmark, as eval.limit; 0: all
    config.train.loss_chunk = 1024  # positions whose logits exist at one time
    config.train.pack_window = 2048  # examples among which packing may choose
    # So many steps in a row whose loss or gradient is not finite (none of which changes the model)
    # end the run.
    config.train.max_bad_steps = 10
    # A step whose loss is more than so many times the median of the last 32 steps' counts as one of
    # them; 0: any loss counts.
    config.train.skip_loss_above = 0.0
    # Of models with experts, the factor of the loss that keeps these busy alike; None: the one of
    # the model's config.json (router_aux_loss_coef).
    config.train.router_coef = config_dict.placeholder(float)
    # A batch or a step that does not come for so long ends the job with a line that says which host
    # waited for what, and exit code 124; 0: it may take for ever. The first step compiles in it.
    config.train.watchdog_seconds = 3600.0
    # So many steps are traced for XProf after step `profile_at` (0: none), and after each SIGUSR1.
    config.train.profile_at = 0
    config.train.profile_steps = 5
    # Where scalars are shown: any of "tensorboard", "wandb", "mlflow". See docs/training.md.
    config.train.trackers = ("tensorboard",)
    config.train.project = "vsft-jax"  # under which wandb and mlflow file the run
    # XLA options for the step on TPU; see docs/tpu.md. More vector memory for each fusion than the
    # default 16 MiB: on v5e and v5p the large matrix products need a fifth less time.
    config.train.tpu_options = ConfigDict({"xla_tpu_scoped_vmem_limit_kib": 32768})

    config.optimizer = ConfigDict()
    # Peak learning rates by part. A part with rate 0 is frozen: no gradient, no optimiser state.
    config.optimizer.learning_rate = ConfigDict({"tower": 2e-6, "projector": 1e-5, "llm": 1e-5})
    config.optimizer.warmup_steps = 30
    config.optimizer.final_fraction = 0.1  # of the peak, at the end of the cosine
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.98
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.0  # matrices only
    config.optimizer.clip_norm = 1.0
    # Of AdamW's first moment; "bfloat16" saves 2 bytes a trained parameter.
    config.optimizer.mu_dtype = "float32"

    # --- Remedies: what keeps the skills of the model that training starts from. ---------------
    # docs/training.md compares them, with those that need no key here. Answers that are not about
    # clips, which data.replay or weights bring in, are called pictures.
    config.remedy = ConfigDict()
    # What of a clips' gradient would raise the loss on the step's pictures is taken out of it
    # (PCGrad, one-sided); pictures protect, and are not learned from.
    config.remedy.project = False
    config.remedy.l2 = 0.0  # strength of an even pull back to the starting parameters
    # Strength of a pull by importance (EWC), found before the first step on so many batches of the
    # training set `fisher_data`.
    config.remedy.ewc = 0.0
    config.remedy.fisher_data = ""
    config.remedy.fisher_steps = 16
    # Pictures learn to be answered as the start answers them, with so much weight (distillation).
    config.remedy.distill = 0.0
    # In evaluation, predict and export: start + interpolate · (tuned − start). 0 is the start.
    config.remedy.interpolate = 1.0

    # Devices along each mesh axis; -1 takes what is left. Several slices of TPUs lie along data.
    config.mesh = ConfigDict({"data": 1, "fsdp": -1, "tensor": 1})
    # Devices that share each row of a training batch: for rows longer than one of them holds, and
    # for more devices than rows. See docs/tpu.md.
    config.mesh.context = 1

    # --- Plan: what a step takes on TPUs, with none at hand. See docs/tpu.md. ------------------
    config.plan = ConfigDict()
    config.plan.topology = "v5e:16x16"  # chip (v5e, v5p, v6e, tpu7x) and chips along each axis
    config.plan.slices = 1  # of that topology, joined by a slow network; mesh.data goes over them
    config.plan.rows = 1  # packed rows a device and microbatch, instead of train.batch_rows
    # Also plan other meshes, remat, row shapes and rows, and print the best: ten times as long.
    config.plan.search = False
    # Generate code as well: minutes instead of seconds. It shows that every kernel compiles, and
    # the compiler's own cycles stand in the place of what they are expected to be.
    config.plan.compile = False

    # --- Evaluation ----------------------------------------------------------------------------
    config.eval = ConfigDict()
    config.eval.batch_rows = 32
    config.eval.max_new_tokens = 32
    config.eval.temperature = 0.0  # 0: the most likely token; else tokens are drawn, by config.seed
    config.eval.top_p = 1.0  # draw among the most likely tokens with this probability; 1: all
    config.eval.top_k = 0  # draw among this many most likely tokens; 0: all
    # How questions with options are answered: "written", read like any other answer, or by the
    # "likeliest" of the options' letters, which is one step and always a letter.
    config.eval.choices = "written"
    # "checkpoint" applies the frame policy the checkpoint was trained with. "config" applies
    # `config.frames` instead, and "8" eight frames; the result files say so. Several are joined by
    # +, as in "checkpoint+4+8+16": each has results of its own.
    config.eval.frames = "checkpoint"
    # About so many questions of each benchmark, always the same; 0: all. Results say so, and lie in
    # a folder of their own.
    config.eval.limit = 0
    # Instead of the score what guessing would get: "no_visual", "one_frame", "shuffled_frames" or
    # "shuffled_options". See docs/evaluation.md.
    config.eval.control = ""

    # --- Budget: a frame-budget predictor from answers at fixed counts. See docs/frame_budget.md. -
    config.budget = ConfigDict()
    config.budget.benchmarks = ()  # whose answers are learned from; (): all of clips

    # --- Serve: the model behind an OpenAI-compatible endpoint. See docs/serve.md. --------------
    # What a request leaves out is as config.eval has it; batches are config.eval.batch_rows.
    config.serve = ConfigDict()
    config.serve.host = "127.0.0.1"  # "0.0.0.0": also for other machines; there are no keys, no TLS
    config.serve.port = 8000  # 0: any that is free; it is printed
    config.serve.name = ""  # what clients call the model; "" is the name of its folder
    # Requests may name files below this folder, and no others; "": no files at all.
    config.serve.media_root = ""
    # Hosts, * for any part of a name, that media may be fetched from over http; (): none.
    config.serve.media_hosts = ()
    config.serve.max_tokens = 1024  # of an answer: the most that may be asked for, and the default
    config.serve.waiting = 256  # requests; more are refused until there is room
    config.serve.timeout_s = 600.0  # for a request, from its arrival to its answer
    config.serve.max_request_mb = 100.0  # media as data URLs included

    # --- Export --------------------------------------------------------------------------------
    config.export = ConfigDict()
    config.export.dtype = "bfloat16"  # of the exported weights; or "float16" or "float32"

    # --- Study: one base model, then a fine-tuned model for each policy × remedy × seed. -------
    config.study = ConfigDict()
    config.study.base = ConfigDict()  # overrides of this config for training the base model
    config.study.frames = ConfigDict()  # frame-budget specs by label
    # Fixed counts that every model without a remedy is evaluated at too, beside its own policy.
    config.study.infer_frames = ()
    # Remedies by name: overrides of this config for fine-tuning or evaluation, as in
    # {"replay": {"data": {"replay": "images%10"}}}. Every policy is also tuned without one.
    config.study.remedies = ConfigDict()
    config.study.remedies_of = ()  # labels of the policies that they are combined with; (): all
    # A training set of pictures: before fine-tuning the base's gradients on it are compared with
    # those on clips, shown with each of infer_frames. "": not.
    config.study.diagnose = ""
    config.study.seeds = (0,)  # of fine-tuning; the base model is trained with config.seed
    return config
