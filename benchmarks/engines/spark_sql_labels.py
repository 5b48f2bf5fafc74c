"""Plain Spark SQL, lists to Parquet as given.

    python benchmarks/engines/spark_sql_labels.py OUTPUT LIST...

Tried: an array of structs made by transform, sorted by sort_array (kept); str_to_map and its entries cast to structs;
every second element of one split.
"""

import os
import sys
from pathlib import Path

from clock import Clock
from pyspark.sql import SparkSession, functions

LABELS = """sort_array(transform(split(substring(value, instr(value, '\\t') + 1), '\\t'), tag -> named_struct(
    'class', cast(substring_index(tag, ':', 1) AS int), 'confidence', cast(substring_index(tag, ':', -1) AS float))))"""


def main(output: str, lists: list[str]) -> None:
    clock = Clock()
    builder = SparkSession.builder.master(f"local[{len(os.sched_getaffinity(0))}]")
    for name in ("spark.driver.host", "spark.driver.bindAddress"):
        builder = builder.config(name, "127.0.0.1")
    for name in ("spark.ui.enabled", "spark.ui.showConsoleProgress"):
        builder = builder.config(name, "false")
    spark = builder.getOrCreate()
    clock.ready()
    lines = spark.read.text([Path(name).as_uri() for name in lists]).withColumn("source", functions.input_file_name())
    rows = lines.selectExpr("substring_index(value, '\\t', 1) AS key", "source", f"{LABELS} AS labels")
    labels = rows.selectExpr("key", "source", "labels.class AS classes", "labels.confidence AS confidences")
    # The level of zstd is 1 in all engines.
    writer = labels.write.option("compression", "zstd").option("parquet.compression.codec.zstd.level", "1")
    writer.parquet(Path(output).as_uri())
    clock.done()
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
