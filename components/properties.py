"""Execution properties that a step is given as text: known before the run, or told by its first task on a cluster."""

from tfx.dsl.placeholder.placeholder import Placeholder

Text = str | Placeholder
