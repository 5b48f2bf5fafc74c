"""The rule that needs no list of placeholders: a picture that many different URLs give byte for byte is none of them.

It is applied to the whole table after fetching (specification of Open Images, 5.2: "the repeated-digest rule"): users
have found a new host's placeholder to be a tenth of their data.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def as_placeholders(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Rows of schemas.IMAGES, those of `keys` with the outcome placeholder and without their picture.

    What tells where they came from and what they were (URL, status, digest, sizes) stays.
    """
    if not keys:
        return rows
    found = pc.is_in(rows["key"], value_set=pa.array(keys, pa.string()))
    names = pc.if_else(found, "placeholder", rows["outcome"])
    told = pc.if_else(found, "the same bytes came from many different URLs", rows["detail"])
    kept = pc.if_else(found, pa.scalar(None, pa.binary()), rows["data"])
    changed = {"outcome": names, "detail": told, "data": kept}
    columns = [changed.get(name, rows[name]) for name in rows.column_names]
    return pa.Table.from_arrays(columns, schema=rows.schema)
