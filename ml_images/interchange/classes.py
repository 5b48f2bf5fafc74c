"""Which class the folders of an ImageFolder stand for, and the vocabulary that they make where none is given."""

from collections.abc import Sequence

import pyarrow as pa

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.hierarchy.parse import Format, parse_hierarchy
from ml_images.hierarchy.vocabulary import Vocabulary, to_table
from ml_images.interchange.sample import shown
from ml_images.storage import tables
from ml_images.storage.paths import read_bytes


def read_vocabulary(location: str, format: Format) -> pa.Table:
    """The vocabulary (schemas.VOCABULARY) of a hierarchy in any form, or of a Parquet file as jobs/export.py writes."""
    if not location.endswith(".parquet"):
        return to_table(parse_hierarchy(read_bytes(location, "vocabulary"), location, format))
    try:
        table = tables.read_part(location)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"vocabulary '{location}' cannot be read: {' '.join(str(error).split())}") from error
    if not table.schema.equals(schemas.VOCABULARY):
        raise InputError(f"vocabulary '{location}' has the columns {', '.join(table.schema.names)}, not a vocabulary's")
    return table


def class_of_folders(names: Sequence[str], vocabulary: pa.Table | None) -> tuple[dict[str, int], pa.Table | None]:
    """(class of each folder's name, vocabulary). Without a vocabulary the names, sorted, are one, flat; for no names
    there is none.

    Raises InputError for a name that is neither an id of the vocabulary nor the number of a class, and for names that
    all could be either and would be other classes: ids 1 to n are the classes 0 to n - 1.
    """
    distinct = sorted(set(names))
    if vocabulary is None:
        if not distinct:
            return {}, None
        flat = Vocabulary(tuple(distinct), tuple((name,) for name in distinct), tuple(() for _ in distinct))
        return {name: class_ for class_, name in enumerate(distinct)}, to_table(flat)
    by_id = {id: class_ for class_, id in enumerate(vocabulary["id"].to_pylist())}
    ids = {name: by_id[name] for name in distinct if name in by_id}
    numbers = {name: int(name) for name in distinct if _is_number(name) and int(name) < len(by_id)}
    unknown = [name for name in distinct if name not in ids and name not in numbers]
    if unknown:
        raise InputError(
            f"folder '{shown(unknown[0])}' is no class: accepted are the ids of the vocabulary "
            f"({shown(next(iter(by_id), ''))}, ...) and numbers below {len(by_id)}"
        )
    either = [name for name in ids if numbers.get(name, ids[name]) != ids[name]]
    if not either or len(numbers) < len(distinct):
        return numbers | ids, vocabulary
    if len(ids) < len(distinct):
        return ids | numbers, vocabulary
    raise InputError(
        f"folder '{shown(either[0])}' is the id of class {ids[either[0]]} and the number of another class, and so may "
        "all of them be: read the export with its labels, or name folders by ids that are no numbers of classes"
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
