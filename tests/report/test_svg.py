import re
import sys
from xml.etree import ElementTree

import matplotlib

from ml_images.report.svg import canvas, inline


def drawn(name, alt="a line"):
    with canvas() as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], marker="o", gid="line")
        axes.set_xlabel("<b> & $x$")
        return inline(figure, name, "title", alt)


def test_equal_figures_have_equal_bytes():
    assert drawn("one").svg == drawn("one").svg


def test_it_is_well_formed_and_names_nothing_outside():
    svg = drawn("one").svg
    assert ElementTree.fromstring(svg).tag == "svg"
    assert "http" not in svg
    assert "<metadata" not in svg


def test_ids_of_two_figures_do_not_meet_and_every_reference_has_its_id():
    a, b = (drawn(name).svg for name in ("one", "two"))
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (a, b)]
    assert ids[0].isdisjoint(ids[1])
    assert "one-line" in ids[0]
    references = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', a))
    assert references
    assert references <= ids[0]


def test_the_alternative_text_is_escaped():
    root = ElementTree.fromstring(drawn("one", alt='"<x> & y').svg)
    assert root.attrib["aria-label"] == '"<x> & y'


def test_dollars_in_a_name_are_dollars():
    with canvas() as figure:
        figure.text(0.5, 0.5, "cash $a_b_c$ and $x_{1$")
        assert "cash $a_b_c$ and $x_{1$" in inline(figure, "name", "title", "alt").svg


def test_drawing_leaves_matplotlibs_settings_alone_and_needs_no_pyplot():
    before = dict(matplotlib.rcParams)
    had_pyplot = "matplotlib.pyplot" in sys.modules
    drawn("one")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_settings_of_the_user_do_not_show():
    plain = drawn("one").svg
    with matplotlib.rc_context({"lines.linestyle": "--", "axes.labelpad": 40.0}):
        assert drawn("one").svg == plain
