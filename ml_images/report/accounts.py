"""What the other jobs say that they did, held against what their tables hold: lines of lists, rows of a data set."""

from ml_images.errors import InputError
from ml_images.report.contents import Dataset, Lines, Reject
from ml_images.storage import tables
from ml_images.storage.manifest import read_manifest
from ml_images.storage.paths import join

_MERGED = "merged into another row of the same key"


def account_lines(annotations: str, rows: int, rejects: tuple[Reject, ...]) -> Lines:
    """What became of the lines, given the rows of labels and the rejects that were counted.

    Lines that were merged into another row are in no table: report.json of the job annotate tells how many there were
    (and that of augment, after it). InputError when it does not tell, or tells of other tables than these.
    """
    place = join(annotations, "report.json")
    told = (tables.read_json(place) or {}).get("counts", {}).get("lines", {})
    if _MERGED not in told:
        raise InputError(f"'{place}' is missing or does not tell how many lines were merged: run annotate again")
    merged, rejected = told[_MERGED], sum(reject.count for reject in rejects)
    found = {"read": rows + merged + rejected, "label rows": rows, "rejected": rejected}
    for name, count in found.items():
        if told.get(name) != count:
            raise InputError(
                f"'{place}' tells of {name} {told.get(name, 0):,}, the tables of {count:,}: run annotate again"
            )
    return Lines(found["read"], rows, rejects, merged)


def account_dataset(dataset: str, num_ok: int | None) -> Dataset:
    """Rows of each split, from the manifest; `num_ok` verified images are there to take, if that is known."""
    rows = {split: layout["rows"] for split, layout in read_manifest(dataset)["splits"].items()}
    left_out = 0 if num_ok is None else num_ok - sum(rows.values())
    if left_out < 0:
        raise InputError(
            f"data set '{dataset}' has more rows than there are ok images ({num_ok}): it was made of others"
        )
    return Dataset(rows, {"not in this data set": left_out} if left_out else {})
