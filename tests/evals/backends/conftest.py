"""What the tests of this folder share."""

import pytest

from tests.evals.backends.teaching import taught_model


@pytest.fixture(scope="session")
def taught():
    """A model and its tokenizers, with and without a template, taught to answer some examples."""
    return taught_model()
