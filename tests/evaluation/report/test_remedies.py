"""Figures of remedies, which are many: each has its place, and policies keep theirs."""

import pytest

from configs import demo
from evaluation.report import compare
from evaluation.report.figures import remedies, tradeoff
from evaluation.report.figures.scores import draw_remedies_tasks, draw_tasks
from evaluation.report.figures.style import LIGHT, group_looks, looks
from evaluation.report.read_study import read_study
from evaluation.report.sections import make_document
from tests.evaluation.report.synthetic_study import write_study

POLICIES = ("fixed-2", "hybrid")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remedies")
    write_study(folder, questions=24, policies=POLICIES, remedies=tuple(demo.REMEDIES))
    return read_study(folder)


def test_a_row_for_each_remedy_and_its_policy_best_on_images_first(study):
    found = remedies.rows(study)
    names = [group.label for group, _ in found]
    assert sorted(names) == sorted(["hybrid", *(f"hybrid + {each}" for each in demo.REMEDIES)])
    images = [changes["image"].mean for _, changes in found]
    assert images == sorted(images, reverse=True)
    (group, changes) = found[3]
    which = compare.of_modality(study, "video")
    assert changes["video"] == compare.gain(study, group.shown, which)

    rows = remedies.draw(study, LIGHT).axes[0].get_yticklabels()
    assert [text.get_text() for text in rows] == names


def test_a_policy_looks_the_same_with_remedies_beside_it(study):
    by_group = group_looks(study)
    for policy, look in looks(study.policies).items():
        assert by_group[study.label(policy)] == look


def _columns(plot):
    return [text.get_text() for text in plot.axes[0].get_xticklabels() if text.get_text()]


def test_tasks_have_two_figures_that_can_be_read(study):
    assert _columns(draw_tasks(study, LIGHT)) == list(POLICIES)
    plot = draw_remedies_tasks(study, LIGHT)
    names = _columns(plot)
    assert names[0] == "hybrid" and len(names) == 1 + len(demo.REMEDIES)
    plot.canvas.draw()
    cells = sorted(
        (each.get_window_extent() for each in plot.axes[0].texts), key=lambda box: (box.y0, box.x0)
    )
    beside = [(a, b) for a, b in zip(cells, cells[1:], strict=False) if a.y0 == b.y0]
    assert beside and all(a.x1 <= b.x0 for a, b in beside)
    by_title = {section.title: section for section in make_document(study).sections}
    assert [f.name for f in by_title["By task"].figures] == ["tasks", "tasks_of_remedies"]
    assert [f.name for f in by_title["The trade-off"].figures] == ["tradeoff", "remedies"]


def test_names_in_the_trade_off_cover_neither_each_other_nor_a_point(study):
    plot = tradeoff.draw(study, LIGHT)
    plot.canvas.draw()
    names = [each for each in plot.axes[0].texts if each.get_text() in POLICIES]
    boxes = [tradeoff.Text.get_window_extent(each) for each in names]
    assert len(boxes) == len(POLICIES) and not boxes[0].overlaps(boxes[1])
    for box in boxes:
        for each in names:
            assert not box.contains(*plot.axes[0].transData.transform(each.xy))
