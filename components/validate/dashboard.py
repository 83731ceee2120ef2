"""What Kubeflow's dashboard shows of the data: the gates' verdicts, TFDV's anomalies and what became of the rows."""

from collections.abc import Mapping, Sequence

from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.ingest.rejects import Summary
from components.markdown import ROWS, escaped, table
from components.validate.findings import Finding


def to_markdown(
    task: str,
    findings: Sequence[Finding],
    anomalies: Mapping[str, anomalies_pb2.Anomalies],
    summary: Summary | None = None,
) -> str:
    """A page in Markdown, worst first; long tables and cells are cut, so that it stays below 400,000 characters.

    Whatever comes from the data is escaped, so that a file's name is neither markup nor a link.

    Args:
        task: `expression` or `keypoints`.
        findings: the gate's.
        anomalies: TFDV's, by split.
        summary: the account of the rows, where there is one.
    """
    parts = [
        f'# Data of the {escaped(task)} model: {_outcome(findings)}',
        *_gates(findings),
        *_anomalies(task, anomalies),
        *(_rows(summary) if summary is not None else ()),
    ]
    return '\n\n'.join(parts) + '\n'


def _outcome(findings: Sequence[Finding]) -> str:
    if any(finding.stops for finding in findings):
        return 'refused'
    return 'accepted with overrides' if any(finding.overridden for finding in findings) else 'accepted'


def _gates(findings: Sequence[Finding]) -> list[str]:
    stopping = sorted({finding.gate for finding in findings if finding.stops})
    advice = f'Mend the data, or override for one run: {", ".join(map(escaped, stopping))}.' if stopping else ''
    ordered = sorted(findings, key=lambda finding: (not finding.stops, finding.passed))
    verdicts = table(
        ('Gate', 'Verdict', 'Found', 'Value', 'Limit'),
        [(found.gate, _verdict(found), found.message, _number(found.value), _limit(found)) for found in ordered],
    )
    return ['## Gates', *filter(None, [advice]), verdicts]


def _verdict(finding: Finding) -> str:
    return 'stopped' if finding.stops else 'overridden' if finding.overridden else 'passed'


def _limit(finding: Finding) -> str:
    if finding.threshold is None:
        return _number(None)
    return f'at {"least" if finding.gate == "minimum-examples" else "most"} {_number(finding.threshold)}'


def _anomalies(task: str, anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[str]:
    rows = []
    for split, found in anomalies.items():
        if found.HasField('dataset_anomaly_info'):
            rows.append((split, 'the whole split', *_explained(task, found.dataset_anomaly_info)))
        for feature, info in sorted(found.anomaly_info.items()):
            rows.append((split, feature, *_explained(task, info)))
    if not rows:
        return ['## Anomalies', f'None: every split is as schemas/{escaped(task)}.pbtxt demands.']
    return ['## Anomalies', table(('Split', 'Feature', 'What', 'How to mend'), rows)]


def _explained(task: str, info: anomalies_pb2.AnomalyInfo) -> tuple[str, str]:
    kinds = [anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason]
    cures = dict.fromkeys(_CURES[kind] for kind in kinds if kind in _CURES) or ['Mend the rows']
    return info.description, f'{"; ".join(cures)}, or change schemas/{task}.pbtxt.'


_OUT_OF_RANGE = 'Correct or remove the values that are out of range'
_WRONG_TYPE = 'Correct the values of the wrong type'
_MISSING = 'Add what is missing to the rows'
_CURES = {
    'ENUM_TYPE_UNEXPECTED_STRING_VALUES': 'Correct the unknown values',
    'SCHEMA_MISSING_COLUMN': 'Add the column to the data',
    'SCHEMA_NEW_COLUMN': 'Remove the column from the data',
    'FEATURE_TYPE_NOT_PRESENT': _MISSING,
    'FEATURE_TYPE_LOW_FRACTION_PRESENT': _MISSING,
    'FEATURE_TYPE_LOW_NUMBER_PRESENT': 'Give more rows that have it',
    'INVALID_FEATURE_SHAPE': 'Give each row the right number of values',
    'UNEXPECTED_DATA_TYPE': _WRONG_TYPE,
    'INT_TYPE_SMALL_INT': _OUT_OF_RANGE,
    'INT_TYPE_BIG_INT': _OUT_OF_RANGE,
    'FLOAT_TYPE_SMALL_FLOAT': _OUT_OF_RANGE,
    'FLOAT_TYPE_BIG_FLOAT': _OUT_OF_RANGE,
    'FLOAT_TYPE_HAS_NAN': 'Correct or remove the values that are no numbers',
    'FLOAT_TYPE_HAS_INF': 'Correct or remove the values that are infinite',
    'LOW_SUPPORTED_IMAGE_FRACTION': 'Replace or remove the images that cannot be decoded',
    'DATASET_LOW_NUM_EXAMPLES': 'Give more rows',
}


def _rows(summary: Summary) -> list[str]:
    kinds = (('kept', summary.kept), ('rejected', summary.rejected), ('left out', summary.left_out))
    files = ', '.join(map(escaped, summary.files[:ROWS]))
    more = f' and {len(summary.files) - ROWS} more' if len(summary.files) > ROWS else ''
    span = '' if summary.span is None else f' up to span {summary.span}'
    leaks = f' {summary.leaks:,} eval rows have a twin in the training split.' if summary.protocol == 'original' else ''
    corrections = ', '.join(f'{count:,} {what}' for what, count in summary.corrections.items())
    return [
        '## Rows',
        f'{summary.rows:,} read from {files}{more}{span}; {summary.duplicates:,} show the image of another one.{leaks}',
        *([f'Corrections: {corrections}.'] if corrections else []),
        table(
            ('Outcome', 'Split or reason', 'Rows', 'Share'),
            [
                (kind, reason, f'{count:,}', f'{count / max(summary.rows, 1):.1%}')
                for kind, counts in kinds
                for reason, count in sorted(counts.items(), key=lambda item: -item[1])
            ],
        ),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return '–'
    return f'{value:,.0f}' if value == round(value) else f'{value:.4g}'
