"""Imported by Beam's workers as they start (`--beam_plugin=components.storage.beam_plugin`).

The one module here that acts when it is imported: an import is all that Beam's option can do.
"""

from components.storage.tensorflow import enable
from components.storage.uris import SCHEME

enable(SCHEME)
