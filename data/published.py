"""Says where the published datasets are and how to fetch them; nothing here downloads."""

from typing import Final

INSTRUCTIONS: Final = """\
The published data sets are on Kaggle: you need an account there, and must accept each competition's rules on its page.
Install Kaggle's client (pip install kaggle), put your API token into ~/.kaggle/kaggle.json, then:

Expressions: FER2013, 48x48 grey, `emotion, Usage, pixels`
  https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge
  kaggle competitions download -c challenges-in-representation-learning-facial-expression-recognition-challenge \\
      -f icml_face_data.csv
  This file has seven classes: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral. Name them in the
  ingest settings (`classes`) and map angry to anger and happy to happiness (`mapping`); fear and neutral are left out.

Keypoints: Facial Keypoints Detection, 96x96 grey, 30 coordinates and `Image`
  https://www.kaggle.com/c/facial-keypoints-detection
  kaggle competitions download -c facial-keypoints-detection
  Unpack training.zip: training.csv holds the faces with keypoints. Points are missing in about 70% of its rows; these
  cells are empty, and are read as such.

A .csv can stay as it is or be packed with gzip (.csv.gz); a .zip must be unpacked.
"""
"""What to tell a person who wants to train on real faces."""
