"""The page of a run: the right numbers, nothing missing, nothing from outside, whatever state the run ended in."""

import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from components import faces
from components.ingest.rejects import read_pictures, read_summary
from components.report.metrics import kpis
from components.report.record import Branch, RunRecord, Step
from components.report.render import render
from components.settings import EvaluateSettings

VOID = {'meta', 'img', 'br'}


class Page(HTMLParser):
    """What a reader of the page finds.

    Attributes:
        tags: every start tag with its attributes.
        text: all text that is shown.
        headings: the text of each heading.
        tables: rows of cells, by the label of the box that the table scrolls in; a list, as chapters share labels.
            Intervals below a figure are not part of the cell's text.
        captions: by card heading, the captions of its pictures.
    """

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ''
        self.headings: list[str] = []
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.captions: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._table: list[list[str]] = []
        self.feed(html)
        assert self._open == [], f'unclosed: {self._open}'

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if attributes.get('role') == 'region':
            self._table = []
            self.tables.setdefault(attributes['aria-label'], []).append(self._table)
        if tag == 'tr':
            self._table.append([])
        elif tag in ('td', 'th'):
            self._table[-1].append('')
        elif tag in ('h1', 'h2', 'h3', 'h4'):
            self.headings.append('')
        elif tag == 'figcaption':
            self.captions.setdefault(self.headings[-1], []).append('')

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if 'style' in self._open:
            return
        self.text += data
        words = ' '.join(data.split())
        if not words:
            return
        below = self.tags[-1] == ('small', {'class': 'interval'}) and self._open[-1] == 'small'
        if {'td', 'th'} & set(self._open) and not below:
            self._table[-1][-1] = f'{self._table[-1][-1]} {words}'.strip()
        if {'h1', 'h2', 'h3', 'h4'} & set(self._open):
            self.headings[-1] = f'{self.headings[-1]} {words}'.strip()
        if 'figcaption' in self._open:
            captions = self.captions[self.headings[-1]]
            captions[-1] = f'{captions[-1]} {words}'.strip()

    def rows(self, label: str, which: int = 0) -> dict[str, list[str]]:
        """The cells of a table by the first of each row."""
        return {row[0]: row[1:] for row in self.tables[label][which]}


@pytest.fixture(scope='session')
def html(record) -> str:
    return render(record)


@pytest.fixture(scope='session')
def page(html) -> Page:
    return Page(html)


def test_has_every_section(page):
    assert page.headings[0] == 'Pushed'
    assert {
        'Serving',
        'What was pushed',
        'Serving check',
        'Expression: the model',
        'Expression: the data',
        'Keypoints: the model',
        'Keypoints: the data',
        'Confusion matrix',
        'Each expression',
        'Where the points are missed',
        'Each keypoint',
        'Slices',
        'Worst evaluation faces',
        'Best evaluation faces',
        'Learning curve: Loss',
        'Learning curve: Accuracy',
        'Learning curve: RMSE, px',
        'Data gate',
        'Anomalies that TFDV found',
        'Balance',
        'Rejected and left out',
        'Rejected pictures',
        'Faces of the train split',
        'Faces of the eval split',
        'What ran',
        'Configuration',
    } <= set(page.headings)
    assert 'Not shown' not in page.headings


def test_says_what_was_pushed_and_what_was_not(page):
    assert 'Version 3 of the expression model is now served; the faces model stayed behind.' in page.text
    assert 'Not fit to be served: the faces model' in page.text
    pushed = page.rows('Pushed models')
    assert pushed['Expression'] == ['version 3', '/srv/serving/expression/3']
    assert pushed['Faces (both in one)'] == ['not pushed', 'the serving check failed']


