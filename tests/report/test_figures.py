"""Figures as pieces of a page."""

from __future__ import annotations

from xml.etree import ElementTree

from service.measures.intervals import Estimate
from service.report.figures import draw_groups
from service.report.findings import Group, Groups


def test_names_of_groups_stand_in_a_figure_as_they_are() -> None:
    names = ['"quoted" <b> & co', "$x_$", "up to $50"]
    rate = Estimate.of_share(1, 100)
    groups = Groups.of('age "band" <i>', 1e-3, 0.4, [Group(name, 2, 3, rate, None) for name in names], 0)
    svg = ElementTree.fromstring(draw_groups(groups))
    assert svg.get("aria-label") == 'Error rates by age "band" <i>'
    assert set(names) <= {"".join(node.itertext()) for node in svg.iter("{http://www.w3.org/2000/svg}text")}
