"""The colours of the expressions, in the order of `faces.EXPRESSIONS`: those of the server's page."""

from typing import Final

ON_LIGHT: Final = ('#b3261e', '#17724a', '#3563c9', '#8a5600', '#8b3db8')
ON_DARK: Final = ('#ff8d84', '#5cd197', '#7ea6ff', '#f1c15f', '#dba0fa')
