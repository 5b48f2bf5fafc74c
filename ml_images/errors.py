"""The one exception for a user's mistake: entry points print its one line and exit with code 2."""


class InputError(ValueError):
    """Wrong input. The message is one line that names what was given and what is accepted."""
