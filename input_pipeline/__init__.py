"""From annotation files to fixed-shape batches: see docs/data.md."""
