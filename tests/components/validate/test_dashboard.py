"""The gate's page as Kubeflow's dashboard renders it, of findings and anomalies that TFDV made."""

import html.parser

import pytest
import tensorflow_data_validation as tfdv

from components import faces
from components.ingest.rejects import Summary
from components.markdown import ROWS
from components.settings import ValidateSettings
from components.validate import gate
from components.validate.dashboard import to_markdown
from components.validate.findings import Finding
from tests.components import viewer

HOSTILE = '<script>alert("x")</script>|*a*_b_`c`[d](javascript:alert(1))&lt;https://example.org\\|\n# e'
SHOWN = HOSTILE.replace('\n', '\\n')
SUMMARY = Summary(
    rows=1175,
    kept={'train': 900, 'eval': 260},
    rejected={'one flat colour': 3, HOSTILE: 4},
    left_out={'contradicting labels': 8},
    duplicates=5,
    files=('a.csv', HOSTILE),
    span=7,
    fingerprint='0f' * 16,
)
RENDERERS = [
    viewer.render_markdown,
    pytest.param(
        viewer.render_markdown_as_dashboard,
        marks=pytest.mark.skipif(
            not viewer.has_dashboard_library(),
            reason='NOT TESTED: Node finds no markdown-to-jsx (npm install markdown-to-jsx@9 react@18 react-dom@18)',
        ),
    ),
]


