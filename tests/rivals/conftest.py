"""The tiny encoder of these tests."""

from pathlib import Path

import pytest
from tests.encoders import save_encoder

from genner.rivals.encoder import WordEncoder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny BERT."""
    return save_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def tiny_encoder(encoder_folder: Path) -> WordEncoder:
    """The encoder in that folder."""
    return WordEncoder.load(str(encoder_folder))
