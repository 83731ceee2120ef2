"""What the commands share: the options that name a configuration, and how an error ends."""

from typing import Any, Final

import click

from components.errors import StepError
from components.storage.uris import is_stored
from pipeline.beam.settings import RUNNERS
from pipeline.folders import interruption

_ENGINE: Final = 'pipeline.options.engine'


class Group(click.Group):
    """Ends every error that a person can mend in one line."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except StepError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.filename is None:
                message = interruption(error)
            else:
                message = f'{error.strerror}: {error.filename}. Name another folder, or make room for this one.'
            # Anything else is none of the user's doing; click itself ends a broken pipe.
            if not message:
                raise
            raise click.ClickException(message) from error


class Folder(click.Path):
    """The path of a folder, or the URI of one in an object store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if is_stored(value) else super().convert(value, param, ctx)


def config_options(command):
    """The options that name a configuration."""
    command = click.option(
        '--set',
        'overrides',
        multiple=True,
        metavar='KEY=VALUE',
        callback=_after_the_engine,
        help='Override a value, e.g. train.expression.epochs=5.',
    )(command)
    return click.option(
        '--config', 'name', default='demo', show_default=True, help='demo, full, or the path of a YAML file.'
    )(command)


def engine_option(command):
    """The option that is short for a value of the configuration, where a command runs Beam or shows the values."""
    return click.option(
        '--beam',
        type=click.Choice(RUNNERS),
        is_eager=True,
        expose_value=False,
        callback=_remember_the_engine,
        help='Engine of ingest, statistics, Transform and Evaluator: short for --set beam.runner=….',
    )(command)


def model_options(command):
    """The options that name a pushed model."""
    command = click.option(
        '--version', type=click.IntRange(1), metavar='N', help='Of the model; the newest when left out.'
    )(command)
    return click.option(
        '--serving',
        type=Folder(file_okay=False),
        metavar='DIR',
        help="The serving folder, a path or an s3:// URI, instead of the configuration's.",
    )(command)


def _remember_the_engine(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.meta[_ENGINE] = value


def _after_the_engine(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    engine = context.meta.get(_ENGINE)
    return (f'beam.runner={engine}', *values) if engine else values
