"""What can be configured of each step, as frozen dataclasses.

A step's executor receives its settings as JSON text in the execution property `settings`, so that a changed value is a
changed execution and nothing else reruns. `pipeline/config.py` composes these classes and fills them from YAML.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import dacite

Settings = TypeVar('Settings')


def demand(holds: bool, rule: str) -> None:
    """Raises ValueError with the rule where it does not hold; the configuration tells it in one line."""
    if not holds:
        raise ValueError(f'{rule}.')


@dataclass(frozen=True)
class IngestSettings:
    """How FaceExampleGen reads one dataset.

    Attributes:
        files: patterns of CSV files (`.csv`, `.csv.gz`) or of folders `<split>/<class>/*.png|jpg`; `*` and `?` match
            within a folder's name, `{SPAN}` matches a number.
        spans: `latest`, or a range such as `3-7`, both ends included, or `latest-3` for the three newest.
        classes: class names in the order of the data's codes (expressions only), e.g. those of the 7-class file.
        mapping: from a class name of the data to one of `faces.EXPRESSIONS`, where the two differ. Classes that map to
            no expression are left out and counted.
        protocol: `clean` leaves twins of eval images and persons of the eval split out of training, and rejects images
            whose labels contradict; `original` keeps every readable row of the classes and splits by chance, 90% to
            train, 5% to eval and 5% left out, as the original project did. It ignores `split`, usages and persons.
        split: `hash` by content hash, `usage` by the ` Usage` column or by the folders' names.
        evaluation_usages: values of ` Usage` (or folder names) that go to the eval split.
        unused_usages: values of ` Usage` that are left out, counted.
        evaluation_percent: share of the eval split, in percent, when `split` is `hash`.
        group_column: name of a column that holds a person's identity; a person lies in one split only.
        corrections: patterns, as in `files`, of CSV files that leave training rows of the expressions out or relabel
            them, with the columns `content_hash`, `label`, `suggestion` (expressions) and `action` (`exclude`,
            `relabel` or nothing).
        maximum_reject_share: the run stops when a larger share of the rows cannot be read.
        limit: read at most this many rows of each file; 0 reads all.
        shards: files that each split is written to, every row always to the same one; 0 leaves both to Beam, or makes
            as many as workers train on them.
        maximum_image_pixels: larger encoded images are rejected before they are decoded.
    """

    files: tuple[str, ...] = ()
    spans: str = 'latest'
    classes: tuple[str, ...] = ()
    mapping: dict[str, str] = field(default_factory=dict)
    protocol: Literal['clean', 'original'] = 'clean'
    split: Literal['hash', 'usage'] = 'hash'
    evaluation_usages: tuple[str, ...] = ('PublicTest', 'test')
    unused_usages: tuple[str, ...] = ('PrivateTest',)
    evaluation_percent: int = 20
    group_column: str = ''
    corrections: tuple[str, ...] = ()
    maximum_reject_share: float = 0.05
    limit: int = 0
    shards: int = 0
    maximum_image_pixels: int = 16_000_000

    def __post_init__(self):
        demand(0 <= self.evaluation_percent <= 100, 'evaluation_percent lies between 0 and 100')
        demand(0 <= self.maximum_reject_share <= 1, 'maximum_reject_share lies between 0 and 1')
        demand(self.limit >= 0, 'limit is 0 (all rows) or more')
        demand(self.shards >= 0, 'shards is 0 or more')


@dataclass(frozen=True)
class ValidateSettings:
    """What DataGate lets pass.

    Attributes:
        maximum_class_drift: largest L-infinity distance between the class shares of this run's and of the last accepted
            run's training split.
        maximum_image_drift: largest Jensen-Shannon divergence of the mean and of the standard deviation of the images,
            against the last accepted run.
        maximum_split_distance: the same two distances between this run's training and eval splits.
        minimum_examples: fewest Examples in each split.
    """

    maximum_class_drift: float = 0.1
    maximum_image_drift: float = 0.1
    maximum_split_distance: float = 0.1
    minimum_examples: int = 100


@dataclass(frozen=True)
class AugmentSettings:
    """Bounds of the random changes to a training image.

    Attributes:
        flip: whether half of the images are mirrored.
        rotation: degrees either way.
        scale: largest relative change of size.
        shift: largest shift either way, as a share of the image's width.
        brightness: largest shift of all pixels, in standard deviations of the training pixels.
        contrast: largest relative change of contrast.
        occlusion: largest side of a grey square, as a share of the image's width; 0 for none.
        occlusion_probability: share of the images that get such a square.
        mixup: of the expressions' images, parameter of the Beta distribution by which two are blended; 0 for none.
        cutmix: of the expressions' images, parameter of the Beta distribution by which a square of one is put into
            another; 0 for none. With `mixup` too, each image gets one of the two.
    """

    flip: bool = True
    rotation: float = 12.0
    scale: float = 0.12
    shift: float = 0.08
    brightness: float = 0.3
    contrast: float = 0.25
    occlusion: float = 0.25
    occlusion_probability: float = 0.3
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        demand(min(self.mixup, self.cutmix) >= 0, 'mixup and cutmix are 0 (none) or more')


@dataclass(frozen=True)
class TrainSettings:
    """One network and its training.

    Attributes:
        image_size: width and height of the network's input, in pixels; Transform resizes to it.
        widths: channels of each stage of residual blocks; multiples of 16 are fastest on a processor.
        blocks: residual blocks in each stage.
        stem_stride: stride of the first convolution.
        last_stride: stride of the last stage, where there are several; 1 keeps its maps as large as those before.
        squeeze: by what squeeze-and-excitation divides the channels of a residual block; 0 for none.
        stochastic_depth: share of the training images that skip the last residual block; each one before it is skipped
            more seldom, in proportion to its number.
        dropout: share of the pooled features dropped before the head.
        epochs: passes over the training split.
        batch_size: images in a step; what is left over at the end of an epoch waits for the next one.
        learning_rate: peak of the cosine schedule.
        warmup_epochs: epochs of linear warm-up before it.
        weight_decay: AdamW's decoupled decay.
        label_smoothing: for the expressions' cross-entropy.
        logit_adjustment: how much less the expressions' answers count on each class's share of the training rows: 0 for
            nothing; 1 favours the rare classes as much as if all were equally frequent.
        calibration_percent: share of the training rows, in percent, that the expressions' network is not trained on but
            its temperature is fitted on; 0 for no temperature.
        networks: how many are trained, each from random weights of its own; the model answers with their mean, for as
            many times the time. The report shows the learning curves and the maps of attention of the first.
        patience: epochs without a better figure on the eval split before training stops early.
        average_epochs: over how many epochs the weights are averaged for the model that is kept; 0 for none.
        average_mirror: whether the model answers with the mean over an image and its mirror image, for twice the time.
        mixed_precision: float16 on a GPU; ignored on a processor, where it is slower.
        augment: bounds of the augmentation.
    """

    image_size: int = 48
    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    stem_stride: int = 2
    last_stride: int = 2
    squeeze: int = 0
    stochastic_depth: float = 0.0
    dropout: float = 0.2
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    logit_adjustment: float = 0.0
    calibration_percent: float = 5.0
    networks: int = 1
    patience: int = 20
    average_epochs: float = 0.0
    average_mirror: bool = True
    mixed_precision: bool = True
    augment: AugmentSettings = AugmentSettings()

    def __post_init__(self):
        demand(self.image_size >= 16, 'image_size is 16 or more')
        demand(min(self.epochs, self.batch_size, self.patience) >= 1, 'epochs, batch_size and patience are 1 or more')
        demand(self.learning_rate > 0, 'learning_rate is more than 0')
        demand(0 <= self.dropout < 1, 'dropout lies between 0 and 1')
        demand(0 <= self.stochastic_depth < 1, 'stochastic_depth lies between 0 and 1')
        demand(min(self.stem_stride, self.last_stride) >= 1, 'stem_stride and last_stride are 1 or more')
        demand(self.squeeze >= 0, 'squeeze is 0 (none) or more')
        demand(self.networks >= 1, 'networks is 1 or more')
        demand(0 <= self.logit_adjustment <= 1, 'logit_adjustment lies between 0 and 1')
        demand(self.average_epochs >= 0, 'average_epochs is 0 (none) or more')
        demand(0 <= self.calibration_percent <= 50, 'calibration_percent lies between 0 and 50')
        demand(
            0 < len(self.widths) == len(self.blocks) and min(self.widths + self.blocks) >= 1,
            'widths and blocks have one number, 1 or more, for each stage',
        )


@dataclass(frozen=True)
class WorkerSettings:
    """How many processes train one network together, and who starts them.

    Attributes:
        count: of processes; 1 is the Trainer's own, over all GPUs of its machine.
        start: `local` starts them on this machine; with `external` TF_CONFIG is set around the command that runs the
            pipeline, which is the chief, and `python -m components.train.follow` runs on the other machines.
        restarts: how often they are started again after one has failed.
    """

    count: int = 1
    start: Literal['local', 'external'] = 'local'
    restarts: int = 3

    def __post_init__(self):
        demand(self.count >= 1, 'workers.count is 1 or more')
        demand(self.restarts >= 0, 'workers.restarts is 0 (none) or more')


@dataclass(frozen=True)
class AuditSettings:
    """How LabelAudit looks for wrong labels; its networks are small and quickly trained, for it needs one a fold.

    Attributes:
        folds: parts of the training split, each judged by a network that was trained on the others; 0 for no audit.
        widths, blocks, dropout, epochs, batch_size, learning_rate, augment: of each network, see TrainSettings.
        maximum_rows: most rows that are listed, those with the least credible labels.
    """

    folds: int = 0
    widths: tuple[int, ...] = (16, 32, 64, 128)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    dropout: float = 0.2
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    augment: AugmentSettings = AugmentSettings()
    maximum_rows: int = 500

    def __post_init__(self):
        demand(self.folds == 0 or self.folds >= 2, 'folds is 0 (no audit) or 2 or more')
        demand(self.maximum_rows >= 1, 'maximum_rows is 1 or more')
        self.training(TrainSettings.image_size)  # demands the rest

    def training(self, image_size: int) -> TrainSettings:
        """The training of one network through all its epochs, on images of this size."""
        return TrainSettings(
            image_size=image_size,
            widths=self.widths,
            blocks=self.blocks,
            dropout=self.dropout,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            label_smoothing=0.0,  # the probabilities are to mean what they say
            patience=max(1, self.epochs),
            augment=self.augment,
        )


@dataclass(frozen=True)
class Gate:
    """Thresholds of one figure.

    Attributes:
        minimum: least value that passes, for figures of which more is better.
        maximum: largest value that passes, for figures of which less is better.
        margin: non-inferiority margin: by how much worse than the served model's the figure may be, at the worse end of
            the interval of their difference. One that is worse beyond the noise is refused whatever the margin.
    """

    minimum: float | None = None
    maximum: float | None = None
    margin: float | None = None

    def __post_init__(self):
        demand(self.margin is None or self.margin >= 0, "a gate's margin is 0 or more")


@dataclass(frozen=True)
class EvaluateSettings:
    """Gates by metric name, and the slices in which the figures are also given.

    Attributes:
        gates: from a metric's name to its thresholds.
        slices: features by whose values the figures are sliced.
        batch_size: images in a prediction batch.
    """

    gates: dict[str, Gate] = field(default_factory=dict)
    slices: tuple[str, ...] = ('brightness', 'contrast', 'source')
    batch_size: int = 256


@dataclass(frozen=True)
class ExpressionLimits:
    """Of an expression model, by the test's name: the least share of the answers that must be as they should.

    None: the test is run and shown, and stops nothing.

    Attributes:
        mirror: of mirrored faces, whose expression must stay.
        shift: of faces shifted by 4% of their width to either side, up and down.
        brightness: of faces 10% darker and 10% brighter.
        jpeg: of faces compressed with JPEG quality 60.
        blur: of faces blurred by half a pixel of 48.
        drawn: of drawn faces with extreme expressions, which must be named rightly.
    """

    mirror: float | None = 0.98
    shift: float | None = 0.85
    brightness: float | None = 0.9
    jpeg: float | None = 0.9
    blur: float | None = 0.9
    drawn: float | None = 0.8

    def __post_init__(self):
        for name, limit in dataclasses.asdict(self).items():
            demand(limit is None or 0 <= limit <= 1, f'limits.{name} lies between 0 and 1, or is null for none')


@dataclass(frozen=True)
class KeypointLimits:
    """Of a keypoint model, by the test's name: the largest RMSE in pixels of 96.

    None: the test is run and shown, and stops nothing.

    Attributes:
        mirror: between the points of a face and those of its mirror image, mirrored back.
        shift: likewise of faces shifted by 4% of their width, shifted back.
        brightness, jpeg, blur: between the points of a face and those of the same face as in `ExpressionLimits`.
        drawn: between the points of drawn faces and the truth.
    """

    mirror: float | None = 0.5
    shift: float | None = 2.0
    brightness: float | None = 1.0
    jpeg: float | None = 1.0
    blur: float | None = 1.5
    drawn: float | None = 3.0

    def __post_init__(self):
        for name, limit in dataclasses.asdict(self).items():
            demand(limit is None or 0 <= limit <= 96, f'limits.{name} lies between 0 and 96 px, or is null for none')


@dataclass(frozen=True)
class BehaviourSettings:
    """What BehaviourTest asks of a candidate.

    Attributes:
        faces: of the eval split that are changed and asked about.
        seed: of the noise, of the covered places and of the drawn people.
    """

    faces: int = 300
    seed: int = 0

    def __post_init__(self):
        demand(self.faces >= 1, 'faces is 1 or more')
        demand(self.seed >= 0, 'seed is 0 or more')


@dataclass(frozen=True)
class ExpressionBehaviour(BehaviourSettings):
    """BehaviourSettings with the limits of an expression model."""

    limits: ExpressionLimits = ExpressionLimits()


@dataclass(frozen=True)
class KeypointBehaviour(BehaviourSettings):
    """BehaviourSettings with the limits of a keypoint model."""

    limits: KeypointLimits = KeypointLimits()


@dataclass(frozen=True)
class CheckSettings:
    """What ServingCheck asks of a candidate.

    Attributes:
        questions: eval faces that each signature is asked about.
        tolerance: largest difference from the trainer's predictions: probabilities, and pixels.
        onnx_tolerance: largest difference of the ONNX form, as the server asks it, from the SavedModel: probabilities,
            and shares of the image's width or height.
        maximum_latency: seconds that the median answer to one image may take.
        timeout: seconds after which a candidate that has not answered fails.
    """

    questions: int = 16
    tolerance: float = 1e-3
    onnx_tolerance: float = 1e-3
    maximum_latency: float = 2.0
    timeout: float = 300.0


@dataclass(frozen=True)
class PushSettings:
    """How models are kept in the serving folder.

    Attributes:
        keep: versions of each model that are kept; the served one is always among them.
    """

    keep: int = 5


def to_json(settings: Any) -> str:
    """The settings as JSON text with sorted keys."""
    return json.dumps(dataclasses.asdict(settings), sort_keys=True)


def from_json(kind: type[Settings], text: str) -> Settings:
    """The settings of this kind that `to_json` wrote."""
    return dacite.from_dict(kind, json.loads(text), dacite.Config(cast=[tuple], strict=True))
