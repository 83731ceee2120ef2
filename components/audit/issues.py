"""Confident learning (Northcutt et al. 2021, arXiv:1911.00068): from predictions to labels that are likely wrong."""

import numpy as np
import sklearn.metrics
from cleanlab.count import estimate_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from components import faces
from components.audit.results import Issue, Summary
from components.settings import AuditSettings
from components.train.batches import Split

CLASSES = range(len(faces.EXPRESSIONS))


def find_issues(
    training: Split,
    evaluation: Split,
    held_out: np.ndarray,
    of_evaluation: np.ndarray,
    settings: AuditSettings,
) -> tuple[list[Issue], Summary]:
    """The rows of both splits whose labels are likely wrong, the least credible first.

    Args:
        training, evaluation: of expressions.
        held_out, of_evaluation: float `[n, 5]`, probabilities by networks that were not trained on the rows.
        settings: of the audit.

    Returns:
        At most `settings.maximum_rows` issues, and the summary of all.
    """
    labels = np.concatenate([training.truth, evaluation.truth])
    probabilities = np.concatenate([held_out, of_evaluation]).astype(np.float64)
    quality = get_label_quality_scores(labels, probabilities)
    suggestions = probabilities.argmax(axis=1)
    # In this process: a fork of one that holds TensorFlow may hang.
    found = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    guesses = held_out.argmax(axis=1)
    summary = Summary(
        rows=len(labels),
        issues=len(found),
        pairs=_named(sklearn.metrics.confusion_matrix(labels[found], suggestions[found], labels=CLASSES)),
        joint=_named(estimate_joint(labels, probabilities)),
        accuracy=float(sklearn.metrics.accuracy_score(training.truth, guesses)),
        macro_f1=float(
            sklearn.metrics.f1_score(training.truth, guesses, labels=CLASSES, average='macro', zero_division=0)
        ),
        folds=settings.folds,
        epochs=settings.epochs,
    )
    origins = [
        (str(content_hash), str(source), int(row))
        for split in (training, evaluation)
        for content_hash, source, row in zip(split.content_hash, split.source, split.row, strict=True)
    ]
    worst = sorted(found, key=lambda index: (quality[index], origins[index]))[: settings.maximum_rows]
    issues = []
    for index in worst:
        content_hash, source, row = origins[index]
        issues.append(
            Issue(
                content_hash,
                source,
                row,
                label=faces.EXPRESSIONS[labels[index]],
                suggestion=faces.EXPRESSIONS[suggestions[index]],
                quality=round(float(quality[index]), 4),
            )
        )
    return issues, summary


def _named(matrix: np.ndarray) -> dict[str, dict]:
    """The values by the expression of the row, then by that of the column."""
    return {
        name: dict(zip(faces.EXPRESSIONS, values, strict=True))
        for name, values in zip(faces.EXPRESSIONS, matrix.tolist(), strict=True)
    }
