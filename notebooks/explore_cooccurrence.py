# Databricks notebook source
# MAGIC %md
# MAGIC # Co-occurrence
# MAGIC
# MAGIC The tables of `jobs/cooccur.py`: which classes are on the same images, and which of these pairs are a surprise.

# COMMAND ----------

# MAGIC %md
# MAGIC In a checkout of the repository this installs the library. A cluster that has it as a library does not need it.

# COMMAND ----------

# MAGIC %pip install --quiet ..

# COMMAND ----------

# MAGIC %restart_python

# COMMAND ----------

dbutils.widgets.text("annotations", "", "Output folder of jobs/annotate.py")
dbutils.widgets.text("cooccurrences", "", "Output folder of jobs/cooccur.py")
dbutils.widgets.text("num_classes", "36", "Classes of the heat map")
dbutils.widgets.text("num_pairs", "50", "Surprising pairs")
dbutils.widgets.text("min_count", "10", "Images that a surprising pair has at least")

# COMMAND ----------

from ml_images.labels.surprising import surprising_pairs
from ml_images.report.cooccurrence_figures import heat_map
from ml_images.report.notebook import figures_html
from ml_images.storage import tables
from ml_images.storage.paths import join

annotations = dbutils.widgets.get("annotations")
cooccurrences = dbutils.widgets.get("cooccurrences")
num_classes = int(dbutils.widgets.get("num_classes"))
num_pairs = int(dbutils.widgets.get("num_pairs"))
min_count = int(dbutils.widgets.get("min_count"))
vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")
cooccurrence = tables.read_table(join(cooccurrences, "cooccurrence"), "cooccurrence")
pairs = tables.read_table(join(cooccurrences, "pairs"), "pairs")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Heat map of the most frequent classes
# MAGIC
# MAGIC None of them is an ancestor of another; relatives stand together. Rest the pointer on a cell for its numbers.

# COMMAND ----------

displayHTML(figures_html(heat_map(cooccurrence, vocabulary, num_classes)))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The strongest surprising pairs
# MAGIC
# MAGIC Neither class is an ancestor of the other. `lift_at_least` is the lift that is left when the count is taken two
# MAGIC standard deviations lower; a pair whose relatives stand higher up already is left out.

# COMMAND ----------

display(surprising_pairs(pairs, vocabulary, num_pairs, min_count).to_pandas())
