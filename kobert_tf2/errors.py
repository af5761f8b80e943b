"""The exception for errors that a user can fix.

Its message is a full sentence that names the file, line or id, what was expected and what was found. The programs in
`tools/` print it without a traceback and exit with status 1; Python callers can catch it as a `ValueError`.
"""


class InputError(ValueError):
    """Invalid input. The message says where it is, what was expected and what was found."""
