"""Where the real data sets are: in the folder that REMANENT_DATA names; without it, tests of them are skipped."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("REMANENT_DATA") or "REMANENT_DATA is not set")
SPEECH = FOLDER / "free-spoken-digit-dataset.zip"
MNIST = FOLDER / "MNIST" / "raw"
NO_SPEECH = "needs free-spoken-digit-dataset.zip in the folder that REMANENT_DATA names"
needs_speech = pytest.mark.skipif(not SPEECH.is_file(), reason=NO_SPEECH)
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="needs MNIST/raw in the folder that REMANENT_DATA names")
