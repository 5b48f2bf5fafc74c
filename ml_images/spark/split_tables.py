"""Tables beside a data set that say how its labels are spread: for people, and for the next data set of the same folds.

labels_per_split   images of each class in train, val, test
labels_per_fold    the same of the folds that were made
folds              the fold of each key: equal in the data sets of all folds, whichever is val
replication        factor of each class, and its share of the images before and after
"""

import pyarrow as pa

from ml_images.labels.per_split import per_split_table
from ml_images.spark.materialize import Written
from ml_images.storage import tables
from ml_images.storage.paths import join

_NAMES = ("labels_per_split", "labels_per_fold", "folds", "replication")


def withdraw_split_tables(output: str) -> None:
    """Those of an earlier data set, before another one takes its place."""
    for name in _NAMES:
        tables.withdraw(join(output, name))


def write_split_tables(output: str, written: Written) -> None:
    """Write those tables that the run has something for into `output`, and empty the others of an earlier run."""
    made: dict[str, pa.Table | None] = dict.fromkeys(_NAMES)
    made["labels_per_split"] = per_split_table(written.labels)
    if written.replicated is not None:
        made["replication"] = written.replicated.table()
    if written.folds is not None and written.fold_labels is not None:
        made["folds"] = written.folds
        made["labels_per_fold"] = per_split_table(written.fold_labels)
    for name, table in made.items():
        if table is not None:
            tables.write_table(join(output, name), name, table)
        else:
            tables.withdraw(join(output, name))
