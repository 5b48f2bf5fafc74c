"""Did two downloads make the same pictures? Every URL ok on both sides, equal sizes, and pixels that are close.

    python benchmarks/compare_pictures.py OURS/images PEER

Equal bytes are not to be had: the peer decodes at full size, we let libjpeg's DCT do a part of the shrinking.
"""

import sys
from dataclasses import dataclass
from io import BytesIO

import duckdb
import numpy as np
from compare import Different
from PIL import Image

LEAST_PSNR = 26.0  # dB, of the worst picture looked at; JPEG of quality 90 alone costs some 35 to 40
_LOOKED_AT = 150


@dataclass(frozen=True)
class Likeness:
    """Peak signal-to-noise ratios in dB over the pictures that were looked at."""

    rows: int
    worst: float
    median: float


def compare_pictures(ours: str, theirs: str) -> Likeness:
    """Raises Different where a URL is missing or not ok on one side, where sizes differ, or pixels differ too much."""
    with duckdb.connect() as con:
        con.sql(f"CREATE VIEW ours AS SELECT * FROM read_parquet('{ours}/*.parquet')")
        con.sql(f"CREATE VIEW theirs AS SELECT * FROM read_parquet('{theirs}/*.parquet')")
        bad = con.sql("SELECT outcome, count(*) FROM ours WHERE outcome <> 'ok' GROUP BY ALL").fetchall()
        bad += con.sql("SELECT error_message, count(*) FROM theirs WHERE status <> 'success' GROUP BY ALL").fetchall()
        if bad:
            raise Different(f"{ours} and {theirs}: not all pictures are ok: {bad}")
        joined = "ours FULL JOIN theirs ON ours.key = theirs.url"
        differing = (
            "ours.key IS NULL OR theirs.url IS NULL OR (ours.width, ours.height) <> (theirs.width, theirs.height)"
        )
        columns = "ours.key, theirs.url, ours.width, ours.height, theirs.width, theirs.height"
        bad = con.sql(f"SELECT {columns} FROM {joined} WHERE {differing} LIMIT 5").fetchall()
        if bad:
            raise Different(f"{ours} and {theirs} differ in keys or sizes: {bad}")
        (rows,) = con.sql("SELECT count(*) FROM ours").fetchall()[0]
        query = f"SELECT ours.key, data, jpg FROM {joined} ORDER BY hash(ours.key) LIMIT {_LOOKED_AT}"
        found = [(psnr(data, jpg), key) for key, data, jpg in con.sql(query).fetchall()]
    worst, key = min(found)
    if worst < LEAST_PSNR:
        raise Different(f"{ours} and {theirs}: {key} has a PSNR of {worst:.1f} dB, {LEAST_PSNR} is the least")
    return Likeness(int(rows), worst, float(np.median([value for value, _ in found])))


def psnr(first: bytes, second: bytes) -> float:
    """Of two JPEG files of one size, over all RGB values."""
    pixels = [np.asarray(Image.open(BytesIO(data)).convert("RGB"), np.float32) for data in (first, second)]
    error = float(np.mean((pixels[0] - pixels[1]) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def main(ours: str, theirs: str) -> int:
    try:
        print(compare_pictures(ours, theirs))
    except Different as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
