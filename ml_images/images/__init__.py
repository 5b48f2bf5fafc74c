"""Image bytes: decode, orient, resize, hash."""
