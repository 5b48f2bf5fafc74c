"""The rule that needs no list of placeholders: a picture that many different URLs give byte for byte is none of them.

It is applied to the whole table after fetching (specification of Open Images, 5.2: "the repeated-digest rule"): users
have found a new host's placeholder to be a tenth of their data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

FOUND_WITH = r"placeholder_keys=([0-9]+)"  # in the detail of such a row


@dataclass(frozen=True)
class Repeated:
    """SHA-256 of what was found to be placeholders in the pictures so far, by that many URLs."""

    placeholder_keys: int
    digests: frozenset[bytes]

    def may_have_more(self, placeholder_keys: int) -> bool:
        """May the smaller number find more of them in the same pictures? 0: nobody has looked."""
        return bool(placeholder_keys) and (not self.placeholder_keys or placeholder_keys < self.placeholder_keys)

    def that_hold(self, placeholder_keys: int) -> "Repeated":
        """Those that the other number would find, too; 0 finds none."""
        do_hold = 0 < placeholder_keys <= self.placeholder_keys
        return Repeated(placeholder_keys, self.digests if do_hold else frozenset())


def detail_of(placeholder_keys: int) -> str:
    """What the row of a placeholder says that this many URLs gave."""
    return f"many different URLs gave the same bytes (placeholder_keys={placeholder_keys})"


def as_placeholders(rows: pa.Table, keys: Sequence[str], placeholder_keys: int) -> pa.Table:
    """Rows of schemas.IMAGES, those of `keys` with the outcome placeholder and without their picture.

    What tells where they came from and what they were (URL, status, digest, sizes) stays, and what became of other URLs
    of the key.
    """
    if not keys:
        return rows
    found = pc.is_in(rows["key"], value_set=pa.array(keys, pa.string()))
    names = pc.if_else(found, "placeholder", rows["outcome"])
    before = pc.fill_null(rows["detail"], "")
    more = pc.if_else(pc.equal(before, ""), "", pc.binary_join_element_wise("; ", before, ""))
    told = pc.if_else(found, pc.binary_join_element_wise(detail_of(placeholder_keys), more, ""), rows["detail"])
    kept = pc.if_else(found, pa.scalar(None, pa.binary()), rows["data"])
    changed = {"outcome": names, "detail": told, "data": kept}
    columns = [changed.get(name, rows[name]) for name in rows.column_names]
    return pa.Table.from_arrays(columns, schema=rows.schema)
