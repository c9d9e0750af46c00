"""Processes that prepare, and what becomes of the examples of one that is killed."""

import json
import os
import shutil
import signal
from pathlib import Path

from input_pipeline.index import DatasetSpec, prepare
from input_pipeline.index.quarantine import quarantine_of, read_quarantine
from input_pipeline.media import Decoder
from tests.input_pipeline.media.stalling import kill_once


class KillingDecoder(Decoder):
    """Ends its process: at every look at clip 5, and at the first look at clip 4."""

    def __init__(self, marks):
        super().__init__()
        self._marks = marks

    def __reduce__(self):
        return KillingDecoder, (self._marks,)

    def probe(self, ref):
        if Path(ref.path).stem == "5":
            os.kill(os.getpid(), signal.SIGKILL)
        if Path(ref.path).stem == "4":
            kill_once(f"{self._marks}/4")
        return super().probe(ref)


def test_a_killed_process_costs_no_example_but_the_one_that_kills_it_twice(tmp_path, corpus):
    root, spec = corpus
    records = []
    for name in map(str, range(10)):
        shutil.copy(root / "good.mp4", root / f"{name}.mp4")
        records.append({"id": name, "video": f"{name}.mp4", "question": "How?", "answer": "two"})
    (tmp_path / "a.json").write_text(json.dumps(records))
    path, summary = prepare(
        DatasetSpec("mine", str(tmp_path / "a.json"), str(root)),
        spec,
        tmp_path / "index",
        workers=1,
        processes=True,
        decoder=KillingDecoder(str(tmp_path)),
    )
    assert (summary["kept"], summary["quarantined"]) == (9, {"killed": 1})
    (entry,) = read_quarantine(quarantine_of(path))
    assert (entry.id, entry.stage) == ("5", "probe")
    assert "SIGKILL; tried again" in entry.detail and entry.record.endswith("record 6")
