"""The one exception for what a user can mend.

Its message is a whole sentence that names the file, the line or the id, what was expected and what came. The programs
in `tools/` print it without a traceback and end with status 1; a caller in Python can catch it as a `ValueError`.
"""


class InputError(ValueError):
    """Wrong input, told in a sentence: where it is, what was expected, what came."""
