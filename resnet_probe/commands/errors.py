"""What is said about an error: one line, and the exit code of the program."""

import rich_click as click

LONGEST = 1000  # characters of a message; names in files have any length


def explain(error: Exception) -> tuple[str, int]:
    """What to say about an error, in one line, and the exit code."""
    if isinstance(error, click.UsageError):
        where = f" ({error.ctx.command_path} --help)" if error.ctx else ""
        message, code = f"{error.format_message()}{where}", error.exit_code
    elif isinstance(error, click.ClickException):
        message, code = error.format_message(), error.exit_code
    elif isinstance(error, OSError) and error.strerror:
        message, code = f"{error.filename}: {error.strerror}" if error.filename else error.strerror, 1
    elif isinstance(error, ValueError | LookupError) and type(error) not in (KeyError, IndexError):
        message, code = str(error), 2
    elif isinstance(error, RuntimeError | OSError | MemoryError | ImportError):
        message, code = str(error) or type(error).__name__, 1
    else:  # a mistake of this program, not of its user
        message, code = f"unexpected {type(error).__name__}: {error}; --debug shows where", 1
    line = " ".join(message.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 200]} … {line[-200:]}", code
