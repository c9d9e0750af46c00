"""Annotations and their media in, a TFDS data set out, which `annotations` reads by random access.

    python -m input_pipeline.tfds_builder --data_dir=/data/tfds --config='{"name": "clips",
        "annotations": "/data/clips/train.jsonl", "media_root": "/data/clips"}'

leaves /data/tfds/corpus/clips/1.0.0, and "annotations": "/data/tfds/corpus/clips/1.0.0/train" in a
training config reads it, without TensorFlow. In place of annotations and media_root,
"config_file": "configs/mine.py" takes those of config.data.train.clips.

With "beam": true the media are read and the shards written by Apache Beam, on the machines that
--beam_pipeline_options name; the annotations themselves are read by the process that starts it.

The arguments are those of `tfds build`, whose own program asks for TensorFlow. Where that is
installed, `tfds build corpus --imports=input_pipeline.tfds_builder.corpus …` does the same.
"""
