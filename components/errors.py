"""The error that a person who runs the pipeline can mend."""


def one_line(text: str) -> str:
    """The text with line ends and control characters as escapes."""
    return ''.join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class StepError(Exception):
    """A step cannot go on because of its input or its settings.

    The message is one line that says what is wrong, where, and what to do; it is shown without a stack trace. It may
    quote what came from outside: line ends and control characters in it are written as escapes.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))
