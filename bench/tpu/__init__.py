"""What a step of Qwen2.5-VL-7B takes on pods, planned without one: `python -m bench.tpu`."""
