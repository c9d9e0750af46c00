"""How full packed rows are, against other packers: `python -m bench.fill`."""
