"""The errors that training raises."""


class TrainingError(ValueError):
    """A training that cannot begin, cannot go on, or diverged; the message is one line."""


class DivergedError(TrainingError):
    """A training whose loss or weights are no longer finite numbers."""
