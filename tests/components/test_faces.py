import numpy as np

from components import faces


def test_flip_order_pairs_left_with_right_and_is_its_own_inverse():
    order = np.array(faces.FLIP_ORDER)
    np.testing.assert_array_equal(order[order], np.arange(15))
    for index, name in enumerate(faces.KEYPOINTS):
        mirrored = faces.KEYPOINTS[order[index]]
        assert sorted([name, mirrored]) == [name] * 2 or {'left', 'right'} == set(name.split('_')) ^ set(
            mirrored.split('_')
        )


def test_columns_are_x_then_y_of_each_point():
    assert faces.KEYPOINT_COLUMNS[:4] == (
        'left_eye_center_x',
        'left_eye_center_y',
        'right_eye_center_x',
        'right_eye_center_y',
    )
    assert len(faces.KEYPOINT_COLUMNS) == 30
