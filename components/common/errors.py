"""The one exception type a user may see, and what makes other texts fit to be shown."""

import re


class FlywheelError(Exception):
    """A failure that a person can act on.

    Printed without a traceback: what was wrong, where, and what to do.

    Args:
        what: One sentence, what was wrong.
        where: The file, key, row or address it was found at; empty if ``what`` says it.
        fix: What to do next, preferably a command; empty if there is no single remedy.
        reason: A short machine-readable code that becomes a counter and a stored field.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", reason: str = "error") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        self.reason = reason
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its type when there is no message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def without_password(url: str) -> str:
    """A URL with ``***`` for the password that it may hold; the user and everything else stay.

    A password that is not percent-encoded may hold ``/`` or ``@``: all up to the last ``@`` is hidden.
    """
    return re.sub(r"^([^:/]+://[^:/@]*):.*@", r"\1:***@", url)
