"""Each step of the benchmark finds known what it says is known."""

from bench.prepare import Corpus, look_ups, steps
from input_pipeline.index import pieces
from input_pipeline.media import Decoder


def test_what_each_step_does_again(tmp_path, monkeypatch):
    done = {"probed": 0, "read": 0}
    probe, read = Decoder.probe, pieces.read_with_places

    def counted(name, function):
        def call(*args):
            done[name] += 1
            return function(*args)

        return call

    monkeypatch.setattr(Decoder, "probe", counted("probed", probe))
    monkeypatch.setattr(pieces, "read_with_places", counted("read", read))
    found = {}
    for known, spent in steps(Corpus(tmp_path, 12, 30), workers=1, processes=False):
        assert spent.wall > 0 and spent.cpu >= 0
        found[known] = dict(done)
        done.update(probed=0, read=0)
    assert found == {
        "nothing": {"probed": 12, "read": 1},
        "all of it": {"probed": 0, "read": 0},
        "all but the frame budget": {"probed": 0, "read": 0},
        "all but the resolution": {"probed": 0, "read": 0},
        "the media alone": {"probed": 0, "read": 1},
    }


def test_look_ups_are_of_known_probes(tmp_path):
    each, check_s = look_ups(tmp_path / "probes.sqlite", 30)
    assert len(each) == 5 and min(each) >= 0 and check_s >= 0
