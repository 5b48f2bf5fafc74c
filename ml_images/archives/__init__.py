"""Archives of pictures: which members labels ask for, and their bytes, read as a stream in one pass."""