def test_expression_figures_are_those_of_the_predictions(page, predictions):
    arrays = predictions(faces.EXPRESSION_MODEL)
    truth, predicted = arrays['truth'], arrays['prediction'].argmax(1)
    rows = page.rows('Confusion matrix')
    shown = [[int(cell.split()[0]) for cell in rows[name]] for name in faces.EXPRESSIONS]
    np.testing.assert_array_equal(shown, sklearn.metrics.confusion_matrix(truth, predicted, labels=range(5)))

    expected = sklearn.metrics.precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=0)
    table = page.rows('Classification table')
    for index, name in enumerate(faces.EXPRESSIONS):
        precision, recall, f1, support = (column[index] for column in expected)
        auc = sklearn.metrics.roc_auc_score(truth == index, arrays['prediction'][:, index])
        assert table[name][:3] == [f'{precision:.3f}', f'{recall:.3f}', f'{f1:.3f}']
        assert float(table[name][3]) == pytest.approx(auc, abs=6e-4)
        assert table[name][4] == str(support)
    assert f'names {100 * np.mean(truth == predicted):.1f}% of 60 evaluation faces' in page.text


def test_keypoint_figures_are_those_of_the_predictions(page, predictions):
    arrays = predictions(faces.KEYPOINT_MODEL)
    squares = (arrays['prediction'] - arrays['truth']) ** 2
    assert f'is off by {np.sqrt(np.nanmean(squares)):.2f} px' in page.text
    table = page.rows('RMSE of each keypoint')
    for index, name in enumerate(faces.KEYPOINTS):
        assert table[name.replace('_', ' ')] == [f'{np.sqrt(np.nanmean(squares[:, index])):.2f}']
    circles = {float(tag[1]['r']) for tag in page.tags if tag[1].get('class') == 'error'}
    assert circles == {round(float(np.sqrt(np.nanmean(squares[:, index]))), 2) for index in range(15)}


def test_the_worst_and_the_best_faces_are_shown_first(record, predictions):
    keypoints = dataclasses.replace(record, branches=record.branches[1:])
    captions = Page(render(keypoints)).captions
    arrays = predictions(faces.KEYPOINT_MODEL)
    errors = np.sort(np.sqrt(np.nanmean((arrays['prediction'] - arrays['truth']) ** 2, axis=(1, 2))))
    assert captions['Best evaluation faces'] == [f'{error:.2f} px' for error in errors[:12]]
    assert captions['Worst evaluation faces'] == [f'{error:.2f} px' for error in errors[::-1][:12]]


def test_wrong_expressions_are_told_with_the_truth(record, predictions):
    expression = dataclasses.replace(record, branches=record.branches[:1])
    captions = Page(render(expression)).captions['Worst evaluation faces']
    arrays = predictions(faces.EXPRESSION_MODEL)
    right = arrays['prediction'][np.arange(60), arrays['truth']]
    for index, name in enumerate(faces.EXPRESSIONS):
        worst = np.flatnonzero(arrays['truth'] == index)[np.argmin(right[arrays['truth'] == index])]
        guess = arrays['prediction'][worst].argmax()
        caption = f'{faces.EXPRESSIONS[guess]} {100 * arrays["prediction"][worst].max():.0f}%'
        assert captions[4 * index] == (caption if guess == index else f'{caption} is {name}')


def test_gates_show_figure_threshold_baseline_and_verdict(page, predictions):
    arrays = predictions(faces.EXPRESSION_MODEL)
    accuracy = f'{100 * np.mean(arrays["truth"] == arrays["prediction"].argmax(1)):.2f}%'
    minimum, change, log_loss = page.tables['Gates of the Expression model'][0][1:]
    assert minimum == ['Accuracy', accuracy, 'at least 50.00%', '', 'passed']
    assert change[:3] == ['Accuracy', accuracy, 'at most 1.00% worse than what is served']
    assert re.fullmatch(r'\d\d\.\d\d%', change[3])
    assert log_loss[2:] == ['at most 0.2000', '', 'missed']
    assert 'Gates that the expression model missed: log loss' in page.text
    assert any(heading == 'Gates not blessed' for heading in page.headings)


