"""What the classes of a model are called: as the vocabulary says that is given, or as the checkpoint does.

Names travel in checkpoints. The path of the run's data set, as the options have it, would mislead: read in another
folder it may be that of another data set, with as many classes.
"""

from ml_images.errors import InputError
from ml_images.interchange.classes import read_vocabulary
from ml_images.storage import tables
from ml_images.storage.paths import join
from ml_images.train.class_tables import first_names, read_class_names
from ml_images.train.dataset import Split
from ml_images.train.trained import Trained


def find_names(given: str, trained: Trained) -> tuple[str, ...] | None:
    """One name a class: of the vocabulary `given`, a table or a file, else of the checkpoint; None where none is known.

    Raises InputError for a vocabulary that cannot be read, and for one of another number of classes.
    """
    if not given:
        return trained.class_names
    if tables.read_json(join(given, tables.MARK)) is not None:
        vocabulary = tables.read_table(given, "vocabulary")
    else:
        vocabulary = read_vocabulary(given, "auto")
    if len(vocabulary) != trained.num_classes:
        raise InputError(
            f"vocabulary '{given}' has {len(vocabulary)} classes, the checkpoint {trained.num_classes}: give the "
            "one it was trained with as vocabulary=..."
        )
    return tuple(first_names(vocabulary))


def find_names_of_labels(given: str, trained: Trained, split: Split) -> tuple[str, ...] | None:
    """As find_names, for a network that is compared with the labels of `split`; where neither knows, its data set does.

    Raises InputError where that has other names than the checkpoint: class 3 of the labels would be another one than
    class 3 of the network.
    """
    names, labels = find_names(given, trained), read_class_names(split)
    if given or labels is None:
        return names
    if names is not None:
        other = [number for number, (one, two) in enumerate(zip(names, labels, strict=True)) if one != two]
        if other:
            raise InputError(
                f"{len(other)} classes have other names in '{split.location}' than in the checkpoint, class {other[0]} "
                f"'{labels[other[0]]}' and '{names[other[0]]}': give vocabulary=... if they are the same classes"
            )
    return tuple(labels)


def numbers_for_names(num_classes: int) -> tuple[str, ...]:
    """What classes are called where nobody knows more."""
    return tuple(str(number) for number in range(num_classes))
