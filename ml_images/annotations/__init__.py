"""Annotation lists in every dialect: bytes in, label and reject batches out."""
