# Databricks notebook source
# MAGIC %md
# MAGIC # Statistics of the labels
# MAGIC
# MAGIC What `jobs/annotate.py` made of the lists: rows, labels, tags per image, images per class, the most frequent and
# MAGIC the rarest classes. Each mean, quantile and Gini coefficient names what it is taken over.

# COMMAND ----------

# MAGIC %md
# MAGIC In a checkout of the repository this installs the library. A cluster that has it as a library does not need it.

# COMMAND ----------

# MAGIC %pip install --quiet ..

# COMMAND ----------

# MAGIC %restart_python

# COMMAND ----------

dbutils.widgets.text("annotations", "", "Output folder of jobs/annotate.py")

# COMMAND ----------

import pandas as pd

from ml_images.report.contents import Report
from ml_images.report.figures import figures
from ml_images.report.notebook import figures_html, numbers_table
from ml_images.report.numbers import report_json
from ml_images.spark.describe import count_tables
from ml_images.storage import tables
from ml_images.storage.paths import join

annotations = dbutils.widgets.get("annotations")
vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")
labels, rejects = join(annotations, "labels"), join(annotations, "rejects")
tables.require(labels, "labels")
tables.require(rejects, "rejects")

# COMMAND ----------

# MAGIC %md
# MAGIC ## One pass over the tables: the quantities of the ML-Images README, each with what it is taken over

# COMMAND ----------

statistics, rejected = count_tables(spark, labels, rejects, len(vocabulary))
report = Report(
    title="Statistics of the labels",
    vocabulary=vocabulary,
    statistics=statistics.result(),
    labels_per_class=statistics.labels_per_class,
    tags_per_image=statistics.tags_per_image,
)
numbers = report_json(report)
display(pd.DataFrame(numbers["readme"]))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Means, quantiles and Gini coefficients

# COMMAND ----------

display(numbers_table(numbers["labels"], without=("sources",)).to_pandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## What was rejected, with an example of each reason

# COMMAND ----------

display(pd.DataFrame(rejected, columns=["reason", "count", "source", "line", "text"]))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Each source: rows, labels, tags per image

# COMMAND ----------

display(pd.DataFrame.from_dict(numbers["labels"]["sources"], orient="index").reset_index(names="source"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Figures

# COMMAND ----------

displayHTML(figures_html(*figures(report)))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The most frequent classes

# COMMAND ----------

display(pd.DataFrame(numbers["most_frequent_classes"]))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The rarest classes that have images

# COMMAND ----------

display(pd.DataFrame(numbers["rarest_classes"]))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Labels of each depth of the hierarchy

# COMMAND ----------

display(pd.json_normalize(numbers["depths"], sep=" "))
