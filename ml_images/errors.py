"""The exceptions whose one line is all that a user needs to see."""


class InputError(ValueError):
    """Wrong input: exit code 2. The message is one line that names what was given and what is accepted."""


class StorageError(OSError):
    """The place of the output refused a write (full, read-only): exit code 2. Nothing half-written counts as done."""
