"""Models: one folder a family, and the layers they share."""

# Each is a package of this folder; docs/models.md says what a family's package offers.
FAMILIES = ("qwen2_5_vl", "qwen3_vl", "llava_1_5", "llava_next_video", "llava_onevision")
