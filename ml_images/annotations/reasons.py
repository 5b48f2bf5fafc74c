"""The closed list of reasons for which a line of an annotation list is not a label row (`rejects.reason`)."""

BLANK = "blank"
NO_TAGS = "no_tags"
BAD_TAG = "bad_tag"
CLASS_OUT_OF_RANGE = "class_out_of_range"
BAD_CONFIDENCE = "bad_confidence"
BAD_ENCODING = "bad_encoding"
DUPLICATE_KEY = "duplicate_key"

# What a line is rejected for without knowledge of others; compiled loops write the place in here.
OF_LINES = (BLANK, NO_TAGS, BAD_TAG, CLASS_OUT_OF_RANGE, BAD_CONFIDENCE, BAD_ENCODING)

MEANINGS = {
    BLANK: "nothing but spaces and tabs",
    NO_TAGS: "a key without any tag",
    BAD_TAG: "a field after the key that is not class[:confidence]",
    CLASS_OUT_OF_RANGE: "a class that the vocabulary does not have",
    BAD_CONFIDENCE: "a confidence that is neither -1 nor in [0, 1]",
    BAD_ENCODING: "not UTF-8",
    DUPLICATE_KEY: "a key that an earlier row has (duplicates=first)",
}
