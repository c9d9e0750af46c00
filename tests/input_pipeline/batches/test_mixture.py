import collections
import time

import numpy as np
import pytest

from input_pipeline.batches.mixture import (
    Count,
    Mixture,
    epoch_order,
    parse_mixture,
    parse_shares,
    realised_mix,
)


def seen(sizes, weights, seed, epochs):
    counts = collections.Counter()
    for epoch in range(epochs):
        source, row = epoch_order(sizes, weights, seed, epoch)
        assert source.dtype == np.int32
        assert row.dtype == np.int64
        counts.update(zip(source.tolist(), row.tolist(), strict=True))
    return counts


def test_weight_one_is_every_example_once_an_epoch():
    source, row = epoch_order({"a": 5, "b": 3}, {"a": 1, "b": 1.0}, seed=0, epoch=4)
    assert sorted(zip(source.tolist(), row.tolist(), strict=True)) == (
        [(0, i) for i in range(5)] + [(1, i) for i in range(3)]
    )


@pytest.mark.parametrize("weight", [0.3, 0.5, 1.0, 1.7, 3.0])
def test_takes_the_weighted_number_and_sees_rows_equally_often(weight):
    sizes, weights = {"a": 11, "b": 7}, {"a": weight, "b": 1.0}
    source, _ = epoch_order(sizes, weights, seed=3, epoch=0)
    assert int((source == 0).sum()) == round(weight * 11)
    for epochs in (1, 2, 5, 9):
        counts = seen(sizes, weights, 3, epochs)
        times = [counts[0, i] for i in range(11)]
        assert sum(times) == epochs * round(weight * 11)
        assert max(times) - min(times) <= 1


def test_small_weights_take_another_part_until_all_were_seen():
    epochs = [set(epoch_order({"a": 10}, {"a": 0.5}, 0, e)[1].tolist()) for e in range(4)]
    assert epochs[0] | epochs[1] == set(range(10))
    assert epochs[2] | epochs[3] == set(range(10))
    assert epochs[0] != epochs[2]


def test_depends_on_seed_and_epoch_alone():
    def rows(seed, epoch):
        return epoch_order({"a": 50}, {"a": 1.0}, seed, epoch)[1].tolist()

    assert rows(0, 0) == rows(0, 0)
    assert rows(0, 0) != rows(1, 0)
    assert rows(0, 0) != rows(0, 1)


def test_known_order():
    # Written down once: a change here would silently change the data order of resumed runs.
    source, row = epoch_order({"a": 4, "b": 2}, {"a": 1.0, "b": 1.0}, seed=7, epoch=2)
    assert (source.tolist(), row.tolist()) == ([0, 0, 1, 0, 1, 0], [2, 1, 0, 0, 1, 3])


def test_sources_are_mixed_together():
    source, _ = epoch_order({"a": 500, "b": 500}, {"a": 1.0, "b": 1.0}, 0, 0)
    runs = 1 + int((np.diff(source) != 0).sum())
    assert 400 < runs < 600  # 500 expected of a fair shuffle, standard deviation 16


def test_a_source_keeps_its_order_when_another_comes():
    _, alone = epoch_order({"a": 40}, {"a": 0.5}, 0, 1)
    source, row = epoch_order({"z": 9, "a": 40}, {"z": 1.0, "a": 0.5}, 0, 1)
    assert set(row[source == 1].tolist()) == set(alone.tolist())


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        ({}, {}, "no source"),
        ({"a": 3}, {"a": 1, "bee": 1}, "unknown sources.*bee"),
        ({"a": 3, "b": 3}, {"a": 1}, r"no weight.*\['b'\]"),
        ({"a": 3}, {"a": 0}, "'a' must be finite and > 0, got 0"),
        ({"a": 3}, {"a": -1.0}, "got -1.0"),
        ({"a": 3}, {"a": float("nan")}, "got nan"),
        ({"a": 3}, {"a": 0.01}, "0.01 takes none of the 3 examples of source 'a'"),
        ({"a": 0}, {"a": 1.0}, "'a' has no examples"),
    ],
)
def test_bad_mixtures_are_named(sizes, weights, message):
    with pytest.raises(ValueError, match=message):
        epoch_order(sizes, weights, 0, 0)


def test_a_million_examples_are_quick():
    start = time.process_time()
    source, _ = epoch_order({"a": 700_000, "b": 300_000}, {"a": 1.0, "b": 1.0}, 0, 0)
    assert len(source) == 1_000_000
    assert time.process_time() - start < 2  # about 0.3 s on one core; slack for busy machines


# --- Mixtures -----------------------------------------------------------------------------------

SIZES = {"videos": 1000, "images": 4000, "notes": 50}


def takes(mixture, tokens=None):
    """Examples of each source in the first epoch, and whether each epoch takes as many."""
    sizes = {name: SIZES[name] for name in SIZES if name in mixture.names}
    weights = mixture.weights(sizes, tokens)
    counts = []
    for epoch in (0, 3):
        source, _ = epoch_order(sizes, weights, 0, epoch)
        counts.append(dict(zip(sizes, np.bincount(source, minlength=len(sizes)), strict=True)))
    assert counts[0] == counts[1]
    return counts[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("videos", {"videos": 1000}),
        ("videos%50,images#20", {"videos": 500, "images": 20}),
        (" videos%150 , notes#75,", {"videos": 1500, "notes": 75}),
        ("images%0.1,videos#1", {"images": 4, "videos": 1}),
    ],
)
def test_mixture_strings(text, expected):
    assert takes(Mixture(parse_mixture(text))) == expected


