"""The words of the domain: expressions, keypoints, image sizes and the features of an Example.

Everything that two steps of the pipeline must agree on is named here once. Importing this module imports nothing heavy.
"""

from typing import Final, Literal, get_args

EXPRESSIONS: Final = ('anger', 'disgust', 'sad', 'happiness', 'surprise')
"""The five classes, in the order of their codes in the published expression file."""

KEYPOINTS: Final = (
    'left_eye_center',
    'right_eye_center',
    'left_eye_inner_corner',
    'left_eye_outer_corner',
    'right_eye_inner_corner',
    'right_eye_outer_corner',
    'left_eyebrow_inner_end',
    'left_eyebrow_outer_end',
    'right_eyebrow_inner_end',
    'right_eyebrow_outer_end',
    'nose_tip',
    'mouth_left_corner',
    'mouth_right_corner',
    'mouth_center_top_lip',
    'mouth_center_bottom_lip',
)
"""The 15 points, in the order of the published keypoint file. *Left* is the pictured person's own left."""

KEYPOINT_COLUMNS: Final = tuple(f'{name}_{axis}' for name in KEYPOINTS for axis in ('x', 'y'))
"""The 30 coordinate columns: x then y of each point, in pixels, origin at the top left of the image."""


def _mirror_name(name: str) -> str:
    if 'left' in name:
        return name.replace('left', 'right')
    return name.replace('right', 'left')


FLIP_ORDER: Final = tuple(KEYPOINTS.index(_mirror_name(name)) for name in KEYPOINTS)
"""For each point, the index of the point that takes its place in a mirrored face; its own inverse."""

EYE_CENTERS: Final = (KEYPOINTS.index('left_eye_center'), KEYPOINTS.index('right_eye_center'))
"""The two points whose distance is the inter-ocular distance."""

EXPRESSION_SIZE: Final = 48
"""Width and height, in pixels, of the images in the published expression file."""

KEYPOINT_SIZE: Final = 96
"""Width and height, in pixels, of the images in the published keypoint file; the pixels that errors are given in."""

# Features of an Example.
IMAGE: Final = 'image'  # PNG bytes
CONTENT_HASH: Final = 'content_hash'  # hexadecimal BLAKE2 of the decoded pixels
WIDTH: Final = 'width'
HEIGHT: Final = 'height'
MEAN: Final = 'mean'  # of the pixels, 0..255
STANDARD_DEVIATION: Final = 'standard_deviation'  # of the pixels, 0..127.5
BRIGHTNESS: Final = 'brightness'  # one of BRIGHTNESS_LEVELS
CONTRAST: Final = 'contrast'  # one of CONTRAST_LEVELS
SOURCE: Final = 'source'  # the file's name
ROW: Final = 'row'  # 1 for the first row after the header; 0 for an image file
GROUP: Final = 'group'  # the person, where the data name one, else the content hash
EXPRESSION: Final = 'expression'  # the class's name
LABEL: Final = 'label'  # the class's index
POINTS: Final = 'points'  # 30 floats, in pixels of the image; NaN where missing
POINTS_PRESENT: Final = 'points_present'  # 15 integers, 1 where the point is known

BRIGHTNESS_LEVELS: Final = ('dark', 'medium', 'bright')
CONTRAST_LEVELS: Final = ('low', 'medium', 'high')

TRAIN_SPLIT: Final = 'train'
EVAL_SPLIT: Final = 'eval'
SPLITS: Final = (TRAIN_SPLIT, EVAL_SPLIT)

# Signatures and outputs of the exported models.
SERVING_SIGNATURE: Final = 'serving_default'  # encoded images in
EXAMPLES_SIGNATURE: Final = 'serving_examples'  # serialized Examples in
SERVING_INPUT: Final = 'image_bytes'
PROBABILITIES: Final = 'probabilities'
KEYPOINTS_OUTPUT: Final = 'keypoints'  # [batch, 15, 2], in pixels of the image that was sent
EXPRESSION_NAMES: Final = 'expressions'  # [batch, 5], of the joint model, as the next one
KEYPOINT_NAMES: Final = 'keypoint_names'  # [batch, 15]

EXPRESSION_MODEL: Final = 'expression'
KEYPOINT_MODEL: Final = 'keypoints'
JOINT_MODEL: Final = 'faces'
SERVED_VERSION: Final = 'served_version'  # property of a baseline; 0 where nothing is served
TASKS: Final = (EXPRESSION_MODEL, KEYPOINT_MODEL)
MODELS: Final = (EXPRESSION_MODEL, KEYPOINT_MODEL, JOINT_MODEL)


Which = Literal['largest', 'all', 'whole']
WHICH: Final[tuple[str, ...]] = get_args(Which)
"""Faces of a photograph that are answered about: the largest one, all of them, or the whole image, which is one."""


def parts(model: str) -> tuple[str, ...]:
    """The tasks whose networks a model consists of."""
    return TASKS if model == JOINT_MODEL else (model,)


def brightness_level(mean: float) -> str:
    """The brightness slice of an image whose mean pixel is `mean` (0..255)."""
    return BRIGHTNESS_LEVELS[0 if mean < 95 else 1 if mean < 160 else 2]


def contrast_level(standard_deviation: float) -> str:
    """The contrast slice of an image whose pixels have this standard deviation (0..127.5)."""
    return CONTRAST_LEVELS[0 if standard_deviation < 40 else 1 if standard_deviation < 65 else 2]
