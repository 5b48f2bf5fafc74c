import json

import pytest

from ml_images.errors import InputError
from ml_images.report.accounts import account_dataset, account_lines
from ml_images.report.contents import Lines, Reject

REJECTS = (Reject("no_labels", 2, "a.txt", 7, "lonely"), Reject("bad_class", 5, "b.txt", 3, "k 9:1"))


def tell(folder, **lines):
    (folder / "report.json").write_text(json.dumps({"job": "annotate", "counts": {"lines": lines}}))


def test_without_a_report_nobody_knows_how_many_lines_were_merged(tmp_path):
    with pytest.raises(InputError, match=r"report.json' is missing or does not tell how many lines were merged"):
        account_lines(str(tmp_path), 100, REJECTS)


def test_merged_lines_are_taken_from_the_report_of_annotate(tmp_path):
    told = {"read": 110, "label rows": 100, "merged into another row of the same key": 3, "rejected": 7}
    tell(tmp_path, **told)
    assert account_lines(str(tmp_path), 100, REJECTS) == Lines(110, 100, REJECTS, 3)


def test_a_report_that_does_not_tell_of_merged_lines_is_none(tmp_path):
    tell(tmp_path, **{"read": 107, "label rows": 100, "rejected": 7})
    with pytest.raises(InputError, match="does not tell how many lines were merged"):
        account_lines(str(tmp_path), 100, REJECTS)


@pytest.mark.parametrize("name", ["read", "label rows", "rejected"])
def test_a_report_of_other_tables_is_refused(name, tmp_path):
    told = {"read": 107, "label rows": 100, "merged into another row of the same key": 0, "rejected": 7}
    tell(tmp_path, **{**told, name: 50})
    with pytest.raises(InputError, match=f"tells of {name} 50, the tables of {told[name]}: run annotate again"):
        account_lines(str(tmp_path), 100, REJECTS)


def test_verified_images_that_a_data_set_lacks_are_left_out(tmp_path):
    rows = {"train": 8, "val": 1, "test": 0}
    splits = {split: {"rows": count, "row_groups": 1} for split, count in rows.items()}
    manifest = {"num_classes": 5, "splits": splits}
    (tmp_path / "_manifest.json").write_text(json.dumps(manifest))
    assert account_dataset(str(tmp_path), 12).left_out == {"not in this data set": 3}
    assert account_dataset(str(tmp_path), None).left_out == {}
    with pytest.raises(InputError, match=r"more rows than there are ok images \(8\)"):
        account_dataset(str(tmp_path), 8)
