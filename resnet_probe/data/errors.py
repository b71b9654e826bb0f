"""The one error that reading data raises."""


class DataError(ValueError):
    """Data that cannot be read as asked; the message is one line: what was given, what is allowed, what to do."""
