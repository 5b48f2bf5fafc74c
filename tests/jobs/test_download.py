import base64
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml_images import entry, outcomes, schemas
from ml_images.errors import InputError
from ml_images.images.config import ImageConfig
from ml_images.images.resize import shrink
from ml_images.jobs import download
from ml_images.sample.server import Server, serve
from ml_images.storage import tables
from ml_images.storage.lock import locked

ROOT = Path(__file__).parents[2]


def images_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "images").to_pylist()
    return rows


def test_one_row_for_every_distinct_key_with_the_outcome_it_deserves(chain: Any) -> None:
    rows = images_of(chain.download)
    wanted = json.loads((chain.world / "expected.json").read_text())["keys"]
    assert Counter(row["key"] for row in rows) == Counter(wanted.keys())
    assert {row["key"]: row["outcome"] for row in rows} == {key: value["outcome"] for key, value in wanted.items()}


def test_only_ok_rows_carry_a_picture_and_it_is_upright_rgb_jpeg(chain: Any) -> None:
    wanted = json.loads((chain.world / "expected.json").read_text())["keys"]
    for row in images_of(chain.download):
        assert (row["data"] is not None) == (row["outcome"] == "ok")
        if row["data"] is not None:
            with Image.open(io.BytesIO(row["data"])) as picture:
                assert (picture.format, picture.mode) == ("JPEG", "RGB")
                assert picture.size == (row["width"], row["height"])
                assert not picture.getexif()
            expected = wanted[row["key"]]
            assert (row["original_width"], row["original_height"]) == (expected["width"], expected["height"])


