"""Where official benchmarks are looked for."""

from evaluation.benchmarks.catalogue import find_benchmark
from evaluation.benchmarks.folders import find_folders


def test_a_repository_below_its_owner_of_the_same_name(tmp_path, monkeypatch):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(hub, "HF_HOME", str(tmp_path / "none"))
    place = tmp_path / "longvideobench" / "LongVideoBench"
    place.mkdir(parents=True)
    found = find_folders(find_benchmark("longvideobench"), str(tmp_path))
    assert found == [place.parent, place]
