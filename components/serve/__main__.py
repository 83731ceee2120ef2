"""`python -m components.serve`: serves what the pipeline pushed."""

import dataclasses
import os
import sys
from typing import Final

import click

from components.errors import StepError
from components.serve.limits import Limits

_DEFAULT: Final = Limits()
_PORT: Final = click.IntRange(0, 65535)


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True})
@click.option('--folder', default='serving', help='What the pipeline pushed: a folder, or s3://bucket/prefix.')
@click.option('--host', default='127.0.0.1', help='Address to listen on; 0.0.0.0 for every one.')
@click.option('--http-port', type=_PORT, default=8501, help='Page, REST and metrics; 0 for any that is free.')
@click.option('--grpc-port', type=_PORT, default=8500, help='Open Inference Protocol; 0 for no gRPC.')
@click.option('--threads', type=click.IntRange(1, 256), default=2, help='Requests that are answered at once.')
@click.option('--queue', type=click.IntRange(0), default=64, help='Requests that may wait for a thread.')
@click.option('--poll', type=click.FloatRange(0.05), default=2.0, help='Seconds between two looks at the folder.')
@click.option('--client-timeout', type=click.FloatRange(0.1), default=_DEFAULT.seconds, help='Seconds for a request.')
@click.option('--maximum-batch', type=click.IntRange(1), default=_DEFAULT.batch, help='Images of one request.')
@click.option(
    '--maximum-megapixels', type=click.FloatRange(0.01), default=_DEFAULT.pixels / 1e6, help='Of one request.'
)
@click.option(
    '--maximum-photo-mib', type=click.FloatRange(0.01), default=_DEFAULT.photo_bytes / 2**20, help='Of a photograph.'
)
@click.option(
    '--maximum-body-mib', type=click.FloatRange(0.01), default=_DEFAULT.body_bytes / 2**20, help='Of any other body.'
)
@click.option('--maximum-connections', type=click.IntRange(1), default=_DEFAULT.connections, help='Open at once.')
def main(
    folder: str,
    host: str,
    http_port: int,
    grpc_port: int,
    threads: int,
    queue: int,
    poll: float,
    client_timeout: float,
    maximum_batch: int,
    maximum_megapixels: float,
    maximum_photo_mib: float,
    maximum_body_mib: float,
    maximum_connections: int,
) -> None:
    """Serve the pushed models: a page, TensorFlow Serving's REST contract, the Open Inference Protocol, metrics."""
    limits = dataclasses.replace(
        _DEFAULT,
        seconds=client_timeout,
        batch=maximum_batch,
        pixels=int(maximum_megapixels * 1e6),
        photo_bytes=int(maximum_photo_mib * 2**20),
        body_bytes=int(maximum_body_mib * 2**20),
        connections=maximum_connections,
    )
    # NumPy's matrices are small: threads of its own would wait for one another, at five times the processor's time.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    # kserve reads the command line for itself when it is imported.
    sys.argv = sys.argv[:1]
    from components.serve.server import Options, serve

    try:
        serve(Options(folder, host, http_port, grpc_port, threads, queue, poll, limits))
    except StepError as error:
        raise click.ClickException(str(error)) from error


if __name__ == '__main__':
    main(prog_name='python -m components.serve')
