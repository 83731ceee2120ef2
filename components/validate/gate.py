"""The comparisons that DataGate makes: the schema's anomalies, leaks between splits, drift and balance."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components import faces
from components.settings import ValidateSettings
from components.validate.findings import Finding

Statistics = Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]


def schema_findings(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> Iterator[Finding]:
    """One finding for every anomaly that TFDV saw, or one that passes where it saw none."""
    for split, found in anomalies.items():
        if found.HasField('dataset_anomaly_info'):
            yield Finding('schema', f'{split}: {found.dataset_anomaly_info.description}', None, None, False)
        for feature, info in found.anomaly_info.items():
            yield Finding('schema', f'{split}, feature {feature}: {info.description}', None, None, False)
        if not found.anomaly_info and not found.HasField('dataset_anomaly_info'):
            yield Finding('schema', f'{split}: as the schema demands', None, None, True)


def image_findings(statistics: Statistics) -> Iterator[Finding]:
    """Whether TFDV took the images for images: where fewer than 80% are, it is silent instead of finding an anomaly."""
    for split, found in statistics.items():
        dataset = found.datasets[0]
        kinds = {
            kind.name
            for feature in dataset.features
            if feature.path.step[0] == faces.IMAGE
            for kind in feature.custom_stats
        }
        if dataset.num_examples >= _FEWEST_IMAGES and 'image_format_histogram' not in kinds:
            yield Finding('schema', f'{split}, feature image: more than a fifth are no images', None, None, False)


def count_findings(statistics: Statistics, settings: ValidateSettings) -> Iterator[Finding]:
    """Whether each split has enough Examples to learn from or to judge by."""
    for split, found in statistics.items():
        count = found.datasets[0].num_examples
        minimum = settings.minimum_examples
        yield Finding('minimum-examples', f'{split}: {count} Examples', count, minimum, count >= minimum)


def leak_findings(splits: Mapping[str, Iterable[Path]], protocol: str = 'clean') -> Iterator[Finding]:
    """Whether an image or a person of the eval split is also trained on, which the protocol `original` does not mind.

    Args:
        splits: files of Examples.
        protocol: by which they were split, see IngestSettings.
    """
    evaluation = list(_identities(splits[faces.EVAL_SPLIT]))
    hashes, groups = {row[0] for row in evaluation}, {row[1] for row in evaluation}
    leaks = sum(row[0] in hashes or row[1] in groups for row in _identities(splits[faces.TRAIN_SPLIT]))
    message = f'{leaks} training Examples show an image or a person of the eval split'
    is_meant = leaks > 0 and protocol == 'original'
    if is_meant:
        message += ', as the protocol of the original has it'
    yield Finding('leak', message, leaks, 0, leaks == 0, overridden=is_meant)


def drift_findings(current: Statistics, accepted: Statistics, settings: ValidateSettings) -> Iterator[Finding]:
    """Distances of the training split to that of the last accepted run."""
    here, before = current[faces.TRAIN_SPLIT], accepted[faces.TRAIN_SPLIT]
    for feature, distance in distances(here, before).items():
        gate = 'class-drift' if feature == faces.EXPRESSION else 'image-drift'
        limit = settings.maximum_class_drift if gate == 'class-drift' else settings.maximum_image_drift
        message = f'{feature} of the training split is {distance:.3f} from that of the last accepted run'
        yield Finding(gate, message, distance, limit, distance <= limit)


def split_findings(statistics: Statistics, settings: ValidateSettings) -> Iterator[Finding]:
    """Distances between the training and the eval split."""
    limit = settings.maximum_split_distance
    for feature, distance in distances(statistics[faces.EVAL_SPLIT], statistics[faces.TRAIN_SPLIT]).items():
        message = f'{feature} of the eval split is {distance:.3f} from that of the training split'
        yield Finding('split-distance', message, distance, limit, distance <= limit)


def distances(
    current: statistics_pb2.DatasetFeatureStatisticsList, previous: statistics_pb2.DatasetFeatureStatisticsList
) -> dict[str, float]:
    """TFDV's drift measures by feature: L-infinity for the classes, Jensen-Shannon for mean and deviation."""
    if not current.datasets[0].num_examples or not previous.datasets[0].num_examples:
        return {}
    present = {feature.path.step[0] for feature in current.datasets[0].features}
    schema = text_format.Parse(_COMPARED, schema_pb2.Schema())
    for feature in [feature for feature in schema.feature if feature.name not in present]:
        schema.feature.remove(feature)
    found = tfdv.validate_statistics(current, schema, previous_statistics=previous)
    return {
        info.path.step[0]: measurement.value
        for info in found.drift_skew_info
        for measurement in info.drift_measurements
    }


# TFDV's: it does not say what kind of values a feature has when there are fewer.
_FEWEST_IMAGES = 100

# TFDV measures only features whose comparator has a threshold; the gate compares with the configured ones itself.
_COMPARED = """
feature { name: "expression" type: BYTES drift_comparator { infinity_norm { threshold: 1.0 } } }
feature { name: "mean" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 1.0 } } }
feature { name: "standard_deviation" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 1.0 } } }
"""


def _identities(files: Iterable[Path]) -> Iterator[tuple[bytes, bytes]]:
    """Content hash and group of every Example."""
    wanted = {key: tf.io.FixedLenFeature([], tf.string) for key in (faces.CONTENT_HASH, faces.GROUP)}
    records = tf.data.TFRecordDataset([str(file) for file in files], compression_type='GZIP').batch(1024)
    for batch in records.map(lambda serialized: tf.io.parse_example(serialized, wanted)).as_numpy_iterator():
        yield from zip(batch[faces.CONTENT_HASH], batch[faces.GROUP], strict=True)
