"""Random changes to a batch of training images, and to the points with them.

Every operation works on a whole batch: images float32 `[batch, height, width, 1]`, points float32 `[batch, 15, 2]` as
shares of the image's width and height, NaN where missing. Randomness is stateless: the same seed gives the same batch.
"""

import math

import tensorflow as tf

from components import faces
from components.settings import AugmentSettings


def augment(
    images: tf.Tensor, points: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """All the changes that the settings ask for.

    Args:
        images: float32 `[batch, height, width, 1]`, normalised.
        points: float32 `[batch, 15, 2]`.
        seed: int32 `[2]`.
        settings: bounds of the changes.

    Returns:
        Images and points of the same shapes.
    """
    geometry, mirror, light, patch = tf.unstack(tf.random.split(seed, num=4))
    batch = tf.shape(images)[0]
    if settings.flip:
        mirrored = tf.random.stateless_uniform([batch], mirror) < 0.5
        images, points = flip(images, points, mirrored)
    matrices = random_matrices(batch, geometry, settings)
    images, points = warp(images, matrices), move(points, matrices)
    images = change_light(images, light, settings)
    return occlude(images, patch, settings), points


def flip(images: tf.Tensor, points: tf.Tensor, mirrored: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirrors the images for which `mirrored` (bool `[batch]`) holds; their left points become right points."""
    flipped = tf.gather(points, faces.FLIP_ORDER, axis=1) * [-1.0, 1.0] + [1.0, 0.0]
    return (
        tf.where(mirrored[:, None, None, None], images[:, :, ::-1], images),
        tf.where(mirrored[:, None, None], flipped, points),
    )


def random_matrices(batch: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """Rotation, scaling and shift as float32 `[batch, 2, 3]`, in shares of the image, about its centre."""
    drawn = tf.random.stateless_uniform([4, batch], seed, -1.0, 1.0)
    angle = drawn[0] * math.radians(settings.rotation)
    scale = 1.0 + drawn[1] * settings.scale
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    shift_x, shift_y = drawn[2] * settings.shift, drawn[3] * settings.shift
    across = tf.stack([cosine, -sine, 0.5 - 0.5 * cosine + 0.5 * sine + shift_x], axis=1)
    down = tf.stack([sine, cosine, 0.5 - 0.5 * sine - 0.5 * cosine + shift_y], axis=1)
    return tf.stack([across, down], axis=1)


def move(points: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Points `[batch, n, 2]` to where the matrices take them."""
    return tf.einsum('bij,bnj->bni', matrices[:, :, :2], points) + matrices[:, None, :, 2]


def warp(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Images after the matrices, bilinear; what comes from outside the image repeats its edge."""
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    # The operation asks where each output pixel comes from: the inverse, between centres of pixels.
    linear = matrices[:, :, :2]
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    inverse = (
        tf.stack(
            [
                tf.stack([linear[:, 1, 1], -linear[:, 0, 1]], axis=1),
                tf.stack([-linear[:, 1, 0], linear[:, 0, 0]], axis=1),
            ],
            axis=1,
        )
        / determinant[:, None, None]
    )
    size = tf.stack([width, height])
    inverse_pixels = inverse * (size[None, :, None] / size[None, None, :])
    offset = -tf.einsum('bij,bj->bi', inverse, matrices[:, :, 2]) * size
    # Pixel i has its centre at (i + 0.5).
    offset += tf.einsum('bij,j->bi', inverse_pixels, tf.constant([0.5, 0.5])) - 0.5
    flat = tf.stack(
        [
            inverse_pixels[:, 0, 0],
            inverse_pixels[:, 0, 1],
            offset[:, 0],
            inverse_pixels[:, 1, 0],
            inverse_pixels[:, 1, 1],
            offset[:, 1],
        ],
        axis=1,
    )
    transforms = tf.concat([flat, tf.zeros([tf.shape(images)[0], 2])], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation='BILINEAR',
        fill_mode='NEAREST',
    )


def change_light(images: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """Brightness and contrast, about each image's own mean."""
    drawn = tf.random.stateless_uniform([2, tf.shape(images)[0], 1, 1, 1], seed, -1.0, 1.0)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    contrasted = (images - mean) * (1.0 + drawn[0] * settings.contrast) + mean
    return contrasted + drawn[1] * settings.brightness


def occlude(images: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """A square of the training split's mean grey over some images (random erasing, arXiv:1708.04896)."""
    if not settings.occlusion:
        return images
    batch, height, width, _ = tf.unstack(tf.shape(images))
    drawn = tf.random.stateless_uniform([4, batch], seed)
    side = drawn[0] * settings.occlusion * tf.cast(drawn[1] < settings.occlusion_probability, tf.float32)
    return tf.where(_square(side, drawn[2:], height, width)[..., None], 0.0, images)


def blend(
    images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixup and CutMix, as the settings ask for: of both, each image gets one of the two, by the toss of a coin.

    Args:
        images: float32 `[batch, height, width, 1]`.
        targets: float32 `[batch, classes]`.
        seed: int32 `[2]`.
        settings: parameters of the two.

    Returns:
        Images and targets of the same shapes.
    """
    if not settings.cutmix:
        return mix(images, targets, seed, settings.mixup) if settings.mixup else (images, targets)
    cut_images, cut_targets = cut_and_mix(images, targets, tf.random.fold_in(seed, 1), settings.cutmix)
    if not settings.mixup:
        return cut_images, cut_targets
    mixed_images, mixed_targets = mix(images, targets, seed, settings.mixup)
    is_cut = tf.random.stateless_uniform([tf.shape(images)[0]], tf.random.fold_in(seed, 2)) < 0.5
    return (
        tf.where(is_cut[:, None, None, None], cut_images, mixed_images),
        tf.where(is_cut[:, None], cut_targets, mixed_targets),
    )


def cut_and_mix(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts a square of another image of the batch in each image's place (CutMix, arXiv:1905.04899).

    Args:
        images: float32 `[batch, height, width, 1]`.
        targets: float32 `[batch, classes]`; blended in the proportion of the pixels.
        seed: int32 `[2]`.
        alpha: both parameters of the Beta distribution of the share that the square leaves, before the image's edge
            cuts it off.

    Returns:
        Images and targets of the same shapes.
    """
    batch, height, width, _ = tf.unstack(tf.shape(images))
    first, second = tf.unstack(tf.random.stateless_gamma([2, batch], seed, alpha))
    side = tf.sqrt(tf.math.divide_no_nan(first, first + second))
    centre = tf.random.stateless_uniform([2, batch], tf.random.fold_in(seed, 1))
    square = _square(side, centre, height, width)
    share = 1.0 - tf.reduce_mean(tf.cast(square, tf.float32), axis=(1, 2))[:, None]
    return (
        tf.where(square[..., None], images[::-1], images),
        share * targets + (1.0 - share) * targets[::-1],
    )


def mix(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each image, and its target, with another one of the batch (mixup, arXiv:1710.09412).

    Args:
        images: float32 `[batch, height, width, 1]`.
        targets: float32 `[batch, classes]`.
        seed: int32 `[2]`.
        alpha: both parameters of the Beta distribution of the blend; the image itself has the larger share.

    Returns:
        Images and targets of the same shapes.
    """
    first, second = tf.unstack(tf.random.stateless_gamma([2, tf.shape(images)[0]], seed, alpha))
    # Both can be too small for float32.
    share = tf.math.divide_no_nan(first, first + second)
    share = tf.maximum(share, 1.0 - share)[:, None]
    image_share = share[:, :, None, None]
    return (
        image_share * images + (1.0 - image_share) * images[::-1],
        share * targets + (1.0 - share) * targets[::-1],
    )


def _square(side: tf.Tensor, centre: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Which pixels squares cover, bool `[batch, height, width]`.

    Args:
        side: float32 `[batch]`, as a share of the image's width and height.
        centre: float32 `[2, batch]`, x and y, likewise.
    """
    across = tf.abs(_centres(width)[None, :] - centre[0][:, None]) < side[:, None] / 2
    down = tf.abs(_centres(height)[None, :] - centre[1][:, None]) < side[:, None] / 2
    return down[:, :, None] & across[:, None, :]


def _centres(count: tf.Tensor) -> tf.Tensor:
    return (tf.range(tf.cast(count, tf.float32)) + 0.5) / tf.cast(count, tf.float32)