def test_balance_counts_the_classes(page, predictions):
    rows = page.rows('Class balance by split')
    truth = predictions(faces.EXPRESSION_MODEL)['truth']
    for index, name in enumerate(faces.EXPRESSIONS):
        count = int((truth == index).sum())
        assert rows[name][2:] == [str(count), f'{100 * count / 60:.0f}%']
    assert sum(int(rows[name][0]) for name in faces.EXPRESSIONS) == 100


def test_tells_rejects_gate_and_anomalies(page):
    assert page.rows('Rejected rows by reason')['not a number in pixels'] == ['4', '2.29%']
    assert page.rows('Left out rows by reason')['contradicting labels'] == ['8', '4.57%']
    assert '160 were kept; 5 rows repeat another pixel for pixel' in page.text
    assert 'overridden' in page.text
    assert 'Unexpectedly large value: 100' in page.text


def test_slices_are_compared(page):
    rows = page.tables['Figures by slice'][0]
    assert rows[1][:2] == ['all faces', '60']
    start = rows.index(['brightness']) + 1
    brightness = rows[start : rows.index(['contrast'])]
    assert {row[0] for row in brightness} <= set(faces.BRIGHTNESS_LEVELS)
    assert sum(int(row[1]) for row in brightness) == 60
    accuracies = [float(row[2].rstrip('%')) for row in brightness]
    assert accuracies == sorted(accuracies), 'the worst comes first'
    assert '<script>alert("x")</script>.csv' in page.rows('Figures by slice')


def test_steps_show_state_and_time(page):
    rows = page.rows('Steps of the run')
    assert rows['expression.FaceExampleGen'] == ['cached', '0.3 s']
    assert rows['expression.Trainer'] == ['complete', '3 min 13 s']
    assert rows['Pusher-faces'] == ['not run', '']


def test_data_are_escaped_and_nothing_comes_from_outside(html, page):
    assert page.text.count('<script>alert("x")</script>.csv') > 3
    names = {name for name, _ in page.tags}
    assert not names & {'script', 'link', 'iframe', 'object', 'embed', 'base', 'form'}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith('on')]
        for name in ('src', 'href', 'srcset', 'xlink:href'):
            assert attributes.get(name, '#').startswith(('data:image/png;base64,', '#'))
    assert not re.search(r'url\(|@import|https?:', html)
    assert len(html.encode()) < 3_000_000


def test_can_be_read_without_seeing_it(page):
    for tag, attributes in page.tags:
        if tag == 'img':
            assert attributes['alt']
        if tag == 'svg':
            assert attributes.get('aria-hidden') == 'true' or (attributes['role'] == 'img' and attributes['aria-label'])
        if tag == 'th':
            assert attributes['scope'] in ('col', 'row', 'rowgroup')
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r'h\d', tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))


def test_links_lead_somewhere(page):
    targets = {attributes['id'] for _, attributes in page.tags if 'id' in attributes}
    assert {attributes['href'][1:] for tag, attributes in page.tags if tag == 'a'} == targets


def test_kpis_are_the_headline_figures(record, predictions):
    found = kpis(record)
    arrays = predictions(faces.EXPRESSION_MODEL)
    predicted = arrays['prediction'].argmax(1)
    assert found[faces.EXPRESSION_MODEL] == pytest.approx(
        {
            'accuracy': np.mean(arrays['truth'] == predicted),
            'macro_f1': sklearn.metrics.f1_score(arrays['truth'], predicted, average='macro'),
        }
    )
    arrays = predictions(faces.KEYPOINT_MODEL)
    rmse = np.sqrt(np.nanmean((arrays['prediction'] - arrays['truth']).astype(float) ** 2))
    assert found[faces.KEYPOINT_MODEL]['rmse'] == pytest.approx(rmse)
    assert set(found[faces.KEYPOINT_MODEL]) == {'rmse', 'mean_error_interocular'}


