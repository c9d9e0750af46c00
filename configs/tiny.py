"""A model of a few thousand parameters on a handful of rendered files: for tests and first steps.

    vsft --config=configs/tiny.py --workdir=/tmp/tiny --job=train

ends within a minute on a laptop and learns nothing worth having; it exercises every part. Takes
the arguments of configs/demo.py.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config(arg: str | None = None) -> ConfigDict:
    """The demo's config with everything made small."""
    config = demo.get_config(arg)
    config.data.demo_world.update(
        train_images=24, train_clips=16, val_images=4, val_clips=4, test_images=12, test_clips=12
    )
    config.data.demo_world.update(train_texts=8, val_texts=0, test_texts=10)
    config.model.vision.update(depth=2, width=32, mlp_width=64, heads=2, fullatt_block_indexes=(1,))
    config.model.text.update(
        depth=2, width=32, mlp_width=64, heads=2, kv_heads=1, head_dim=16, mrope_section=(2, 3, 3)
    )
    config.data.decoder = "threads"
    config.train.update(steps=4, batch_rows=2, checkpoint_every=2, log_every=1)
    config.study.base.train.update(epochs=1.0, batch_examples=8)
    config.eval.update(batch_rows=8, max_new_tokens=4)
    return config
