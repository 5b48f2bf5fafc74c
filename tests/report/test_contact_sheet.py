import io
from typing import Any

from PIL import Image

from ml_images.report.contact_sheet import render_contact_sheet
from ml_images.report.examples import COLUMNS, HostOutcomes, SheetContents


def row(key: str, outcome: str = "ok", **known: Any) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), "key": key, "outcome": outcome, "attempts": 1, **known}


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 90, 30)).save(out, "JPEG")
    return out.getvalue()


def test_pictures_are_inside_and_failures_say_what_was_seen() -> None:
    examples = [
        row("k1", thumbnail=jpeg(), width=300, height=200),
        row("k2", "not_found", url="http://h/2", final_url="http://h/2", status=404),
        row("http://h/3", "timeout", url="http://h/3", final_url="http://h/3", detail="no byte for 10 s"),
    ]
    hosts = [HostOutcomes("h", {"ok": 1, "not_found": 5, "timeout": 2})]
    contents = SheetContents({"ok": 1, "timeout": 2, "not_found": 5}, hosts, examples)
    page = render_contact_sheet("What was fetched", contents, "today")
    assert page.count("data:image/jpeg;base64,") == 1
    assert "no byte for 10 s" in page and ">404<" in page and "the key" in page
    assert "87.5 %" in page  # of the host's rows were lost, mostly as not_found
    assert "http-equiv" in page and "<script" not in page and 'src="http' not in page


def test_text_from_outside_is_shown_as_text() -> None:
    evil = '<img src=x onerror="alert(1)">\x1b[2J'
    contents = SheetContents({"undecodable": 1}, [], [row(evil, "undecodable", detail=evil)])
    page = render_contact_sheet(evil, contents, "today")
    assert "<img src=x" not in page and "\x1b" not in page


def test_the_worst_of_a_host_is_its_most_frequent_loss() -> None:
    host = HostOutcomes("h", {"ok": 9, "not_found": 2, "timeout": 3})
    assert (host.rows, host.lost, host.commonest_loss) == (14, 5, "timeout")


def test_a_table_where_all_is_well_or_nothing_is_there() -> None:
    contents = SheetContents({"ok": 1}, [], [row("k", thumbnail=jpeg())])
    assert "Examples of what was lost" not in render_contact_sheet("t", contents, "today")
    assert "0 rows" in render_contact_sheet("t", SheetContents({}, [], []), "today")
