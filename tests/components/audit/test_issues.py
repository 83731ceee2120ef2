"""Which rows are called wrong, against what is known of them."""

import numpy as np
import pytest
import sklearn.metrics

from components import faces
from components.audit.issues import find_issues
from components.settings import AuditSettings
from components.train.batches import Split

SETTINGS = AuditSettings(folds=4, epochs=9)
CHANGED = 40


def split(truth: np.ndarray, name: str) -> Split:
    count = len(truth)
    hashes = np.array([f'{name}{index:05d}' for index in range(count)])
    return Split(np.zeros((count, 0)), truth, hashes, np.full(count, f'{name}.csv'), np.arange(count) + 1, hashes)


def probabilities(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A network that is right in most cases, and knows how sure it can be."""
    scores = random.normal(size=(len(truth), 5)) + 5 * np.eye(5)[truth]
    return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope='module')
def data():
    """Training and eval rows of which some have wrong labels, and the networks' probabilities."""
    random = np.random.default_rng(7)
    right = random.choice(5, 1000, p=[0.3, 0.05, 0.25, 0.2, 0.2])
    predicted = probabilities(right, random)
    labels = right.copy()
    changed = random.choice(1000, CHANGED, replace=False)
    labels[changed] = (right[changed] + random.integers(1, 5, CHANGED)) % 5
    splits = split(labels[:800], 'train'), split(labels[800:], 'eval')
    names = np.concatenate([part.content_hash for part in splits])[changed]
    return splits, (predicted[:800], predicted[800:]), dict(zip(names, right[changed], strict=True))


@pytest.fixture(scope='module')
def found(data):
    splits, predicted, _ = data
    return find_issues(*splits, *predicted, SETTINGS)


def test_changed_labels_are_found_and_lead_the_list(data, found):
    issues, _ = found
    wrong = data[2]
    hits = [issue.content_hash in wrong for issue in issues]
    assert sum(hits) >= 0.7 * CHANGED  # one in 25 rows is changed
    assert sum(hits[:20]) >= 18
    suggested = [
        issue.suggestion == faces.EXPRESSIONS[wrong[issue.content_hash]]
        for issue in issues
        if issue.content_hash in wrong
    ]
    assert np.mean(suggested) > 0.9
    assert {issue.source for issue in issues} == {'train.csv', 'eval.csv'}


def test_each_issue_says_what_the_data_and_the_networks_say(data, found):
    issues, _ = found
    splits, predicted, _ = data
    for issue in issues:
        part = issue.source == 'eval.csv'
        index = issue.row - 1
        assert issue.content_hash == splits[part].content_hash[index]
        assert issue.label == faces.EXPRESSIONS[splits[part].truth[index]] != issue.suggestion
        assert issue.suggestion == faces.EXPRESSIONS[predicted[part][index].argmax()]
        assert issue.quality == pytest.approx(predicted[part][index][splits[part].truth[index]], abs=1e-4)
        assert issue.action == ''
    qualities = [issue.quality for issue in issues]
    assert qualities == sorted(qualities)


def test_the_summary_adds_up(data, found):
    issues, summary = found
    (training, evaluation), (held_out, _), wrong = data
    assert (summary.rows, summary.issues, summary.folds, summary.epochs) == (1000, len(issues), 4, 9)
    for label in faces.EXPRESSIONS:
        for suggestion in faces.EXPRESSIONS:
            listed = sum((issue.label, issue.suggestion) == (label, suggestion) for issue in issues)
            assert summary.pairs[label][suggestion] == listed
    joint = np.array([[summary.joint[label][true] for true in faces.EXPRESSIONS] for label in faces.EXPRESSIONS])
    labels = np.concatenate([training.truth, evaluation.truth])
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(labels) / 1000, atol=1e-9)
    assert 1 - np.trace(joint) == pytest.approx(len(wrong) / 1000, abs=0.03)
    report = sklearn.metrics.classification_report(training.truth, held_out.argmax(axis=1), output_dict=True)
    assert summary.accuracy == pytest.approx(report['accuracy'])
    assert summary.macro_f1 == pytest.approx(report['macro avg']['f1-score'])


def test_the_list_ends_where_it_shall_and_the_count_does_not(data, found):
    splits, predicted, _ = data
    issues, summary = find_issues(*splits, *predicted, AuditSettings(folds=4, epochs=9, maximum_rows=7))
    assert issues == found[0][:7]
    assert summary == found[1]


def test_an_expression_may_be_missing(data):
    splits, predicted, _ = data
    kept = [part.truth != 1 for part in splits]
    issues, summary = find_issues(
        *(part.at(rows) for part, rows in zip(splits, kept, strict=True)),
        *(rows[keep] for rows, keep in zip(predicted, kept, strict=True)),
        SETTINGS,
    )
    assert issues
    assert not any(issue.label == 'disgust' for issue in issues)
    assert set(summary.joint['disgust'].values()) == {0.0}
