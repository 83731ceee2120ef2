"""Runs a compiled pipeline in containers by KFP's own `kfp.local.DockerRunner`, and sums up what each task wrote."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from kfp import components, local
from rich.console import Console
from rich.table import Table


def main() -> int:
    """Run the pipeline that the command line names; the exit status is 0 where every task succeeded."""
    options = _parse_command_line()
    try:
        name = run_pipeline(options.pipeline, options.pipeline_root, dict(options.argument))
    except (OSError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        # A task failed (its log stands above), an argument is wrong, or KFP runs no such pipeline without a cluster.
        print(error, file=sys.stderr)
        return 1
    Console().print(summarise(options.pipeline_root, name))
    return 0


def run_pipeline(pipeline: Path, pipeline_root: Path, arguments: dict[str, str]) -> str:
    """Run a compiled pipeline to its end, and return its name; what the tasks write lies below `pipeline_root`.

    Raises:
        OSError: the file cannot be read.
        RuntimeError: a task failed.
        TypeError: an argument is missing, or unknown to the pipeline.
        ValueError: an argument is no number where one is needed, or a task did not say what it wrote.
        NotImplementedError: the pipeline has a condition, a loop or an exit handler.
    """
    local.init(runner=local.DockerRunner(), pipeline_root=str(pipeline_root), raise_on_error=True)
    component = components.load_component_from_file(str(pipeline))
    types = {name: spec.type for name, spec in (component.component_spec.inputs or {}).items()}
    component(**{name: _convert(value, types.get(name)) for name, value in arguments.items()})
    return component.pipeline_spec.pipeline_info.name


def summarise(pipeline_root: Path, name: str) -> Table:
    """Tabulate files and bytes of every output of every task of the pipeline of that name."""
    table = Table('task', 'output', 'files', 'bytes', title='What the tasks wrote')
    for task, output in _outputs(pipeline_root, name):
        files = [output] if output.is_file() else [path for path in output.rglob('*') if path.is_file()]
        table.add_row(task, output.name, str(len(files)), str(sum(path.stat().st_size for path in files)))
    return table


def _parse_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pipeline', type=Path, help='the compiled pipeline, a YAML file')
    parser.add_argument('--pipeline-root', type=Path, required=True, help='a folder that the image user may write to')
    parser.add_argument('--argument', type=_name_and_value, action='append', default=[], metavar='NAME=VALUE')
    return parser.parse_args()


def _name_and_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition('=')
    if not separator:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=VALUE')
    return name, value


def _convert(text: str, kind: str | None) -> str | int | float | bool:
    match kind:
        case 'Integer':
            return int(text)
        case 'Float':
            return float(text)
        case 'Boolean':
            return text.lower() == 'true'
    return text


def _outputs(pipeline_root: Path, name: str) -> Iterator[tuple[str, Path]]:
    # <pipeline root>/<pipeline>-<time>/<task>/<output>; volumes may lie beside it.
    for task in sorted(pipeline_root.glob(f'{name}-*/*')):
        if task.is_dir():
            for output in sorted(task.iterdir()):
                yield task.name, output


if __name__ == '__main__':
    sys.exit(main())
