"""What families are built of.

In: numbers of a config. Out: layers and stacks of them, vision towers, the decoder, and what a
model is to the code around it (`vlm`); in hf/, what transformers calls all that.
"""
