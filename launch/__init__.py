"""Starting a job on TPUs: what is typed, sent or applied, rendered from one description.

    python -m launch queued | jobset | xpk --tpu=v5e:4x4 … -- --config=… --workdir=gs://bucket/run

slices.py    a slice of TPUs as Google Cloud names it in each place, its hosts and flags
queued.py    queued resources: gcloud commands that make TPU VMs and run a job on all of them
jobset.py    GKE: a JobSet manifest
xpk.py       GKE through xpk: a command
__main__.py  the command line; prints what it would do unless it is told to do it

In: a `Job`. Out: text. Nothing here imports JAX, and nothing else imports this.
"""
