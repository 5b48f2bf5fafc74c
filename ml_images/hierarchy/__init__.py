"""The class vocabulary and its hierarchy: loading, checking, ancestors, closure."""
