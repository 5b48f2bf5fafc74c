"""Where the driver of a job is found."""

from pyspark.sql import SparkSession


def bind_address(spark: SparkSession) -> str:
    """Where the driver listens to its executors: loopback in a local session."""
    return spark.sparkContext.getConf().get("spark.driver.bindAddress") or host(spark)


def host(spark: SparkSession) -> str:
    """The driver's address as executors know it."""
    return str(spark.sparkContext.getConf().get("spark.driver.host"))
