import io
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from ml_images.report.examples import HostOutcomes
from ml_images.schemas import IMAGES
from ml_images.spark.contact_sheet import gather
from ml_images.storage import tables

_OUT = io.BytesIO()
Image.new("RGB", (40, 30)).save(_OUT, "JPEG")
PICTURE = _OUT.getvalue()


def row(key: str, outcome: str, url: str | None) -> dict[str, Any]:
    now = pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()
    known = {"key": key, "outcome": outcome, "url": url, "attempts": 1, "elapsed_ms": 0, "fetched_at": now}
    return dict.fromkeys(IMAGES.names) | known | {"data": PICTURE if outcome == "ok" else None}


def test_the_hosts_that_lost_most_come_first_however_they_are_spelled(spark: Any, tmp_path: Path) -> None:
    urls = {
        "http://b.example/1": ["ok", "not_found", "timeout", "not_found"],
        "HTTPS://B.example:8443/2?x=@y": ["not_found"],
        "http://[2001:db8::1]:80/": ["server_error", "server_error"],
        "https://a.example": ["timeout"],
        "http://fine.example/1": ["ok"],
    }
    rows = [row(f"{url} {n}", outcome, url) for url, found in urls.items() for n, outcome in enumerate(found)]
    rows += [row(f"bad {url}", "bad_url", url) for url in ("http://[broken/1", "http:///2", "ftp://a.example/3")]
    rows.append(row("of an archive", "not_in_archive", None))
    tables.claim(str(tmp_path), "images")
    for number in range(2):
        part = pa.Table.from_pylist(rows[number::2], schema=IMAGES)
        tables.write_part(f"{tmp_path}/part-0001-{number:06d}.parquet", part)
    tables.mark_done(str(tmp_path))
    sheet = gather(spark, str(tmp_path))
    assert sheet.hosts == [
        HostOutcomes("b.example", {"ok": 1, "not_found": 3, "timeout": 1}),
        HostOutcomes("[2001:db8::1]", {"server_error": 2}),
        HostOutcomes("a.example", {"timeout": 1}),
    ]
    assert [(host.lost, host.commonest_loss) for host in sheet.hosts] == [
        (4, "not_found"),
        (2, "server_error"),
        (1, "timeout"),
    ]
    assert sheet.outcomes == {
        "ok": 2,
        "not_found": 3,
        "timeout": 2,
        "server_error": 2,
        "not_in_archive": 1,
        "bad_url": 3,
    }
