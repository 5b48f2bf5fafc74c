"""One file for each form in which hierarchies are published: bytes -> Vocabulary. `hierarchy.parse` is their door."""
