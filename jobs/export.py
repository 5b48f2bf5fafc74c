"""A data set in another program's format: TFRecord, WebDataset or ImageFolder; its splits stay.

tfrecord     <split>/000000.tfrecords of tf.train.Example, uncompressed. layout=sparse: key, image, classes (int64),
             confidences (float), width, height. layout=dense: that of Tencent ML-Images, one float32 a class, which
             takes 44,664 bytes an image and cannot tell a verified absence (confidence 0) from no label: labels_lost
webdataset   <split>/000000.tar of <key>.jpg and <key>.json; the same data set gives the same bytes
imagefolder  <split>/<class>/<key>.jpg; class is the number, padded with zeros. A picture of several classes lies under
             one: of its positive labels without another one below them the surest, then the deepest, then the lowest
             number. labels/<split>/*.parquet lists all labels. Those without a positive label: without_class/<split>.
             Readers that number the folders that are there (torchvision) get other numbers where a class has no picture

Beside them lies vocabulary.parquet. In names of files every byte of a key but A-Z a-z 0-9 - _ is %XX, and names of
more than 180 characters are cut and end with a digest; what lies beside a picture says its key. Keys that differ by
case alone are two files, though not on a disk that takes A for a. The replication of a row is not
exported. Give the whole of the output to jobs/ingest.py to get all of it back.

Examples:
  spark-submit jobs/export.py dataset=out/materialize/dataset output=out/tfrecord format=tfrecord
  ml-images export dataset=out/materialize/dataset output=out/dense format=tfrecord shards.layout=dense
  ml-images export dataset=out/materialize/dataset output=out/web format=webdataset shards.bytes=1000000000
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_images import config, entry
from ml_images.errors import InputError
from ml_images.interchange.inputs import Format
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.export import ShardConfig, export, publish
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import resolve


@dataclass(frozen=True)
class Job:
    dataset: str = option(help="folder of a data set, as jobs/materialize.py writes it")
    output: str = option(help="folder for the files and report.json")
    format: Format = option(help="format that is written")
    shards: ShardConfig = field(default_factory=ShardConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="export.py", doc=__doc__)
    dataset, output = resolve(job.dataset), resolve(job.output)
    tables.require(dataset, "dataset")
    if f"{output}/".startswith(f"{dataset}/"):
        raise InputError(f"output '{output}' lies in the data set '{dataset}': choose a folder outside of it")
    tables.claim(output, "export")
    report = JobReport("export", output, config.to_dict(job))
    with locked(output):
        with session.opened("export", job.spark, light=True) as spark:
            done = export(spark, dataset, output, job.format, job.shards)
        publish(output)
    report.counts["rows by split"] = done.rows
    report.counts["exported"] = {"shards": len(done.shards), **done.counts}
    report.finish(shards=[shard._asdict() for shard in done.shards])
    return entry.DONE


if __name__ == "__main__":
    entry.run(main)
