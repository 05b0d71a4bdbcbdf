"""Errors for logs, and folders of logs, that cannot be read as they are."""

from __future__ import annotations

from credit_like.config import UserError


class LogError(UserError):
    """A log is missing, damaged, wrongly labelled, or holds too many lines that cannot be read.

    The message begins with the file (``path:line`` where one line is to blame) and ends with what to do.
    """


class UnknownFormatError(LogError):
    """A file is empty, or its content is no log that any reader knows; ``why`` says which, in a few words."""

    def __init__(self, file: str, why: str, remedy: str) -> None:
        super().__init__(f"{file}: {why}; {remedy}")
        self.why = why
