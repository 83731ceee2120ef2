"""`POST /v1/photo`, and what `/metrics` says of it."""

import cv2
import numpy as np
import pytest
from PIL import Image

from components import faces
from components.inference.photo import face_from_json
from data.draw import draw_face
from tests.components.serve.pictures import GOOD, HOSTILE, encode, photograph


def scene(*sides: int) -> Image.Image:
    """Drawn faces of these sizes beside one another."""
    canvas = np.full((max(sides) + 200, sum(sides) + 150 * len(sides), 3), 200, np.uint8)
    left = 60
    for index, side in enumerate(sides):
        face = cv2.resize(draw_face(5, index, 'happiness').image, (side, side), interpolation=cv2.INTER_CUBIC)
        canvas[100 : 100 + side, left : left + side] = face[..., None]
        left += side + 150
    return Image.fromarray(canvas)


@pytest.mark.parametrize('name', list(GOOD))
def test_an_image_that_is_cut_already_is_answered_as_the_saved_model_answers(server, made, name):
    answer = server.post('/v1/photo?faces=whole', data=GOOD[name], headers={'Content-Type': 'image/jpeg'})
    assert (answer.status_code, answer.headers['Model-Version']) == (200, '3')
    content = answer.json()
    assert content['model'] == {'name': 'faces', 'version': 3}
    assert content['milliseconds'] > 0
    (face,) = (face_from_json(one) for one in content['faces'])
    assert face.box == (0, 0, content['image']['width'], content['image']['height'])
    expected = made[0].ask(faces.JOINT_MODEL, [GOOD[name]])
    np.testing.assert_allclose(face.probabilities, expected['probabilities'][0], atol=1e-4)
    np.testing.assert_allclose(face.keypoints, expected['keypoints'][0], rtol=1e-3, atol=2e-3)


def test_the_largest_face_or_all_of_them(server):
    photo = encode(scene(180, 320), 'JPEG', quality=92)
    largest = server.post('/v1/photo', data=photo).json()['faces']
    every = server.post('/v1/photo?faces=all', data=photo).json()['faces']
    assert (len(largest), len(every)) == (1, 2)
    assert largest[0] == every[0]
    assert every[0]['box']['width'] > every[1]['box']['width']
    assert every[0]['box']['left'] > every[1]['box']['left']


def test_no_face_is_an_ordinary_answer(server):
    answer = server.post('/v1/photo', data=encode(Image.new('RGB', (640, 480), 'white')))
    assert (answer.status_code, answer.json()['faces']) == (200, [])
    assert answer.json()['image'] == {'width': 640, 'height': 480}


def test_a_photograph_of_ten_megapixels(server):
    photo = scene(1800).resize((3872, 2592))
    content = server.post('/v1/photo', data=encode(photo, 'JPEG')).json()
    assert content['image'] == {'width': 3872, 'height': 2592}
    assert len(content['faces']) == 1


def test_a_photograph_is_turned_as_its_exif_says(server):
    upright = scene(320)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the top is at the right
    lying = encode(upright.transpose(Image.Transpose.ROTATE_90), 'JPEG', exif=exif, quality=95)
    content = server.post('/v1/photo', data=lying).json()
    assert content['image'] == {'width': upright.width, 'height': upright.height}
    expected = server.post('/v1/photo', data=encode(upright)).json()
    boxes = [list(one['faces'][0]['box'].values()) for one in (content, expected)]
    np.testing.assert_allclose(*boxes, atol=8)


@pytest.mark.parametrize('name', list(HOSTILE))
def test_what_is_no_photograph_gets_one_line(server, name):
    for which in ('largest', 'all', 'whole'):
        answer = server.post(f'/v1/photo?faces={which}', data=HOSTILE[name])
        assert (answer.status_code, answer.json().keys()) == (400, {'error'})
        assert 10 < len(answer.json()['error']) < 200
        assert answer.json()['error'].isprintable()


def test_another_choice_of_faces_is_told_what_there_is(server):
    answer = server.post('/v1/photo?faces=some', data=GOOD['colour PNG'])
    assert answer.status_code == 400
    assert 'largest' in answer.json()['error']


def test_metrics_count_what_was_asked_and_answered(server):
    names = {
        'requests': ('emotion_requests_total', {'model': 'faces', 'version': '3', 'status': '200'}),
        'refused': ('emotion_requests_total', {'model': 'faces', 'version': '3', 'status': '400'}),
        'unknown': ('emotion_requests_total', {'model': 'unknown', 'version': 'unknown', 'status': '404'}),
        'latency': ('emotion_request_seconds_count', {'model': 'faces', 'endpoint': 'photo'}),
        'pixels': ('emotion_image_pixels_count', {'model': 'faces'}),
        'area': ('emotion_image_pixels_sum', {'model': 'faces'}),
        'grey': ('emotion_image_brightness_sum', {'model': 'faces'}),
    }

    def figures() -> dict[str, float]:
        found = {short: server.metric(name, **labels) for short, (name, labels) in names.items()}
        answers = {'model': 'faces', 'version': '3'}
        kinds = [server.metric('emotion_answers_total', **answers, expression=one) for one in faces.EXPRESSIONS]
        return {**found, 'answers': sum(kinds)}

    before = figures()
    for _ in range(2):
        server.post('/v1/photo?faces=whole', data=encode(Image.new('L', (50, 40), 100)))
    server.post('/v1/photo', data=b'none')
    server.post('/v1/models/<secret>:predict', json={'instances': ['']})
    after = figures()
    assert {name: round(after[name] - before[name], 3) for name in before} == {
        'requests': 2,
        'refused': 1,
        'unknown': 1,
        'latency': 3,
        'pixels': 2,
        'area': 2 * 50 * 40,
        'grey': 200,
        'answers': 2,
    }
    assert 'secret' not in server.get('/metrics').text
    assert server.metric('emotion_loaded_version', model='faces') == 3
    assert server.metric('process_resident_memory_bytes') > 1e7


def test_a_request_is_one_line_of_the_log_without_the_image(server):
    before = len(server.log.read_text().splitlines())
    server.post('/v1/photo?faces=whole', data=encode(photograph()))
    server.post('/v1/photo', data=HOSTILE['half a PNG'])
    server.post('/v2/models/faces/infer', data=HOSTILE['text'])
    lines = server.log.read_text().splitlines()[before:]
    assert [line.rpartition(' ')[2] for line in lines] == ['200', '400', '400']
