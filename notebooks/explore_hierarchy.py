# Databricks notebook source
# MAGIC %md
# MAGIC # The hierarchy
# MAGIC
# MAGIC The vocabulary of `jobs/annotate.py`: as a radial tree, by the sizes of its subtrees, and the places that
# MAGIC look wrong. `pet` and `livestock` of ML-Images are leaves, `domestic animal` lacks cats and dogs.

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

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.defects import defects_table, of_kind, shallow_leaves
from ml_images.hierarchy.describe import describe_hierarchy
from ml_images.hierarchy.vocabulary import parents_of
from ml_images.report.hierarchy_figures import subtree_sizes
from ml_images.report.notebook import figures_html, numbers_table
from ml_images.report.radial_tree import radial_tree
from ml_images.storage import tables
from ml_images.storage.paths import join

annotations = dbutils.widgets.get("annotations")
vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")

# COMMAND ----------

# MAGIC %md
# MAGIC ## In numbers
# MAGIC
# MAGIC Lengths count edges.

# COMMAND ----------

display(numbers_table(describe_hierarchy(find_ancestors(parents_of(vocabulary)))).to_pandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## The radial tree
# MAGIC
# MAGIC Rest the pointer on a dot for the name and size of a subtree. Orange dots are leaves right below a class under
# MAGIC which leaves usually hang much deeper (see shallow leaves below); dashed red edges are second parents.

# COMMAND ----------

displayHTML(figures_html(radial_tree(vocabulary, shallow_leaves(vocabulary))))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Sizes of subtrees

# COMMAND ----------

displayHTML(figures_html(subtree_sizes(vocabulary)))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Defects: shallow leaves
# MAGIC
# MAGIC Leaves that stand beside whole subtrees: groups that lost their members when a class could keep one parent only.

# COMMAND ----------

defects = defects_table(vocabulary)
display(of_kind(defects, "shallow_leaves").to_pandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Defects: leaves after which other classes are named
# MAGIC
# MAGIC `snake` is a leaf; 33 kinds of snakes are elsewhere.

# COMMAND ----------

display(of_kind(defects, "named_after").to_pandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Defects: classes whose name claims others
# MAGIC
# MAGIC `domestic cat` is an animal, but no `domestic animal`.

# COMMAND ----------

display(of_kind(defects, "claimed").to_pandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Names of several classes

# COMMAND ----------

display(of_kind(defects, "same_names").to_pandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Classes with a single child

# COMMAND ----------

display(of_kind(defects, "only_child").to_pandas())
