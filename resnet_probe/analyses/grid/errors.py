"""The error that a grid raises."""


class GridError(ValueError):
    """A grid that cannot begin or go on; the message is one line."""