def test_a_number_is_a_fraction_whatever_its_type_and_only_a_count_counts():
    whole = {"videos": 1000, "notes": 50}
    assert takes(Mixture({"videos": 1, "notes": 1})) == whole
    assert takes(Mixture({"videos": 1.0, "notes": np.int64(1)})) == whole
    assert takes(Mixture({"videos": 2, "notes": Count(1)})) == {"videos": 2000, "notes": 1}
    assert parse_mixture("videos,images%100,notes#1") == {
        "videos": 1.0,
        "images": 1.0,
        "notes": Count(1),
    }


@pytest.mark.parametrize(
    "text", ["videos%", "videos#", "videos#1.5", "videos#-1", "videos%0", "%50", "a%5%5", "a#1#2",
             "a%nan", "a%inf"],
)  # fmt: skip
def test_a_mixture_string_that_cannot_be_read_is_named(text):
    with pytest.raises(ValueError, match="cannot read"):
        parse_mixture(text)
    with pytest.raises(ValueError, match="'a' stands there twice"):
        parse_mixture("a,b,a%50")


def test_shares_are_percentages():
    assert parse_shares("images%10, notes%0.5") == {"images": 0.1, "notes": 0.005}
    assert parse_shares("") == {}
    for text in ("images", "images#10", "more images%5,images"):
        with pytest.raises(ValueError, match=r"\['images'\] have no percentage"):
            parse_shares(text)


@pytest.mark.parametrize(
    ("epoch", "text", "expected"),
    [
        ("smallest", "videos,notes", {"videos": 1000, "notes": 50}),
        # 2 : 1 until the 50 notes, or the 1000 videos, were read once.
        ("smallest", "videos#2,notes#1", {"videos": 100, "notes": 50}),
        ("largest", "videos#2,notes#1", {"videos": 1000, "notes": 500}),
        ("smallest", "videos%50,images%10", {"videos": 1000, "images": 800}),
        ("largest", "videos%50,images%10", {"videos": 5000, "images": 4000}),
    ],
)
def test_the_epoch_ends_with_the_smallest_or_the_largest_set(epoch, text, expected):
    assert takes(Mixture(parse_mixture(text), epoch)) == expected


def test_replay_by_examples_is_exact():
    mixture = Mixture(
        {"videos": 0.9}, replay={"images": 0.08, "notes": 0.02}, replay_unit="examples"
    )
    assert takes(mixture) == {"videos": 900, "images": 80, "notes": 20}


def test_replay_by_tokens_holds_in_what_is_drawn():
    rng = np.random.default_rng(0)
    columns = {
        "videos": {"tokens": rng.integers(500, 4000, 1000)},
        "images": {"tokens": rng.integers(100, 600, 4000)},
        "notes": {"tokens": rng.integers(5, 60, 50)},
    }
    sizes = {name: len(of["tokens"]) for name, of in columns.items()}
    totals = {name: int(of["tokens"].sum()) for name, of in columns.items()}
    mixture = Mixture({"videos": 1.0}, replay={"images": 0.1, "notes": 0.01})
    mix = realised_mix(mixture.weights(sizes, totals), columns, seed=5)
    whole = sum(of["tokens"] for of in mix.values())
    assert mix["videos"] == {"examples": 1000, "tokens": totals["videos"]}
    assert mix["images"]["tokens"] / whole == pytest.approx(0.1, rel=0.02)
    assert mix["notes"]["tokens"] / whole == pytest.approx(0.01, rel=0.02)
    # Without a column the mix is counted by hand.
    source, row = epoch_order(sizes, mixture.weights(sizes, totals), 5, 0)
    for i, name in enumerate(sizes):
        by_hand = sum(int(columns[name]["tokens"][r]) for s, r in zip(source, row) if s == i)  # noqa: B905
        assert mix[name] == {"examples": int((source == i).sum()), "tokens": by_hand}


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("epoch is 'first'", {"epoch": "first"}),
        ("unit of replay is 'words'", {"replay_unit": "words"}),
        ("less than 1 together", {"replay": {"images": 0.6, "notes": 0.4}}),
        ("above 0", {"replay": {"images": 0.0}}),
        (r"\['videos'\] have an amount and a share", {"replay": {"videos": 0.5}}),
        ("no source beside those of replay", {"amounts": {}, "replay": {"images": 0.5}}),
    ],
)
def test_mixtures_that_make_no_sense_are_named(message, options):
    with pytest.raises(ValueError, match=message):
        Mixture(**{"amounts": {"videos": 1.0}} | options)


def test_the_sources_must_be_those_of_the_mixture():
    with pytest.raises(ValueError, match=r"\['notes'\] are not among both"):
        Mixture({"videos": 1.0}).weights({"videos": 5, "notes": 5})
