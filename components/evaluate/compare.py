"""Whether a candidate is no worse than what is served, by a figure's paired difference and its interval."""

from typing import Final, Literal

from components.evaluate.bootstrap import Difference

Finding = Literal['better', 'no worse', 'worse', 'not shown to be no worse']

PASSING: Final[tuple[Finding, ...]] = ('better', 'no worse')

# A difference of two figures is off by some rounding errors of float64: 0.85 - 0.86 < -0.01.
_ROUNDING: Final = 1e-12


def compare(difference: Difference | None, margin: float, more_is_better: bool) -> Finding:
    """What the interval of the difference says of the candidate.

    Args:
        difference: the candidate's figure less the baseline's; None where it is unknown.
        margin: the non-inferiority margin, by how much worse counts as no worse.
        more_is_better: of the figure.

    Returns:
        `better` where the whole interval is, `worse` where the whole interval is; of the others, whose difference is
        within the noise, `no worse` where the interval ends within the margin.
    """
    if difference is None:
        return 'not shown to be no worse'
    gain = (difference.low, difference.high) if more_is_better else (-difference.high, -difference.low)
    if gain[1] < 0:
        return 'worse'
    if gain[0] < -margin - _ROUNDING:
        return 'not shown to be no worse'
    return 'better' if gain[0] > 0 else 'no worse'
