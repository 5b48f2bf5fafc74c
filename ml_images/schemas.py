"""Columns of every table, once. Names and types are public contract; writers and readers derive theirs from here.

A class is its row number in the vocabulary, everywhere: in lists of classes, in matrices, in tensors (batch, classes).
"""

import pyarrow as pa

# What put a label on an image (column `origins`).
GIVEN, ANCESTOR, BY_COOCCURRENCE, PREDICTION, REVIEW = range(5)

# Confidence of a label whose presence nobody knows: neither a positive nor a negative.
UNKNOWN = -1.0

VOCABULARY = pa.schema(
    [
        pa.field("class", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),  # wnid or MID
        pa.field("names", pa.list_(pa.string()), nullable=False),
        pa.field("parents", pa.list_(pa.int32()), nullable=False),  # empty for a root
        pa.field("depth", pa.int32(), nullable=False),  # edges of the longest way up to a root
    ]
)

LABELS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("classes", pa.list_(pa.int32()), nullable=False),  # ascending, no duplicates
        pa.field("confidences", pa.list_(pa.float32()), nullable=False),  # in [0, 1], or UNKNOWN
        pa.field("origins", pa.list_(pa.int8()), nullable=False),
    ]
)

REJECTS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),  # 1-based
        pa.field("text", pa.string(), nullable=False),  # bytes that are not UTF-8 as \xNN
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.binary()),  # the line byte for byte where it is not UTF-8, otherwise null
    ]
)

# A positive label and a verified absence (confidence 0) of its class or of one above it, both given for the same image.
CONFLICTS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("positive", pa.int32(), nullable=False),  # a given class
        pa.field("positive_confidence", pa.float32(), nullable=False),  # as given
        pa.field("negative", pa.int32(), nullable=False),  # the same class or an ancestor of it, given as absent
        pa.field("resolution", pa.string(), nullable=False),  # one of hierarchy.conflicts.RESOLUTIONS
    ]
)

IMAGES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("final_url", pa.string()),
        pa.field("status", pa.int32()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("elapsed_ms", pa.int32(), nullable=False),
        pa.field("content_type", pa.string()),
        pa.field("sha256", pa.binary()),  # of the bytes as received
        pa.field("phash", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("original_width", pa.int32()),
        pa.field("original_height", pa.int32()),
        pa.field("original_bytes", pa.int64()),
        pa.field("fetched_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("data", pa.binary()),  # training-size JPEG, null unless the outcome is ok
        pa.field("detail", pa.string()),  # more about an outcome than its name, for people
    ]
)

COOCCURRENCE = pa.schema(
    [
        pa.field("class_a", pa.int32(), nullable=False),
        pa.field("class_b", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)

# What the counts say about two different classes, with at least so many images together.
PAIRS = pa.schema(
    [
        pa.field("class_a", pa.int32(), nullable=False),  # < class_b
        pa.field("class_b", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("a_given_b", pa.float32(), nullable=False),
        pa.field("b_given_a", pa.float32(), nullable=False),
        pa.field("pmi", pa.float32(), nullable=False),
        pa.field("lift", pa.float32(), nullable=False),
    ]
)

STRONG_PAIRS = pa.schema(
    [
        pa.field("class", pa.int32(), nullable=False),
        pa.field("implied", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),  # images of the class on which the other one is seen
        pa.field("images", pa.int64(), nullable=False),  # images of the class that have predictions
        pa.field("share", pa.float64(), nullable=False),  # count / images
    ]
)

# `split` is the partition folder (split=train/...), so it is not a column of the files themselves.
DATASET = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),  # JPEG
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("classes", pa.list_(pa.int32()), nullable=False),
        pa.field("confidences", pa.list_(pa.float32()), nullable=False),
        pa.field("replication", pa.float32(), nullable=False),
    ]
)

# Which split each key is given; the form of `splits.lists`.
GIVEN_SPLITS = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("split", pa.string(), nullable=False)])

FOLDS = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("fold", pa.int32(), nullable=False)])

LABELS_PER_SPLIT = pa.schema(
    [
        pa.field("class", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, val, test; or fold0, fold1, ...
        pa.field("images", pa.int64(), nullable=False),  # on which the class is present
    ]
)

REPLICATION = pa.schema(
    [
        pa.field("class", pa.int32(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),  # of the train split
        pa.field("share", pa.float64(), nullable=False),  # of the images of the train split: f(h)
        pa.field("factor", pa.float64(), nullable=False),  # r(h)
        pa.field("epoch_share", pa.float64(), nullable=False),  # of the images that an epoch shows, on average
    ]
)

PREDICTIONS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("classes", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
    ]
)

# What happened to each key that a model was to look at: the same names as in the table images (ml_images/outcomes.py).
OUTCOMES = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("outcome", pa.string(), nullable=False)])

CLASS_SCORES = pa.schema(
    [
        pa.field("class", pa.int32(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("image_size", pa.int32(), nullable=False),
        pa.field("positives", pa.int64(), nullable=False),
        pa.field("known", pa.int64(), nullable=False),  # images of which it is known whether they show the class
        pa.field("average_precision", pa.float64()),  # null without a positive and a negative
        pa.field("best_f1", pa.float64()),  # null where average_precision is, as is
        pa.field("threshold", pa.float32()),  # the score from which on images are kept for it
    ]
)

SPLITS = ("train", "val", "test")


def features(width: int) -> pa.Schema:
    """The table of what a network with so many features gives its head."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("features", pa.list_(pa.float32(), width), nullable=False),
        ]
    )
