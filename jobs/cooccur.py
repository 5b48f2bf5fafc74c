"""Which classes occur together: counts of all pairs, P(a|b), PMI and lift; with predictions also the strong pairs.

The strong pairs follow ML-Images: a class is given to all images of another one when a network sees it (score above
0.95) on more than half of them, and neither is an ancestor of the other. jobs/augment.py applies them.

Examples:
  spark-submit jobs/cooccur.py annotations=out/annotate output=out/cooccur
  ml-images cooccur annotations=out/annotate output=out/cooccur above=0.85 min_count=100
  ml-images cooccur annotations=out/annotate predictions=predictions.parquet output=out/cooccur
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ml_images import config, entry
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.labels.present import check_above
from ml_images.labels.strong_pairs import StrongPairsConfig
from ml_images.labels.surprising import surprising_pairs
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.cooccur import count_pairs
from ml_images.spark.strong_pairs import find_strong_pairs, require_predictions
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings

SHOWN = 20  # pairs that the console and report.json name


@dataclass(frozen=True)
class Job:
    annotations: str = option(help="output folder of jobs/annotate.py (tables labels and vocabulary)")
    output: str = option(help="folder for the tables cooccurrence, pairs and strong_pairs, and report.json")
    above: float = option(0.0, "count a label where its confidence is strictly above this; 0: every present label")
    min_count: int = option(10, "images that a pair needs to be in the table pairs; cooccurrence has all of them")
    predictions: str = option("", "Parquet file or folder with key, classes, scores: find strong pairs, too")
    strong: StrongPairsConfig = field(default_factory=StrongPairsConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        check_above(self.above)
        if self.min_count < 1:
            raise ValueError(f"min_count must be at least 1, got {self.min_count}")
        if self.strong != StrongPairsConfig() and not self.predictions:
            raise ValueError("strong.* chooses among predictions, and predictions= names none")


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="cooccur.py", doc=__doc__)
    annotations, output, predictions = resolve(job.annotations), resolve(job.output), job.predictions
    labels = join(annotations, "labels")
    tables.require(labels, "labels")
    if predictions:
        predictions = resolve(predictions)
        require_predictions(predictions)
    vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")
    ancestors = find_ancestors(vocabulary.column("parents").to_pylist())
    tables.claim(output, "cooccur")
    report = JobReport("cooccur", output, config.to_dict(job))
    made = [join(output, table) for table in ("cooccurrence", "pairs")]
    strong = join(output, "strong_pairs")
    with locked(made[0]):
        with session.opened(
            "cooccur", spark_settings(labels, predictions) | job.spark, light=not job.predictions
        ) as spark:
            counted = count_pairs(spark, labels, ancestors.num_classes, job.above, job.min_count, output)
            seen = None
            if predictions:
                seen = find_strong_pairs(spark, labels, predictions, ancestors, job.above, job.strong, output)
                made.append(strong)
        if not predictions:
            tables.withdraw(strong)  # of an earlier run, about other labels
        tables.publish(*made)
    report.counts["counted"] = {
        "label rows": counted.images,
        "labels": int(counted.images_per_class.sum()),
        "classes": int((counted.images_per_class > 0).sum()),
        "pairs of two classes": counted.pairs,
        f"in pairs (on {job.min_count} images or more)": counted.pairs_kept,
    }
    surprising = surprising_pairs(tables.read_table(made[1], "pairs"), vocabulary, SHOWN, job.min_count).to_pylist()
    report.counts["images with both classes, most surprising first"] = {
        f"{row['name_a']} + {row['name_b']}": row["count"] for row in surprising
    }
    if seen:
        report.counts["strong pairs"] = {
            "rows of predictions": seen.predictions,
            "label rows with predictions": seen.images,
            "label rows without": counted.images - seen.images,
            "strong pairs": seen.pairs,
        }
        report.counts["images that show both, highest share first"] = _name_strong(strong, vocabulary)
    report.finish(surprising=surprising)
    return entry.DONE


def _name_strong(location: str, vocabulary: pa.Table) -> dict[str, int]:
    names = _told_apart([names[0] for names in vocabulary.column("names").to_pylist()])
    pairs = tables.read_table(location, "strong_pairs").sort_by([("share", "descending"), ("count", "descending")])
    return {
        f"{names[row['class']]} -> {names[row['implied']]}": row["count"] for row in pairs.slice(0, SHOWN).to_pylist()
    }


def _told_apart(names: list[str]) -> list[str]:
    """With the number of the class behind a name that several classes have, as 1,631 of ML-Images do."""
    several = {name for name, count in Counter(names).items() if count > 1}
    return [f"{name} ({class_})" if name in several else name for class_, name in enumerate(names)]


if __name__ == "__main__":
    entry.run(main)
