"""What bench.batches counts of rows that come late."""

import time
from types import SimpleNamespace

import numpy as np

from bench import batches


def test_waits_and_bytes_are_those_of_the_counted_rows(monkeypatch, capsys):
    monkeypatch.setattr(batches, "device_arrays", lambda batch: vars(batch))

    def late():
        for i in range(batches.AHEAD + 3):
            time.sleep(0.02 if i >= batches.AHEAD else 0)
            yield SimpleNamespace(patches=np.zeros(1000, np.uint8), tokens=np.zeros(10, np.int32))

    took = batches.consume(late(), 0.01)
    assert (took.rows, took.bytes) == (3, 3 * 1040)
    assert took.wall_s >= 0.09 and 0.06 <= took.waited_s <= took.wall_s - 0.03
    batches.print_row(10, [batches.Took(2, 4_000_000, 1.0, 0.5, waited) for waited in (0.1, 0.3)])
    assert capsys.readouterr().out == "| 10 | 2.00 MB | 500 / 250 | 0.20 (0.10–0.30) |\n"
