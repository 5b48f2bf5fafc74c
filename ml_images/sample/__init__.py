"""A miniature world made from a seed: hierarchy, pictures, lists, and a web server with faults."""
