"""What the tests of this folder share."""

import pytest

from tests.evals.backends.serving import serving
from tests.evals.backends.teaching import taught_model


@pytest.fixture(scope="session")
def taught():
    """A model and its tokenizers, with and without a template, taught to answer some examples."""
    return taught_model()


@pytest.fixture(scope="module")
def served(taught):
    model, (tokenizer, _) = taught
    with serving(model, tokenizer) as server:
        yield server


@pytest.fixture
def server(served):
    """The same for one test: nothing asked, nothing to fail."""
    served.asked.clear()
    served.authorizations.clear()
    served.faults.clear()
    yield served
    served.faults.clear()
    served.gives_logprobs = served.shows_end = True
    served.most_choices = 1000
