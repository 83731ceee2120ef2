"""The error that a client can mend, or wait for."""

from components.errors import one_line


class RequestError(Exception):
    """A request is not answered.

    The message is one line that says what is wrong and what to do. It may quote what a client sent: line ends and
    control characters in it are written as escapes, and it is cut short.

    Args:
        status: of HTTP, 4xx or 503.
        message: for the client.
        retry_after: seconds after which asking again may help.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        shown = message if len(message) <= _LONGEST else f'{message[:_LONGEST]} …'
        super().__init__(one_line(shown))
        self.status = status
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Of the HTTP answer."""
        return {} if self.retry_after is None else {'Retry-After': str(self.retry_after)}


_LONGEST = 500