def test_the_digest_is_of_the_bytes_as_received(chain: Any) -> None:
    wanted = json.loads((chain.world / "expected.json").read_text())["keys"]
    plain = [row for row in images_of(chain.download) if row["outcome"] == "ok" and row["status"] == 200]
    for row in plain[:20]:
        content = (chain.world / "pictures" / wanted[row["key"]]["picture"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).digest()
        assert row["original_bytes"] == len(content)
        assert row["data"] == shrink(content, ImageConfig()).data
        assert row["detail"] is None


def test_columns_are_the_contract(chain: Any) -> None:
    for part in (chain.download / "images").glob("*.parquet"):
        assert pq.read_schema(part).equals(schemas.IMAGES)


def test_no_plan_fetches_a_url_twice(chain: Any) -> None:
    """One request for what is well, as many attempts as the row says for what is not."""
    attempts = {urlsplit(row["url"]).path: row["attempts"] for row in images_of(chain.download) if row["status"] == 200}
    once = {path: count for path, count in chain.requests.items() if path in attempts and "/-/" not in path}
    assert len(once) > 50
    assert {path: attempts[path] for path in once} == once


def test_a_rerun_fetches_only_what_deserves_it(chain: Any, spark: object, tmp_path: Path) -> None:
    shutil.copytree(chain.download, tmp_path / "download")
    before = {row["key"]: row for row in images_of(tmp_path / "download")}
    images = tmp_path / "download" / "images"
    final = {part.name: part.stat().st_mtime_ns for part in images.glob("*[0-9].parquet")}
    argv = [word if "output=" not in word else f"output={tmp_path / 'download'}" for word in chain.download_argv]
    assert download.main(argv) == 0
    assert final.items() <= {part.name: part.stat().st_mtime_ns for part in images.glob("*.parquet")}.items()
    after = {row["key"]: row for row in images_of(tmp_path / "download")}
    again = {key for key in before if after[key]["fetched_at"] != before[key]["fetched_at"]}
    assert again == {key for key, row in before.items() if row["outcome"] in outcomes.RETRYABLE}
    assert len(images_of(tmp_path / "download")) == len(before)
    report = json.loads((tmp_path / "download" / "report.json").read_text())
    assert report["counts"]["keys"] == {
        "keys": len(before),
        "already_there": len(before) - len(again),
        "fetched": len(again),
        "found to be placeholders": 0,
    }


@pytest.fixture
def pictures(tmp_path: Path, spark: object) -> Any:
    """A labels table of 40 good pictures, served; (server, argv, keys)."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    keys = [f"im_{number}.png" for number in range(40)]
    for number, key in enumerate(keys):
        Image.new("RGB", (40, 30), (number * 6, 90, 200)).save(folder / key)
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in keys]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    with serve(folder) as server:
        argv = [f"labels={tmp_path / 'labels'}", f"output={tmp_path / 'out'}", f"download.base_url={server.url}"]
        yield server, [*argv, "download.fetch.allow_private=true", "download.fetch.attempts=1"], keys


def fetched(server: Server) -> Counter[str]:
    """How often each picture was asked for."""
    return Counter({path: count for path, count in server.requests().items() if path != "/robots.txt"})


def test_what_an_interrupted_run_fetched_is_kept_and_not_fetched_again(pictures: Any, tmp_path: Path) -> None:
    server, argv, keys = pictures
    assert download.main(argv) == 0
    images = tmp_path / "out" / "images"
    # As a kill in the middle leaves it: some parts staged, the others never written, nothing published.
    parts = sorted(images.glob("*.parquet"))
    (images / "_staging").mkdir(exist_ok=True)
    for part in parts[:3]:
        part.rename(images / "_staging" / part.name)
    lost = {key for part in parts[3:] for key in pq.read_table(part)["key"].to_pylist()}
    for part in parts[3:]:
        part.unlink()
    (images / "_SUCCESS").unlink()
    (images / "_staging" / ".part-0001-000009.parquet.half").write_bytes(b"PAR1 half a file")
    assert download.main(argv) == 0
    assert Counter(row["key"] for row in images_of(tmp_path / "out")) == Counter(keys)
    assert {path.removeprefix("/") for path, count in fetched(server).items() if count == 2} == lost


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_lose_nothing_that_was_written(
    number: signal.Signals, pictures: Any, tmp_path: Path, commands: dict[str, str]
) -> None:
    """The whole process group gets the signal in the middle of the run; the same command then finishes the table."""
    server, argv, keys = pictures
    keys = [*keys, "-/fault/silent/im_0.png"]  # holds its chunk for 3 s
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in keys]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    argv = [*argv, "download.fetch.read_timeout_s=3", "part.rows=1", "download.politeness.requests_per_s=20"]
    command = ["spark-submit", "--master", "local[1]", str(ROOT / "jobs" / "download.py"), *argv]
    process = subprocess.Popen(
        command, env=commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    staging = tmp_path / "out" / "images" / "_staging"
    deadline = time.monotonic() + 60
    while len(list(staging.glob("part-*.parquet"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, number)
    told, _ = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert process.returncode == entry.INTERRUPTED
        assert "\ninterrupted; the same command goes on from here\n" in told
        assert "Traceback" not in told
    time.sleep(0.5)  # the workers end when they notice that the JVM is gone
    kept = {key for part in staging.glob("part-*.parquet") for key in pq.read_table(part)["key"].to_pylist()}
    assert len(kept) < len(keys)
    assert download.main(argv) == 0
    assert Counter(row["key"] for row in images_of(tmp_path / "out")) == Counter(keys)
    final = kept - {"-/fault/silent/im_0.png"}  # a timeout deserves another try
    assert {key: fetched(server)[f"/{key}"] for key in final} == dict.fromkeys(final, 1)


def test_rows_do_not_wait_for_a_slow_url_to_be_written(pictures: Any, tmp_path: Path) -> None:
    _, argv, keys = pictures
    slow = "-/fault/silent/im_0.png"
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in [*keys, slow]]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    assert download.main([*argv, "download.fetch.read_timeout_s=3", "part.seconds=0.2"]) == 0
    parts = (tmp_path / "out" / "images").glob("part-*.parquet")
    (part,) = (part for part in parts if slow in pq.read_table(part)["key"].to_pylist())
    assert (
        int(part.name.removesuffix("-again.parquet").rpartition("-")[2]) > 0
    )  # others of its task were written before


def test_a_crash_between_publishing_steps_is_repaired_by_the_next_run(
    pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, argv, keys = pictures
    with monkeypatch.context() as patch:
        patch.setattr(tables, "move_staged", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            download.main(argv)
    with pytest.raises(InputError, match="not finished"):
        tables.require(str(tmp_path / "out" / "images"), "images")
    assert download.main(argv) == 0
    assert Counter(row["key"] for row in images_of(tmp_path / "out")) == Counter(keys)
    assert set(fetched(server).values()) == {1}


def test_a_part_that_a_worker_stages_while_its_run_is_published_is_nobodys(
    pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, argv, keys = pictures
    staging, begin = tmp_path / "out" / "images" / "_staging", tables.begin_publishing
    stray = staging / "part-0001-00000000-000099-00000000-000000.parquet"

    def begin_as_a_part_comes(location: str) -> None:
        if not stray.exists():
            shutil.copy(sorted(staging.glob("part-*.parquet"))[0], stray)
        begin(location)

    with monkeypatch.context() as patch:
        patch.setattr(tables, "begin_publishing", begin_as_a_part_comes)
        assert download.main(argv) == 0
    assert Counter(row["key"] for row in images_of(tmp_path / "out")) == Counter(keys)


def test_new_keys_are_fetched_beside_old_ones(pictures: Any, tmp_path: Path) -> None:
    server, argv, keys = pictures
    everything = pq.read_table(tmp_path / "labels")
    tables.write_table(str(tmp_path / "labels"), "labels", everything.slice(0, 15).cast(schemas.LABELS))
    assert download.main(argv) == 0
    tables.write_table(str(tmp_path / "labels"), "labels", everything.cast(schemas.LABELS))
    assert download.main(argv) == 0
    assert Counter(row["key"] for row in images_of(tmp_path / "out")) == Counter(keys)
    assert set(fetched(server).values()) == {1}


def test_private_addresses_are_refused_unless_asked_for_and_then_fetched(pictures: Any, tmp_path: Path) -> None:
    server, argv, _ = pictures
    refused = [word for word in argv if "allow_private" not in word]
    assert download.main(refused) == 3  # everything was lost
    assert {row["outcome"] for row in images_of(tmp_path / "out")} == {"address_refused"}
    assert fetched(server) == Counter()
    assert download.main(argv) == 0
    assert {row["outcome"] for row in images_of(tmp_path / "out")} == {"ok"}


def test_keys_without_a_url_are_rows_and_come_when_the_base_is_given(pictures: Any, tmp_path: Path) -> None:
    _, argv, _ = pictures
    assert download.main([word for word in argv if "base_url" not in word]) == 3
    assert {row["outcome"] for row in images_of(tmp_path / "out")} == {"no_url"}
    assert download.main(argv) == 0
    assert {row["outcome"] for row in images_of(tmp_path / "out")} == {"ok"}


def test_a_second_run_at_the_same_time_is_refused(pictures: Any, tmp_path: Path) -> None:
    _, argv, _ = pictures
    assert download.main(argv) == 0
    with locked(f"{tmp_path}/out/images"), pytest.raises(InputError, match="another run is writing"):
        download.main(argv)
    assert download.main(argv) == 0


def test_a_key_that_is_in_the_table_twice_is_there_once_after_the_next_run(pictures: Any, tmp_path: Path) -> None:
    _, argv, keys = pictures
    assert download.main(argv) == 0
    images = tmp_path / "out" / "images"
    part = sorted(images.glob("*.parquet"))[0]
    shutil.copy(part, images / "part-0001-000099.parquet")
    (images / "_SUCCESS").unlink()
    assert download.main(argv) == 0
    assert Counter(row["key"] for row in images_of(tmp_path / "out")) == Counter(keys)


def test_only_the_keys_of_these_labels_count_as_lost(pictures: Any, tmp_path: Path) -> None:
    _, argv, _ = pictures
    everything = pq.read_table(tmp_path / "labels").cast(schemas.LABELS)
    assert download.main([*argv, "download.base_url=http://127.0.0.1:1/", "max_loss=1"]) == 0
    assert download.main([*argv, "max_loss=0"]) == 0
    gone = everything.slice(0, 1).to_pylist()[0] | {"key": "missing.png"}
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist([gone], schema=schemas.LABELS))
    assert download.main([*argv, "max_loss=0"]) == 3
    tables.write_table(str(tmp_path / "labels"), "labels", everything)
    assert download.main([*argv, "max_loss=0"]) == 0


def test_labels_that_are_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        download.main([f"labels={tmp_path}/labels", f"output={tmp_path}/out"])
    for given, told in (
        ("part.rows=0", r"part\.rows must be at least 1"),
        ("placeholder_keys=1", "placeholder_keys must be 0 or at least 2"),
        ("columns.urls=[]", r"urls must name at least one column"),
    ):
        with pytest.raises(InputError, match=told):
            download.main([f"labels={tmp_path}", f"output={tmp_path}/out", given])
    with pytest.raises(InputError, match="labels or urls must say what is wanted"):
        download.main([f"output={tmp_path}/out"])


def test_bytes_that_are_kept_as_they_came_cannot_be_turned(tmp_path: Path) -> None:
    argv = [f"urls={tmp_path}/list.csv", f"output={tmp_path}/out", "columns.rotation=Rotation"]
    with pytest.raises(
        InputError, match=r"short_side=original keeps .* cannot be turned by columns\.rotation=Rotation"
    ):
        download.main([*argv, "download.image.short_side=original"])
    with pytest.raises(InputError, match=r"URL list .* does not exist"):  # both alone are fine
        download.main([*argv[:2], "download.image.short_side=original"])


def test_who_fetches_from_public_hosts_without_a_contact_is_told_so_in_one_line(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, argv, _ = pictures
    public = [word for word in argv if "allow_private" not in word]
    for given, lines in ((public, 1), (argv, 0), ([*public, "download.fetch.user_agent=bot (me@example.org)"], 0)):
        download.main(given)
        assert capsys.readouterr().err.count("names no way to reach you") == lines


def test_a_picture_that_comes_from_many_urls_is_a_placeholder_also_in_what_was_there(
    pictures: Any, tmp_path: Path
) -> None:
    server, argv, keys = pictures
    same = [f"-/copy/{number}/im_7.png" for number in range(5)]
    place = server.url.removeprefix("http")
    spellings = [f"HTTP{place}im_8.png", *(f"http{place}im_8.png#{number}" for number in range(6))]
    good = keys[:6] + spellings
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in good + same]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    assert download.main([*argv, "placeholder_keys=6"]) == 0
    assert {row["outcome"] for row in images_of(tmp_path / "out")} == {"ok"}
    requests = server.requests()
    assert download.main([*argv, "placeholder_keys=5"]) == 0
    assert server.requests() == requests
    counts = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]["keys"]
    assert (counts["fetched"], counts["found to be placeholders"]) == (0, len(same))
    found = {row["key"]: row for row in images_of(tmp_path / "out")}
    assert {key: row["outcome"] for key, row in found.items()} == dict.fromkeys(good, "ok") | dict.fromkeys(
        same, "placeholder"
    )
    assert {found[key]["data"] for key in same} == {None}
    assert len({found[key]["sha256"] for key in same}) == 1


def test_a_mirrors_placeholder_does_not_cost_the_original_and_a_larger_number_brings_pictures_back(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, argv, _ = pictures
    argv = [word for word in argv if not word.startswith("labels=")] + [f"urls={tmp_path / 'list.csv'}", "max_loss=1"]
    argv += ["columns.key=id", "columns.urls=[mirror, original]"]
    lines = [f"k{n},{server.url}-/copy/{n}/im_7.png,{server.url}im_{n}.png" for n in range(4)]
    lines += [f"gone,{server.url}-/copy/4/im_7.png,{server.url}gone.png", f"alone,{server.url}-/copy/5/im_7.png,"]

    def run(*given: str) -> tuple[Counter[str], dict[str, str]]:
        """Paths that were asked for, and the outcomes."""
        (tmp_path / "list.csv").write_text("\n".join(["id,mirror,original", *lines]) + "\n")
        before = fetched(server)
        assert download.main([*argv, *given]) == 0
        return fetched(server) - before, {row["key"]: row["outcome"] for row in images_of(tmp_path / "out")}

    assert set(run("placeholder_keys=7")[1].values()) == {"ok"}
    capsys.readouterr()
    asked, found = run("placeholder_keys=6")
    assert asked == Counter([*(f"/im_{n}.png" for n in range(4)), "/gone.png"])
    assert found == {f"k{n}": "ok" for n in range(4)} | {"gone": "not_found", "alone": "placeholder"}
    counts = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]["keys"]
    assert (counts["fetched"], counts["found to be placeholders"]) == (0, 6)
    assert counts["fetched instead of placeholders"] == 5  # alone has no other URL
    assert "nothing was left" not in capsys.readouterr().out
    assert run("placeholder_keys=6") == (Counter(), found)
    lines.append(f"late,{server.url}-/copy/6/im_7.png,{server.url}im_6.png")  # one more, found out at once
    asked, found = run("placeholder_keys=6")
    assert (asked, found["late"]) == (Counter(["/-/copy/6/im_7.png", "/im_6.png"]), "ok")
    asked, found = run("placeholder_keys=7")  # there are no seven
    assert asked == Counter(["/-/copy/4/im_7.png", "/-/copy/5/im_7.png"])
    assert (found["gone"], found["alone"]) == ("ok", "ok")
    assert run("placeholder_keys=7")[0] == Counter()


def test_what_failed_before_a_placeholder_keeps_its_right_to_another_try(pictures: Any, tmp_path: Path) -> None:
    server, argv, _ = pictures
    lines = ["id,original,mirror"]
    for n in range(4):
        Image.new("RGB", (400, 300), (n, 0, 0)).save(tmp_path / "pictures" / f"large_{n}.png")
        lines.append(f"late{n},{server.url}-/fault/status=503/im_{n}.png,{server.url}-/copy/1{n}/im_7.png")
        lines.append(f"large{n},{server.url}large_{n}.png,{server.url}-/copy/2{n}/im_7.png")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    argv = [word for word in argv if not word.startswith("labels=")] + [f"urls={tmp_path / 'list.csv'}", "max_loss=1"]
    argv += ["columns.key=id", "columns.urls=[original, mirror]", "placeholder_keys=5", "download.fetch.attempts=1"]

    def run(*given: str) -> tuple[Counter[str], dict[str, str]]:
        before = fetched(server)
        assert download.main([*argv, *given]) == 0
        return fetched(server) - before, {row["key"]: row["outcome"] for row in images_of(tmp_path / "out")}

    asked, found = run("download.image.max_pixels=50000")
    assert set(asked.values()) == {1} and len(asked) == 16
    late, large = ({f"{kind}{n}" for n in range(4)} for kind in ("late", "large"))
    assert found == dict.fromkeys(late, "server_error") | dict.fromkeys(large, "placeholder")
    asked, found = run()
    assert found == dict.fromkeys(late, "server_error") | dict.fromkeys(large, "ok")
    mirrors = {f"/-/copy/1{n}/im_7.png" for n in range(4)}  # of rows that deserve another try: found out at once
    assert asked == Counter([f"/-/fault/status=503/im_{n}.png" for n in range(4)]) + Counter(mirrors) + Counter(
        f"/large_{n}.png" for n in range(4)
    )


def test_lists_of_urls_with_fall_backs_sizes_and_digests(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, argv, _ = pictures
    folder = tmp_path / "pictures"
    good = {key: (folder / key).read_bytes() for key in ("im_1.png", "im_2.png", "im_3.png")}
    md5 = {key: base64.b64encode(hashlib.md5(content).digest()).decode() for key, content in good.items()}
    lines = [
        "id,original,thumbnail,size,md5,rotation",
        f"plain,{server.url}im_1.png,,{len(good['im_1.png'])},{md5['im_1.png']},",
        f"turned,{server.url}im_2.png,,,,90.0",
        f"gone,{server.url}-/fault/missing/im_3.png,{server.url}im_3.png,7,{md5['im_3.png']},",
        f"other,{server.url}-/copy/1/im_3.png,,,{md5['im_1.png']},",
        f"longer,{server.url}-/copy/2/im_3.png,,1,,",
        f"nonsense,{server.url}im_4.png,,many,,",
        f"tilted,{server.url}im_5.png,,,,45",
        "nothing,,,,,",
        f"plain,{server.url}im_6.png,,,,",
        f",{server.url}im_7.png,,,,",
        f",{server.url}im_8.png,,,,",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    argv = [word for word in argv if not word.startswith("labels=")]
    columns = ["columns.key=id", "columns.urls=[original, thumbnail]", "columns.checked=original"]
    columns += ["columns.size=size", "columns.md5=md5", "columns.rotation=rotation"]
    assert download.main([*argv, f"urls={tmp_path / 'list.csv'}", *columns, "max_loss=1"]) == 0
    found = {row["key"]: row for row in images_of(tmp_path / "out")}
    assert {key: row["outcome"] for key, row in found.items()} == {
        "plain": "ok",
        "turned": "ok",
        "gone": "ok",
        "other": "changed",
        "longer": "changed",
        "nonsense": "bad_entry",
        "tilted": "bad_entry",
        "nothing": "no_url",
    }
    assert found["gone"]["url"].endswith("/im_3.png") and found["gone"]["attempts"] == 2
    assert (found["turned"]["width"], found["turned"]["height"]) == (30, 40)
    assert found["nonsense"]["detail"] == "size 'many' is no number of bytes"
    assert found["longer"]["detail"] == f"status 200; {server.url}-/copy/2/im_3.png is not as expected: 1 bytes"
    counts = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]
    assert counts["lists"] == {"list rows without a key": 2, "list rows whose key came before": 1}
    assert "list rows whose key came before      1" in capsys.readouterr().out
    (tmp_path / "list.csv").write_text("\n".join(lines).replace("many", "").replace(",45", ",46") + "\n")
    assert download.main([*argv, f"urls={tmp_path / 'list.csv'}", *columns, "max_loss=1"]) == 0
    after = {row["key"]: row["outcome"] for row in images_of(tmp_path / "out")}
    assert after == {key: row["outcome"] for key, row in found.items()} | {"nonsense": "ok"}
    again = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]
    assert again["keys"]["fetched"] == 1  # what has no URL or is still none is not looked for again
    assert again["lists"] == counts["lists"]
    # What a list expects by now decides anew, not what it has in other letters.
    lines[4] = lines[4].replace(md5["im_1.png"], base64.b64decode(md5["im_1.png"]).hex())
    lines[5] = f"longer,{server.url}-/copy/2/im_3.png,,{len(good['im_3.png'])},,"
    before = fetched(server)
    (tmp_path / "list.csv").write_text("\n".join(lines).replace("many", "").replace(",45", ",46") + "\n")
    assert download.main([*argv, f"urls={tmp_path / 'list.csv'}", *columns, "max_loss=1"]) == 0
    assert fetched(server) - before == Counter(["/-/copy/2/im_3.png"])
    assert {row["key"]: row["outcome"] for row in images_of(tmp_path / "out")} == after | {"longer": "ok"}


def test_final_rows_are_fetched_again_where_their_url_or_what_decided_about_them_has_changed(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, argv, _ = pictures
    argv = [word for word in argv if not word.startswith("labels=")] + [f"urls={tmp_path / 'list.csv'}", "max_loss=1"]
    argv += ["columns.key=id", "columns.urls=[url, other]"]

    def run(rows: dict[str, list[str]], *given: str) -> tuple[Counter[str], dict[str, dict[str, Any]]]:
        """Paths that were asked for, and the rows."""
        lines = [f"{key},{','.join(name and server.url + name for name in names)}" for key, names in rows.items()]
        (tmp_path / "list.csv").write_text("\n".join(["id,url,other", *lines]) + "\n")
        before = fetched(server)
        assert download.main([*argv, *given]) == 0
        return fetched(server) - before, {row["key"]: row for row in images_of(tmp_path / "out")}

    names = {"a": ["im_1.png", ""], "b": ["im_2.png", ""], "c": ["gone.png", ""], "d": ["im_5.png", "gone_5.png"]}
    names["e"] = ["", "gone_6.png"]
    _, rows = run(names, "download.image.min_side=31")  # they are 40x30
    assert [rows[key]["outcome"] for key in names] == ["too_small", "too_small", "not_found", "not_found", "not_found"]
    assert rows["d"]["detail"] == f"status 404; {server.url}im_5.png ended as too_small (40x30, min_side is 31)"
    asked, rows = run(names)
    assert asked == Counter(["/im_1.png", "/im_2.png", "/im_5.png"])
    assert (rows["b"]["outcome"], rows["d"]["outcome"], rows["d"]["detail"]) == ("ok", "ok", None)
    assert run(names, "download.image.min_side=31")[0] == Counter()  # pictures stay
    capsys.readouterr()
    more = {"a": ["im_3.png", ""], "c": ["gone.png", "im_4.png"], "e": ["im_6.png", "gone_6.png"]}
    asked, rows = run(names | more)
    assert asked == Counter(["/im_3.png", "/gone.png", "/im_4.png", "/im_6.png"])
    assert rows["a"]["url"].endswith("/im_3.png") and {rows[key]["outcome"] for key in "ce"} == {"ok"}
    assert "stay as they are" not in capsys.readouterr().out
    more["a"].reverse()
    assert run(names | more, "download.image.short_side=32")[0] == {}
    assert "(short_side=384, quality=90, icc=srgb) stay as they are" in capsys.readouterr().out

    names |= more
    for part in (tmp_path / "out" / "images").glob("part-*.parquet"):  # as if it were in a format that nothing reads
        changed = [
            row | {"outcome": "unsupported_format", "data": None} if row["key"] == "a" else row
            for row in pq.read_table(part).to_pylist()
        ]
        tables.write_part(str(part), pa.Table.from_pylist(changed, schema=schemas.IMAGES))
    assert run(names)[0] == Counter()
    monkeypatch.setattr("ml_images.spark.run_options.optional_formats", list)  # other libraries than before
    asked, rows = run(names)
    assert (asked, rows["a"]["outcome"]) == (Counter(["/im_3.png"]), "ok")


def test_a_fall_back_that_keys_share_is_fetched_once(pictures: Any, tmp_path: Path) -> None:
    server, argv, _ = pictures
    lines = ["id,url,other"]
    for number in range(8):  # of two keys without their own picture, and of one that has no other
        both = f"{server.url}im_{number}.png"
        lines += [f"a{number},{server.url}a{number}.png,{both}", f"b{number},{server.url}b{number}.png,{both}#b"]
        lines += [f"c{number},{both.replace('im_', '%69m_')},"]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    keys = [f"{name}{number}" for name in "abc" for number in range(8)]
    keys += [f"{server.url}im_{number}.png" for number in range(8)]  # these have no entry: they are URLs
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in keys]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    columns = ["columns.key=id", "columns.urls=[url, other]"]
    assert download.main([*argv, f"urls={tmp_path / 'list.csv'}", *columns]) == 0
    assert Counter(row["outcome"] for row in images_of(tmp_path / "out")) == {"ok": len(keys)}
    assert set(fetched(server).values()) == {1}


def test_keys_that_share_a_url_share_one_request(pictures: Any, tmp_path: Path) -> None:
    server, argv, _ = pictures
    lines = ["id,url", *(f"key_{number},{server.url}im_{number % 3}.png" for number in range(30))]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    argv = [word for word in argv if not word.startswith("labels=")]
    assert download.main([*argv, f"urls={tmp_path / 'list.csv'}", "columns.key=id"]) == 0
    rows = images_of(tmp_path / "out")
    assert Counter(row["key"] for row in rows) == Counter(f"key_{number}" for number in range(30))
    assert {row["outcome"] for row in rows} == {"ok"} and len({row["data"] for row in rows}) == 3
    assert fetched(server) == Counter({f"/im_{number}.png": 1 for number in range(3)})


def test_the_contact_sheet_and_the_second_run_say_what_a_person_wants_to_know(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, argv, keys = pictures
    assert download.main(argv) == 0
    assert "nothing was left to do" not in capsys.readouterr().out
    sheet = (tmp_path / "out" / "contact_sheet.html").read_text()
    assert sheet.count("data:image/jpeg") == len(keys) and "40 rows of the table" in sheet
    last, own = (json.loads((tmp_path / "out" / name).read_text()) for name in ("report.json", "report-download.json"))
    assert last == own
    spent = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]["milliseconds by stage"]
    assert list(spent) == ["fetch", "decode", "resize", "encode", "hash", "write"]
    assert spent["fetch"] > 0 and spent["decode"] > 0 and spent["write"] > 0
    published = (tmp_path / "out" / "images" / "_SUCCESS").stat().st_mtime_ns
    assert download.main(argv) == 0
    assert "nothing was left to do" in capsys.readouterr().out
    assert (tmp_path / "out" / "images" / "_SUCCESS").stat().st_mtime_ns == published
