"""One door to local paths and object stores; table parts that appear whole or not at all."""
