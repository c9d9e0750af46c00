"""Config files: see default.py for every knob."""