def without_data(record: RunRecord, state, message: str, **changes) -> RunRecord:
    branches = tuple(Branch(task, EvaluateSettings()) for task in (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL))
    steps = (Step('FaceExampleGen', 'failed', 3.0), Step('Trainer', 'not run'))
    nothing = {'branches': branches, 'steps': steps, 'checks': (), 'pushed': (), 'state': state, 'message': message}
    return dataclasses.replace(record, **{**nothing, **changes})


def test_a_run_that_the_rejects_stopped_shows_them(record, folders):
    rejects = folders[faces.EXPRESSION_MODEL] / 'rejects'
    message = '7 of 175 rows (4.0%) cannot be used, and 1.0% may: mend <b>them</b>.'
    stopped = without_data(
        record,
        'stopped',
        message,
        stop_summary=read_summary(rejects),
        stop_pictures=tuple(read_pictures(rejects)),
    )
    page = Page(render(stopped))
    assert page.headings[0] == 'Stopped at the data'
    assert message in page.text
    assert page.rows('Rejected rows by reason')['one flat colour'] == ['3', '1.71%']
    assert len(page.captions['Rejected pictures']) == 3
    assert 'There is no model to show' in page.text
    assert ('a', {'href': '#rejects'}) in page.tags
    assert 'Nothing was pushed: what was served before is still served.' in page.text


@pytest.mark.parametrize(
    ('state', 'heading'), [('failed', 'Failed'), ('interrupted', 'Interrupted'), ('refused', 'Refused')]
)
def test_a_run_without_any_part_says_so(record, state, heading):
    page = Page(render(without_data(record, state, 'disk full')))
    assert page.headings[0] == heading
    assert 'FaceExampleGen failed.' in page.text
    assert 'disk full' in page.text
    assert 'There are no data to show' in page.text


def test_a_run_that_never_began_is_told(record):
    page = Page(
        render(without_data(record, 'failed', '', branches=(), steps=(), configuration='', overrides=(), commit=''))
    )
    assert page.headings == ['Failed']


def test_a_run_that_ended_after_the_data_shows_them(record, folders):
    branch = Branch(
        faces.KEYPOINT_MODEL,
        EvaluateSettings(),
        **{name: folders[faces.KEYPOINT_MODEL] / name for name in ('examples', 'statistics', 'anomalies', 'verdict')},
    )
    page = Page(render(without_data(record, 'interrupted', '', branches=(branch,))))
    assert 'Faces of the train split' in page.headings
    assert 'The run ended before it made these: the count of rejects, the learning curves' in page.text


def test_damaged_parts_are_named_and_the_rest_is_shown(record, folders, tmp_path):
    branch = record.branches[0]
    model_run, statistics = tmp_path / 'model_run', tmp_path / 'statistics'
    shutil.copytree(branch.model_run, model_run)
    (model_run / 'history.json').write_text('{"loss": [1.0,')
    (model_run / 'predictions.npz').write_bytes(b'PK\3\4 cut off')
    statistics.mkdir()
    damaged = dataclasses.replace(branch, model_run=model_run, statistics=statistics)
    page = Page(render(dataclasses.replace(record, branches=(damaged,))))
    for part in ('the learning curves', 'the predictions', 'the statistics'):
        assert re.search(rf'unreadable\s+{part}: \w+', page.text)
    assert 'Confusion matrix' in page.headings
    assert 'Balance' not in page.headings


def test_pickled_predictions_are_refused(record, tmp_path):
    branch = record.branches[0]
    model_run = tmp_path / 'model_run'
    shutil.copytree(branch.model_run, model_run)
    np.savez(model_run / 'predictions.npz', **dict.fromkeys(('content_hash', 'source', 'row', 'truth'), Danger.array()))
    page = Page(render(dataclasses.replace(record, branches=(dataclasses.replace(branch, model_run=model_run),))))
    assert 'allow_pickle=False' in page.text
    assert not Danger.unpickled.exists()


class Danger:
    unpickled = Path('/tmp/report_test_unpickled')

    def __reduce__(self):
        return (Path.touch, (self.unpickled,))

    @classmethod
    def array(cls) -> np.ndarray:
        return np.array([cls()], dtype=object)
