"""The model that ships answers the development set's requests, whose words it was not trained on."""

from conftest import ROOT
from eval_starter import score


def test_first_calls():
    # The figure is 0.779.
    assert score(ROOT / "inference" / "assets" / "starter-eval") >= 0.75


def test_first_calls_in_another_session():
    # The figure is 0.759.
    assert score(ROOT / "inference" / "assets" / "starter-heldout") >= 0.70
