"""Annotation lists as long as the published ones and of their shape, made from a seed."""
