"""Fine-tuning of multimodal LLMs on video in JAX: models, training, generation, weights."""
