from typing import Any

from ml_images.report.data_card import data_card

FILE = {"rows": 1000, "row_groups": 4, "bytes": 2_500_000, "sha256": "0"}
SPLITS = {"seed": 3, "val": 0.25, "test": 0.0, "lists": [], "folds": 0, "fold": 0}
MANIFEST: dict[str, Any] = {
    "num_classes": 11166,
    "lanes": 4,
    "splits": {"train": {"rows": 2000, "row_groups": 8}, "val": {"rows": 1000, "row_groups": 4}},
    "files": {"split=train/a": FILE, "split=train/b": FILE, "split=val/c": FILE},
    "replication": None,
    "appended": [],
    "config": {
        "layout": {"seed": 7},
        "splits": SPLITS,
        "replication": {"kind": "sqrt", "threshold": 0.001},
    },
    "written_at": "2026-01-01 00:00 UTC",
    "versions": {"ml-images": "0.1.0"},
    "commit": "0123456789abcdef",
}


def test_the_card_tells_rows_bytes_and_where_it_comes_from() -> None:
    card = data_card(MANIFEST)
    assert "3,000 pictures with labels of 11,166 classes, 7.5 MB in 3 files" in card
    assert "| train | 2,000 | 8 | 2 | 5,000,000 |" in card
    assert "| val | 1,000 | 4 | 1 | 2,500,000 |" in card
    assert "ml-images 0.1.0 (commit 0123456789ab)" in card
    assert "hash of (seed 7, key)" in card
    assert "multiple of 4" in card
    assert "(commit" not in data_card(MANIFEST | {"commit": None})
    assert "Replication\n" not in card
    assert "appended" not in card


def test_the_card_tells_how_rows_were_split() -> None:
    def told(**splits: object) -> str:
        return data_card(MANIFEST | {"config": MANIFEST["config"] | {"splits": SPLITS | splits}})

    assert "by a hash of their keys (seed 3), val 0.25 and test 0 of them" in told()
    assert "into 10 stratified folds (seed 3), of which fold 2 is val" in told(folds=10, fold=2)
    assert "by given lists" in told(lists=["val=a"])


def test_the_card_tells_what_replication_and_appending_made_of_it() -> None:
    told = {
        "train_rows": 2000,
        "epoch_rows": 2345.6,
        "classes_repeated": 17,
        "largest_factor": 3.1623,
        "shares": {"rarest": {"class": 5, "before": 0.0001, "after": 0.00031}},
    }
    appended = [{"rows": 100, "written_at": "2026-02-02 00:00 UTC", "config": {"layout": {"seed": 8}}}]
    card = data_card(MANIFEST | {"replication": told, "appended": appended})
    assert "below 0.001 of the images of train" in card
    assert "2,346 images instead of 2,000; 17 classes are repeated, 3.2\ntimes at most" in card
    assert "| 5 | rarest | 0.0001 | 0.00031 |" in card
    assert "100 of them were appended 2026-02-02 00:00 UTC, in the order of seed 8." in card
    assert "of those that were written at the same time" in card
