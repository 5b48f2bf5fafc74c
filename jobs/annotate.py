"""Annotation lists and a class hierarchy in; the tables labels, rejects and vocabulary out.

Examples:
  spark-submit jobs/annotate.py lists=train_urls.txt vocabulary=vocabulary.txt output=out/annotate
  ml-images annotate "lists=[lists/*.txt]" vocabulary=vocabulary.txt output=out/annotate closure=leaf_only
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_images import config, entry
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.annotate import Closure, annotate
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import find_files, join, read_bytes, resolve


@dataclass(frozen=True)
class Job:
    lists: list[str] = option(help="annotation lists; local ones may hold * and ?")
    vocabulary: str = option(help="class file: 4 columns with header, or the older 3 columns")
    output: str = option(help="folder for the tables and report.json")
    closure: Closure = option("closed_max", "what the hierarchy adds to the labels of each image, or takes away")
    max_loss: float = option(0.1, "share of lines that may be rejected before the exit code is 3")
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="annotate.py", doc=__doc__)
    files = find_files(job.lists, "annotation list")
    vocabulary = parse_vocabulary(read_bytes(job.vocabulary, "vocabulary"), job.vocabulary)
    output = resolve(job.output)
    tables.claim(output, "annotate")
    report = JobReport("annotate", output, config.to_dict(job))
    made = [join(output, table) for table in ("labels", "rejects", "vocabulary")]
    with locked(made[0]):
        with session.opened("annotate", job.spark) as spark:
            done = annotate(spark, files, find_ancestors(vocabulary.parents), job.closure, output)
        tables.stage_table(made[-1], "vocabulary", to_table(vocabulary))
        tables.publish(*made)
    rejected = sum(done.rejects.values())
    report.counts["lines"] = {"read": done.lines, "label rows": done.rows, "rejected": rejected}
    report.counts["rejected by reason"] = done.rejects
    report.counts["labels"] = {
        "given": done.labels_given,
        f"after {job.closure}": done.labels_closed,
        "dropped as given twice in a row": done.duplicate_tags,
    }
    report.counts["label rows by source"] = done.sources
    report.finish(classes=vocabulary.num_classes)
    return entry.TOO_MUCH_LOST if rejected > job.max_loss * done.lines else entry.DONE


if __name__ == "__main__":
    entry.run(main)
