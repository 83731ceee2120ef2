"""The error that a person who runs the pipeline can mend."""


class StepError(Exception):
    """A step cannot go on because of its input or its settings.

    The message is one line that says what is wrong, where, and what to do; it is shown without a stack trace.
    """
