import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.errors import InputError, StorageError
from ml_images.storage import tables

ROWS = pa.table({"key": ["a", "b"]})


def test_a_table_is_done_only_at_the_end(tmp_path: Path) -> None:
    place = str(tmp_path / "labels")
    tables.claim(place, "labels")
    tables.write_part(f"{place}/_staging/part-0.parquet", ROWS)
    with pytest.raises(InputError, match="not finished"):
        tables.require(place, "labels")
    assert tables.parts(place) == []
    tables.publish(place)
    assert tables.read_table(place, "labels").equals(ROWS)


def test_publishing_replaces_the_parts_of_an_earlier_run(tmp_path: Path) -> None:
    place = str(tmp_path / "labels")
    tables.write_table(place, "labels", ROWS)
    tables.write_table(place, "labels", ROWS.slice(1))
    assert tables.read_table(place, "labels").to_pydict() == {"key": ["b"]}


def test_tables_of_one_run_are_done_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(tmp_path / name) for name in ("labels", "vocabulary")]
    for place, name in zip(places, ("labels", "vocabulary"), strict=True):
        tables.write_table(place, name, ROWS)
        tables.stage_table(place, name, ROWS.slice(1))
    move, moved = tables.move_staged, []

    def crash_at_the_second(location: str, names: list[str]) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(location)
        move(location, names)

    monkeypatch.setattr(tables, "move_staged", crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        tables.publish(*places)
    assert not any(map(tables.is_done, places))


def test_parts_that_workers_wrote_elsewhere_are_missed(tmp_path: Path) -> None:
    tables.stage_table(str(tmp_path), "labels", ROWS)
    tables.require_staged(str(tmp_path), 1)
    with pytest.raises(StorageError, match=r"workers wrote 2 parts of .*, 1 are there: it must be a place that all"):
        tables.require_staged(str(tmp_path), 2)


def test_what_a_crash_left_of_the_mark_does_not_bar_the_next_run(tmp_path: Path) -> None:
    (tmp_path / f".{tables.MARK}.0123").write_text("{")
    tables.claim(str(tmp_path), "labels")
    assert (tmp_path / tables.MARK).exists()


def test_a_damaged_mark_is_one_line(tmp_path: Path) -> None:
    (tmp_path / tables.MARK).write_text("")
    with pytest.raises(InputError, match="is not JSON"):
        tables.claim(str(tmp_path), "labels")


@pytest.mark.parametrize("place", ["/proc/nope", "{file}/below"])
def test_a_place_that_cannot_be_made_is_one_line(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write"):
        tables.claim(place.format(file=tmp_path / "file"), "labels")


def test_an_unfinished_write_leaves_nothing_that_anyone_reads(tmp_path: Path) -> None:
    part = tmp_path / "part-0.parquet"
    with pytest.raises(ZeroDivisionError), tables.open_part(str(part), ROWS.schema) as writer:
        writer.write_table(ROWS)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_written_twice_is_there_once(tmp_path: Path) -> None:
    for rows in (ROWS, ROWS.slice(1)):
        tables.write_part(str(tmp_path / "part-0.parquet"), rows)
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.parquet"]
    assert pq.read_table(tmp_path / "part-0.parquet").num_rows == 1


def test_foreign_folders_and_files_are_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        tables.claim(str(tmp_path / "file"), "labels")
    with pytest.raises(InputError, match="was not written by ml-images"):
        tables.claim(str(tmp_path / "folder"), "labels")
    tables.claim(str(tmp_path / "images"), "images")
    with pytest.raises(InputError, match="holds 'images', not 'labels'"):
        tables.claim(str(tmp_path / "images"), "labels")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["thesis.tex"]


def test_an_empty_folder_may_be_claimed(tmp_path: Path) -> None:
    tables.claim(str(tmp_path), "labels")
    assert [path.name for path in tmp_path.iterdir()] == [tables.MARK]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: path.mkdir(), "is not a labels table of ml-images: it has no _ml_images.json"),
        (lambda path: tables.write_table(str(path), "images", ROWS), "it holds 'images'"),
    ],
)
def test_what_is_no_finished_table_is_named(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    make(tmp_path / "labels")
    with pytest.raises(InputError, match=says):
        tables.require(str(tmp_path / "labels"), "labels")


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full answers every write as a full disk does."""
    (tmp_path / ".part-0.parquet.x").symlink_to("/dev/full")
    monkeypatch.setattr(tables, "uuid4", lambda: type("U", (), {"hex": "x"}))
    with pytest.raises(StorageError, match="no space left on the device") as caught:
        tables.write_part(str(tmp_path / "part-0.parquet"), pa.table({"data": [os.urandom(1 << 20)]}))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "part-0.parquet").exists()


def test_json_appears_whole_and_reads_back(tmp_path: Path) -> None:
    tables.write_json(str(tmp_path / "deep" / "x.json"), {"wörter": [1, None]})
    assert tables.read_json(str(tmp_path / "deep" / "x.json")) == {"wörter": [1, None]}
    assert tables.read_json(str(tmp_path / "missing.json")) is None


@pytest.mark.parametrize("name", ["data", "image"])
def test_pictures_lie_uncompressed_in_pages_of_a_few_so_that_writing_and_reading_them_cost_little(
    tmp_path: Path, name: str
) -> None:
    pictures = [bytes([number]) * 50_000 for number in range(128)]
    tables.write_part(f"{tmp_path}/part.parquet", pa.table({"key": list(map(str, range(128))), name: pictures}))
    key, picture = (pq.read_metadata(tmp_path / "part.parquet").row_group(0).column(number) for number in (0, 1))
    assert (key.compression, picture.compression) == ("ZSTD", "UNCOMPRESSED")
    assert set(picture.encodings) == {"PLAIN", "RLE"}  # no dictionary
    # A page holds up to 32 pictures, so there are four of them with a header each, besides the pictures themselves.
    overhead = picture.total_uncompressed_size - 128 * (50_000 + 4)
    one_page = tmp_path / "one_page.parquet"
    pq.write_table(
        pa.table({name: pictures}), one_page, compression="none", use_dictionary=False, write_statistics=False
    )
    least = pq.read_metadata(one_page).row_group(0).column(0).total_uncompressed_size - 128 * (50_000 + 4)
    assert overhead > 2 * least


@pytest.mark.parametrize(("schema", "pictures"), [(schemas.DATASET, "image"), (schemas.IMAGES, "data")])
def test_all_columns_but_pictures_are_compressed_with_dictionary_and_statistics(
    tmp_path: Path, schema: pa.Schema, pictures: str
) -> None:
    part = str(tmp_path / "part.parquet")
    tables.write_part(part, pa.Table.from_pylist([_row(schema)] * 50, schema))
    group = pq.read_metadata(part).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert len(columns) == len(schema)
    for column in columns:
        is_picture = column.path_in_schema == pictures
        assert column.compression == ("UNCOMPRESSED" if is_picture else "ZSTD")
        assert column.is_stats_set == column.has_dictionary_page == (not is_picture)


def _row(schema: pa.Schema) -> dict[str, object]:
    values = {"string": "x", "binary": b"x", "list<item: int32>": [1, 2], "list<item: float>": [0.5, 1.0]}
    return {field.name: values.get(str(field.type), 1) for field in schema}
