import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.jobs import download, extract
from ml_images.sample.server import serve
from ml_images.storage import tables


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def tar_of(members: dict[str, bytes], *links: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write_labels(folder: Path, keys: list[str]) -> None:
    rows = [{"key": key, "source": "s", "classes": [0], "confidences": [1.0], "origins": [0]} for key in keys]
    tables.write_table(str(folder), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))


def images_of(output: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(output / "images").to_pylist()
    assert max(Counter(row["key"] for row in rows).values()) == 1
    return {row["key"]: row for row in rows}


PICTURES = {
    f"n0000000{synset}/n0000000{synset}_{number}.JPEG": picture(10 * synset + number)
    for synset in range(1, 7)
    for number in range(6)
}


def of_synset(synset: int) -> dict[str, bytes]:
    folder = f"n0000000{synset}/"
    return {name.removeprefix(folder): data for name, data in PICTURES.items() if name.startswith(folder)}


@pytest.fixture
def world(spark: object, tmp_path: Path) -> Path:
    """Synsets 1 and 2 as a tar of tars, 3 as tar.gz, 4 as a zip, 5 in a folder; 6 is cut off; some twice, some bad."""
    folder = tmp_path / "in"
    (folder / "pictures/n00000005").mkdir(parents=True)
    inner = {f"n0000000{synset}.tar": tar_of(of_synset(synset)) for synset in (1, 2)}
    inner["n00000001.tar"] = tar_of(of_synset(1) | {"n00000001_bad.JPEG": b"<html>no picture"}, "n00000001_link.JPEG")
    (folder / "a_whole.tar").write_bytes(tar_of(inner))
    (folder / "n00000003.tar.gz").write_bytes(gzip.compress(tar_of(of_synset(3))))
    with zipfile.ZipFile(folder / "z.zip", "w") as packed:
        for name, data in of_synset(4).items():
            packed.writestr(f"n00000004/{name}", data)
        packed.writestr("n00000001/n00000001_0.JPEG", picture(99))  # the tar's comes first
        packed.writestr("x/1.jpg", picture(100))
    for name, data in of_synset(5).items():
        (folder / "pictures/n00000005" / name).write_bytes(data)
    (folder / "pictures/1.jpg").write_bytes(picture(101))
    whole = tar_of(of_synset(6))
    (folder / "n00000006.tar").write_bytes(whole[: len(whole) // 2 + 700])
    return folder


BAD = ["n00000001/n00000001_bad.JPEG", "n00000001/n00000001_link.JPEG", "n00000001/n00000001_gone.JPEG", "1.jpg"]


def test_archives_of_all_kinds_become_one_images_table(world: Path, tmp_path: Path) -> None:
    keys = [*PICTURES, *BAD, "https://example.com/not/asked/for.jpg"]
    write_labels(tmp_path / "labels", keys)
    archives = [str(world / name) for name in ("a_whole.tar", "n*", "z.zip", "pictures")]
    argv = [f"archives={json.dumps(archives)}", f"labels={tmp_path}/labels", f"output={tmp_path}/out"]
    assert extract.main(argv) == 0
    rows = found = images_of(tmp_path / "out")
    assert set(rows) == {*PICTURES, *BAD}
    for part in (tmp_path / "out/images").glob("*.parquet"):
        assert pq.read_schema(part).equals(schemas.IMAGES)
    sixth = [key for key in PICTURES if key.startswith("n00000006")]
    for key in PICTURES.keys() - set(sixth):
        row = rows[key]
        assert (row["outcome"], row["original_width"], row["original_height"]) == ("ok", 50, 40)
        assert row["sha256"] == hashlib.sha256(PICTURES[key]).digest()
        assert (row["url"], row["attempts"], row["original_bytes"]) == (None, 1, len(PICTURES[key]))
        assert row["detail"].endswith(key.partition("/")[2]) and str(world) in row["detail"]
        with Image.open(io.BytesIO(row["data"])) as stored:
            assert stored.size == (50, 40)
    outcomes = [rows[key]["outcome"] for key in sixth]
    assert set(outcomes) == {"ok", "truncated", "not_in_archive"} and outcomes.count("truncated") == 1
    assert {key: rows[key]["outcome"] for key in BAD} == {
        BAD[0]: "not_an_image",
        BAD[1]: "unsafe_member",
        BAD[2]: "not_in_archive",
        BAD[3]: "not_in_archive",  # two files have that name
    }
    assert "ambiguous" in rows["1.jpg"]["detail"] and rows["1.jpg"]["data"] is None
    assert "symbolic link" in rows[BAD[1]]["detail"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["members"]["members found again"] == 2
    assert report["counts"]["members"]["archives truncated"] == 1
    assert ["n00000006.tar: truncated" in line for line in report["problems"]] == [True]

    # The same again: nothing is left to do. With the whole archive: only what it can add.
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out/images").glob("*.parquet")}
    assert extract.main(argv) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["keys"]["asked for"] == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out/images").glob("*.parquet")} == before
    (world / "n00000006.tar").write_bytes(tar_of(of_synset(6)))
    assert extract.main(argv) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["keys"]["asked for"] == sum(outcome != "ok" for outcome in outcomes) + len(BAD)
    rows = images_of(tmp_path / "out")
    assert all(rows[key]["outcome"] == "ok" for key in PICTURES)
    assert {key: rows[key]["outcome"] for key in BAD} == {key: found[key]["outcome"] for key in BAD}


def test_what_an_option_or_a_missing_library_has_refused_is_asked_for_again_with_another(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key for key in PICTURES if key.startswith("n00000001")]
    write_labels(tmp_path / "labels", [*keys, "x/lzma.jpg"])
    with zipfile.ZipFile(world / "a_lzma.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("x/lzma.jpg", picture(7))
    argv = [f"archives={world}/a_*", f"labels={tmp_path}/labels", f"output={tmp_path}/out", "max_loss=1"]

    def run(*given: str) -> tuple[int, set[str]]:
        assert extract.main([*argv, *given]) == 0
        report = json.loads((tmp_path / "out/report.json").read_text())
        return report["counts"]["keys"]["asked for"], {row["outcome"] for row in images_of(tmp_path / "out").values()}

    refused = {"too_small", "unsupported_format"}  # they are 50x40
    assert run("extract.image.min_side=41") == (7, refused)
    assert run("extract.image.min_side=41") == (0, refused)
    with monkeypatch.context() as patch:
        patch.setattr("ml_images.spark.run_options.optional_formats", list)  # as where one is no longer installed
        assert run("extract.image.min_side=41") == (1, refused)
    assert run() == (7, {"ok", "unsupported_format"})
    assert run("extract.image.min_side=41") == (0, {"ok", "unsupported_format"})


def test_what_a_crash_has_staged_is_not_read_again(world: Path, tmp_path: Path) -> None:
    write_labels(tmp_path / "labels", list(PICTURES))
    argv = [f"archives={world / 'a_whole.tar'}", f"labels={tmp_path}/labels", f"output={tmp_path}/out", "max_loss=1"]
    assert extract.main(argv) == 0
    images = tmp_path / "out/images"
    first = images_of(tmp_path / "out")
    # As a crash before publishing leaves it: parts of run 1 staged, nothing visible, an index lying about.
    (images / "_SUCCESS").unlink()
    (images / "_staging/_asked-0").mkdir(parents=True)
    (images / "_staging/_asked-0/digests").write_bytes(b"old")
    for part in images.glob("*.parquet"):
        shutil.move(part, images / "_staging" / part.name)
    os.truncate(world / "a_whole.tar", 512)  # a second look would find nothing
    assert extract.main(argv) == 0
    again = images_of(tmp_path / "out")
    assert {key: row for key, row in again.items() if row["outcome"] == "ok"} == {
        key: row for key, row in first.items() if row["outcome"] == "ok"
    }
    assert set(again) == set(PICTURES)
    assert not list((images / "_staging").iterdir())


def test_extract_goes_into_the_folder_of_a_download(world: Path, tmp_path: Path) -> None:
    url = "https://example.com/1.jpg"
    write_labels(tmp_path / "labels", [*PICTURES, url])
    images = str(tmp_path / "out/images")
    tables.claim(str(tmp_path / "out"), "download")
    row: dict[str, Any] = dict.fromkeys(schemas.IMAGES.names)
    now = pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()
    rows = [
        row | {"key": key, "outcome": outcome, "attempts": 1, "elapsed_ms": 0, "fetched_at": now}
        for key, outcome in [(url, "not_found"), *((key, "no_url") for key in PICTURES)]
    ]
    tables.claim(images, "images")
    tables.write_part(
        f"{images}/part-0001-000000-00000000-000000.parquet", pa.Table.from_pylist(rows, schema=schemas.IMAGES)
    )
    tables.mark_done(images)
    argv = [f"archives={world}", f"labels={tmp_path}/labels", f"output={tmp_path}/out"]
    assert extract.main(argv) == 0
    found = images_of(tmp_path / "out")
    assert set(found) == {*PICTURES, url}
    assert found[url]["outcome"] == "not_found"
    num_ok = Counter(row["outcome"] for row in found.values())["ok"]
    assert num_ok > 30


def test_the_reports_of_both_jobs_are_kept_and_the_contact_sheet_shows_the_table_of_both(
    world: Path, tmp_path: Path
) -> None:
    url = "http://127.0.0.1:1/1.jpg"
    write_labels(tmp_path / "labels", [*PICTURES, url, BAD[0]])
    there = [f"labels={tmp_path}/labels", f"output={tmp_path}/out", "max_loss=1"]
    assert download.main(there) == 0
    assert extract.main([*there, f"archives={world}"]) == 0
    told = {
        name: json.loads((tmp_path / "out" / f"{name}.json").read_text())
        for name in ("report", "report-download", "report-extract")
    }
    assert [one["job"] for one in told.values()] == ["extract", "download", "extract"]
    assert told["report"] == told["report-extract"]
    assert told["report-download"]["counts"]["keys"]["keys"] == len(PICTURES) + 2
    sheet = (tmp_path / "out/contact_sheet.html").read_text()
    rows = images_of(tmp_path / "out").values()
    assert sheet.count("data:image/jpeg") == sum(row["outcome"] == "ok" for row in rows) > 30
    assert f"{len(PICTURES) + 2} rows of the table" in sheet
    assert "a_whole.tar:n00000001.tar:n00000001_bad.JPEG" in sheet
    assert "address_refused" in sheet and "127.0.0.1" in sheet


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels", ["a/1.jpg"])
    argv = [f"labels={tmp_path}/labels", f"output={tmp_path}/out"]
    with pytest.raises(InputError, match=r"archive .* does not exist"):
        extract.main([f"archives={tmp_path}/gone.tar", *argv])
    with pytest.raises(InputError, match="max_ratio must be at least 1"):
        extract.main(["archives=a.tar", *argv, "extract.max_ratio=0"])


def outcomes_of(output: Path) -> dict[str, str]:
    return {key: row["outcome"] for key, row in images_of(output).items()}


def test_what_one_archive_has_broken_another_one_or_a_url_may_give_and_the_other_way_round(
    spark: object, tmp_path: Path
) -> None:
    write_labels(tmp_path / "labels", [f"n1/{number}.jpg" for number in range(4)])
    argv = [f"labels={tmp_path}/labels", f"output={tmp_path}/out", "max_loss=1"]
    broken = tmp_path / "broken/n1.tar"
    for folder, members in {
        broken: {"0.jpg": b"<html>", "1.jpg": picture(1)[:200], "2.jpg": b"<html>"},
        tmp_path / "mended/n1.tar": {"1.jpg": picture(1)},
        tmp_path / "web/n1.tar": {"3.jpg": picture(3)},
    }.items():
        folder.parent.mkdir()
        folder.write_bytes(tar_of(members))
    assert extract.main([*argv, f"archives={broken}"]) == 0
    first = {"n1/0.jpg": "not_an_image", "n1/1.jpg": "undecodable", "n1/2.jpg": "not_an_image"}
    assert outcomes_of(tmp_path / "out") == first | {"n1/3.jpg": "not_in_archive"}
    assert extract.main([*argv, f"archives={tmp_path}/mended"]) == 0
    rows = images_of(tmp_path / "out")  # what is known of a key stays where others know nothing
    assert outcomes_of(tmp_path / "out") == first | {"n1/1.jpg": "ok", "n1/3.jpg": "not_in_archive"}
    assert "broken" in rows["n1/0.jpg"]["detail"] and rows["n1/0.jpg"]["original_bytes"] == 6
    parts = sorted((tmp_path / "out/images").iterdir())
    assert extract.main([*argv, f"archives={tmp_path}/mended"]) == 0
    assert sorted((tmp_path / "out/images").iterdir()) == parts
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/0.jpg").write_bytes(picture(0))
    with serve(tmp_path / "pictures") as server:
        lines = ["id,url", f"n1/0.jpg,{server.url}0.jpg", f"n1/2.jpg,{server.url}-/fault/status=500/0.jpg"]
        lines.append(f"n1/3.jpg,{server.url}gone.jpg")
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
        fetch = [*argv, f"urls={tmp_path}/list.csv", "columns.key=id", "download.fetch.allow_private=true"]
        assert download.main(fetch) == 0
        fetched = {"n1/0.jpg": "ok", "n1/1.jpg": "ok", "n1/2.jpg": "server_error", "n1/3.jpg": "not_found"}
        assert outcomes_of(tmp_path / "out") == fetched
        assert extract.main([*argv, f"archives={tmp_path}/web"]) == 0
        assert outcomes_of(tmp_path / "out") == fetched | {"n1/3.jpg": "ok"}
        asked = []
        for job, words in ((extract, [*argv, f"archives={tmp_path}/web"]), (download, fetch)):
            before = Counter(server.requests())
            assert job.main(words) == 0
            asked.append(set(Counter(server.requests()) - before) - {"/robots.txt"})
            assert outcomes_of(tmp_path / "out") == fetched | {"n1/3.jpg": "ok"}
        assert asked == [set(), {"/-/fault/status=500/0.jpg"}]  # which deserves another try of the host alone
        report = json.loads((tmp_path / "out/report-extract.json").read_text())
        assert report["counts"]["keys"]["asked for"] == 0


def test_what_a_crash_of_extract_left_is_settled_by_a_download_and_what_was_not_read_is_asked_for_again(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(tmp_path / "labels", ["n1/1.jpg", "bare.jpg", "n1/2.jpg"])
    for folder, members in {
        "a": {"1.jpg": picture(1), "bare.jpg": picture(3)},
        "b": {"1.jpg": b"<html>", "bare.jpg": picture(4), "2.jpg": b"<html>"},
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "n1.tar").write_bytes(tar_of(members))
    argv = [f"labels={tmp_path}/labels", f"output={tmp_path}/out", "max_loss=1"]
    archives = f"archives=[{tmp_path}/a/n1.tar,{tmp_path}/b/n1.tar]"

    def killed(*_: object) -> list[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ml_images.spark.extract._require_parts", killed)
        extract.main([*argv, archives])
    assert len(list((tmp_path / "out/images/_staging").glob("part-*"))) >= 2
    assert download.main(argv) == 0
    settled = {"n1/1.jpg": "ok", "bare.jpg": "not_in_archive", "n1/2.jpg": "not_an_image"}
    assert outcomes_of(tmp_path / "out") == settled
    assert extract.main([*argv, archives]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["keys"]["asked for"] == 2  # nobody knows what a run that was cut short did not see
    assert outcomes_of(tmp_path / "out") == settled


def test_names_that_are_no_utf_8_cost_nothing(spark: object, tmp_path: Path) -> None:
    names = [b"gr\xf6\xdfe/n00000001_1.JPEG", b"\xf6.tar", b"bad/\xf6.jpg", b"good/2.jpg"]
    contents = [picture(1), bytes(range(256)) * 4, b"<html>", picture(2)]
    members = {name.decode("utf-8", "surrogateescape"): data for name, data in zip(names, contents, strict=True)}
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "latin.tar").write_bytes(tar_of(members))
    (folder / "fine.jpg").write_bytes(picture(3))
    (folder / os.fsdecode(b"gr\xf6\xdfe.jpg")).write_bytes(picture(4))
    below = folder / os.fsdecode(b"\xf6")
    below.mkdir()
    (below / "5.jpg").write_bytes(picture(5))
    given = tmp_path / os.fsdecode(b"\xfc.tar")  # named by the user himself
    given.write_bytes(tar_of({"6.jpg": picture(6)}))
    keys = ["n00000001/n00000001_1.JPEG", r"bad/\xf6.jpg", "good/2.jpg", "in/fine.jpg", r"in/\xf6/5.jpg", r"\xfc/6.jpg"]
    write_labels(tmp_path / "labels", keys)
    argv = [f"archives={json.dumps([str(folder), str(given)])}", f"labels={tmp_path}/labels", f"output={tmp_path}/out"]
    assert extract.main(argv) == 0
    rows = images_of(tmp_path / "out")
    assert {key: rows[key]["outcome"] for key in keys} == {**dict.fromkeys(keys, "ok"), keys[1]: "not_an_image"}
    assert rows[keys[0]]["detail"] == rf"{folder}/latin.tar:gr\xf6\xdfe/n00000001_1.JPEG"
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [line.partition(": corrupt")[0] for line in report["problems"]] == [rf"{folder}/latin.tar:\xf6.tar"]
