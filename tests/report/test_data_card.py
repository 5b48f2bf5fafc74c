from ml_images.report.data_card import data_card


def test_the_card_tells_rows_bytes_and_where_it_comes_from() -> None:
    file = {"rows": 1000, "row_groups": 4, "bytes": 2_500_000, "sha256": "0"}
    manifest = {
        "num_classes": 11166,
        "splits": {"train": {"rows": 2000, "row_groups": 8}, "val": {"rows": 1000, "row_groups": 4}},
        "files": {"split=train/a": file, "split=train/b": file, "split=val/c": file},
        "config": {"layout": {"seed": 7}},
        "written_at": "2026-01-01 00:00 UTC",
        "versions": {"ml-images": "0.1.0"},
        "commit": "0123456789abcdef",
    }
    card = data_card(manifest)
    assert "3,000 pictures with labels of 11,166 classes, 7.5 MB in 3 files" in card
    assert "| train | 2,000 | 8 | 2 | 5,000,000 |" in card
    assert "| val | 1,000 | 4 | 1 | 2,500,000 |" in card
    assert "ml-images 0.1.0 (commit 0123456789ab)" in card
    assert "seed\n7)" in card
    assert "(commit" not in data_card(manifest | {"commit": None})