class Page(html.parser.HTMLParser):
    """The tags, headings, paragraphs and table rows of a rendered page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self._into: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == 'tr':
            self.rows.append([])
        self._into.append(self.rows[-1] if tag in ('td', 'th') else self.texts.setdefault(tag, []))
        self._into[-1].append('')

    def handle_endtag(self, tag):
        self._into.pop()

    def handle_data(self, data):
        if self._into:
            self._into[-1][-1] += data


@pytest.fixture(scope='module')
def anomalies(examples, change, measure, schemas):
    """Of faces with an unknown expression and a mean that is out of range; the eval split is sound."""
    broken = [change(example, expression=HOSTILE.encode(), mean=0.0) for example in examples['expression'][:60]]
    schema = schemas[faces.EXPRESSION_MODEL]
    return {
        faces.TRAIN_SPLIT: tfdv.validate_statistics(measure(broken + examples['expression'][60:]), schema),
        faces.EVAL_SPLIT: tfdv.validate_statistics(measure(examples['expression']), schema),
    }


@pytest.fixture(scope='module')
def findings(examples, measure, anomalies):
    statistics = {split: measure(examples['expression']) for split in faces.SPLITS}
    return [
        *gate.schema_findings(anomalies),
        *gate.count_findings(statistics, ValidateSettings(minimum_examples=100)),
        Finding('leak', f'2 training Examples of {HOSTILE}', 2, 0, False, True),
        Finding('split-distance', 'mean is 0.034321 away', 0.034321, 0.1, True),
    ]


@pytest.mark.parametrize('render', RENDERERS)
def test_the_page_has_its_parts_and_nothing_of_the_data_is_markup(render, findings, anomalies):
    page = Page(render(to_markdown('expression', findings, anomalies, SUMMARY)))
    assert page.texts['h1'] == ['Data of the expression model: refused']
    assert page.texts['h2'] == ['Gates', 'Anomalies', 'Rows']
    assert page.tags <= {'div', 'h1', 'h2', 'p', 'table', 'thead', 'tbody', 'tr', 'th', 'td'}
    assert ['overridden', f'2 training Examples of {SHOWN}', '2', 'at most 0'] in [row[1:] for row in page.rows]
    assert ['rejected', SHOWN, '4', '0.3%'] in page.rows
    assert f'1,175 read from a.csv, {SHOWN} up to span 7; 5 show the image of another one.' in page.texts['p']


@pytest.mark.parametrize('render', RENDERERS)
def test_gates_are_told_worst_first_with_value_and_limit(render, findings, anomalies):
    rows = Page(render(to_markdown('expression', findings, anomalies))).rows
    assert rows[0] == ['Gate', 'Verdict', 'Found', 'Value', 'Limit']
    verdicts = [row[1] for row in rows[1 : 1 + len(findings)]]
    assert verdicts == ['stopped', 'stopped', 'overridden', 'passed', 'passed', 'passed', 'passed']
    assert ['minimum-examples', 'passed', 'train: 120 Examples', '120', 'at least 100'] in rows
    assert ['split-distance', 'passed', 'mean is 0.034321 away', '0.03432', 'at most 0.1'] in rows


def test_anomalies_are_told_by_split_and_feature_with_a_cure(findings, anomalies):
    page = Page(viewer.render_markdown(to_markdown('expression', findings, anomalies)))
    told = {tuple(row[:2]): row[2:] for row in page.rows if row[0] in faces.SPLITS}
    assert told.keys() == {('train', 'expression'), ('train', 'mean')}
    assert '<script>' in told['train', 'expression'][0]
    assert told['train', 'expression'][1] == 'Correct the unknown values, or change schemas/expression.pbtxt.'
    assert told['train', 'mean'][1].startswith('Correct or remove the values that are out of range, or')
    assert 'Mend the data, or override for one run: schema.' in page.texts['p']


def test_every_kind_of_anomaly_that_has_a_cure_is_one_of_tfdvs():
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    from components.validate import dashboard

    assert set(dashboard._CURES) <= set(anomalies_pb2.AnomalyInfo.Type.keys())


def test_sound_data_are_told_as_such(anomalies):
    sound = {faces.EVAL_SPLIT: anomalies[faces.EVAL_SPLIT]}
    passed = [Finding('leak', '0 training Examples', 0, 0, True)]
    page = Page(viewer.render_markdown(to_markdown('keypoints', passed, sound)))
    assert page.texts['h1'] == ['Data of the keypoints model: accepted']
    assert page.texts['h2'] == ['Gates', 'Anomalies']
    assert page.texts['p'] == ['None: every split is as schemas/keypoints.pbtxt demands.']


def test_what_became_of_corrections_is_told(anomalies):
    summary = Summary(9, {}, {}, {}, 0, (), None, '', corrections={'training rows relabelled': 1200, 'others': 0})
    page = Page(viewer.render_markdown(to_markdown('expression', [], anomalies, summary)))
    assert 'Corrections: 1,200 training rows relabelled, 0 others.' in page.texts['p']
    assert 'twin' not in ' '.join(page.texts['p'])


def test_an_override_is_told_in_the_heading(anomalies):
    overridden = [Finding('leak', '2 training Examples', 2, 0, False, True)]
    page = Page(viewer.render_markdown(to_markdown('expression', overridden, anomalies)))
    assert page.texts['h1'] == ['Data of the expression model: accepted with overrides']


@pytest.mark.parametrize('render', RENDERERS)
def test_endless_data_make_no_endless_page(render, anomalies):
    findings = [Finding('schema', '|' * 10_000, None, None, False)] * 5000
    summary = Summary(
        rows=10**7,
        kept={},
        rejected={f'{number} {"*" * 10_000}': number for number in range(1, 1001)},
        left_out={},
        duplicates=0,
        files=('\\' * 300,) * 1000,
        span=None,
        fingerprint='',
    )
    text = to_markdown('expression', findings, anomalies, summary)
    assert len(text) < viewer.MARKDOWN_SIGNS / 4
    page = Page(render(text))
    assert 'and 4,950 more.' in page.texts['p']
    assert f'and {1000 - ROWS:,} more.' in page.texts['p']
    assert page.rows[1][2] == '|' * 199 + '…'
    assert text.encode()


def test_a_name_that_is_no_unicode_can_be_written(anomalies):
    findings = [Finding('leak', 'faces of \udc80.csv\u202e', 1, 0, False)]
    text = to_markdown('expression', findings, anomalies)
    assert 'faces of \\\\udc80\\.csv\\\\u202e' in text.encode().decode()
