"""What can be known of a study before its models are trained.

sufficient.py  how few frames each question needs, and how well a frame policy tells
gradients.py   whether clips pull against pictures: cosines by frames and part, and step sizes
measure.py     the latter for a run's model and data: diagnostics.json
replicated.py  picture questions about a clip that is one picture over and over
"""
