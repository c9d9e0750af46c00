"""Annotation files and media in, fixed-shape batches out: see docs/data.md.

The rooms in the order of the data, each of which imports only from those before it:

    annotations   annotation files -> examples
    media         files, records, addresses -> facts and pixels
    frame_budget  a clip, its question and a policy -> how many frames it gets
    text          a conversation -> token ids
    layout        facts and frames -> where every pixel and token goes
    index         all of this for a data set, kept on disk, before any full decode
    batches       indexes -> which examples share a row and a step -> arrays
    tfds_builder  examples -> a TFDS data set; a program of its own

Beneath them: `examples` (what an example is), `files` (files that appear whole or not at all) and
`progress`. Nothing here knows of models, of training or of JAX.
"""
