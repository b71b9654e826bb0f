"""The one error that training raises."""


class TrainingError(ValueError):
    """A training that cannot begin, cannot go on, or diverged; the message is one line."""
