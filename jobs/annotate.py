"""Annotation lists and a class hierarchy in; the tables labels, rejects and vocabulary out.

Examples:
  spark-submit jobs/annotate.py lists=train_urls.txt vocabulary=vocabulary.txt output=out/annotate
  ml-images annotate "lists=[lists/*.txt]" vocabulary=vocabulary.txt output=out/annotate closure=leaf_only
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_images import config, entry
from ml_images.annotations import reasons
from ml_images.annotations.duplicates import Duplicates
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.names import parse_names
from ml_images.hierarchy.parse import Format, parse_hierarchy
from ml_images.hierarchy.vocabulary import to_table
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.annotate import Closure, Negatives, annotate
from ml_images.spark.label_parts import Closing
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import find_files, join, read_bytes, resolve


@dataclass(frozen=True)
class Job:
    lists: list[str] = option(help="annotation lists; local ones may hold * and ?")
    vocabulary: str = option(help="classes and their hierarchy, e.g. dictionary_and_semantic_hierarchy.txt")
    output: str = option(help="folder for the tables and report.json")
    vocabulary_format: Format = option("auto", "form of the vocabulary; files of id pairs do not tell: name it")
    names: str = option("", "lines of `id name`, for a vocabulary that has no names")
    closure: Closure = option("closed_max", "what the hierarchy adds to the labels of each image, or takes away")
    negatives: Negatives = option(
        "none", "verified absences (confidence 0) imply absent descendants; who wins a conflict"
    )
    duplicates: Duplicates = option(
        "merge", "a key in several rows: all their tags in one row, the first row only, or an error"
    )
    max_loss: float = option(0.1, "share of lines that may be rejected before the exit code is 3")
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        if self.negatives != "none" and self.closure != "closed_max":
            raise ValueError(f"negatives={self.negatives} goes with closure=closed_max, got closure={self.closure}")
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="annotate.py", doc=__doc__)
    files = find_files(job.lists, "annotation list")
    names = parse_names(read_bytes(job.names, "names"), job.names) if job.names else None
    vocabulary = parse_hierarchy(read_bytes(job.vocabulary, "vocabulary"), job.vocabulary, job.vocabulary_format, names)
    output = resolve(job.output)
    tables.claim(output, "annotate")
    report = JobReport("annotate", output, config.to_dict(job))
    closing = Closing(find_ancestors(vocabulary.parents), job.closure, job.negatives)
    made = [join(output, table) for table in (*closing.tables, "vocabulary")]
    with locked(made[0]):
        with session.opened("annotate", job.spark, light=True) as spark:
            done = annotate(spark, files, closing, job.duplicates, output)
        tables.stage_table(made[-1], "vocabulary", to_table(vocabulary))
        if job.negatives == "none":
            tables.withdraw(join(output, "conflicts"))  # of an earlier run, which looked for them
        tables.publish(*made)
    rejected = sum(done.rejects.values())
    report.counts["lines"] = {
        "read": done.lines,
        "label rows": done.rows,
        "merged into another row of the same key": done.merged,
        "rejected": rejected,
    }
    report.counts["rejected by reason"] = done.rejects
    report.counts["labels"] = {
        "given": done.labels_given,
        "of them in another row of the same key, too": done.repeated,
        "of them in rows rejected for their key": done.labels_rejected,
        f"after {job.closure}": done.labels_closed,
        "dropped as given twice in a row": done.duplicate_tags,
    }
    if job.negatives != "none":
        which = f"a positive label, and a verified absence of its class or of one above ({job.negatives})"
        report.counts["conflicts"] = {which: done.conflicts}
    report.counts["label rows by source"] = done.sources
    report.finish(classes=vocabulary.num_classes)
    lost = rejected - done.rejects.get(reasons.BLANK, 0)  # a blank line says nothing that could be lost
    return entry.TOO_MUCH_LOST if lost > job.max_loss * done.lines else entry.DONE


if __name__ == "__main__":
    entry.run(main)
