from .card import card_measures as card_measures
from .outcome import RunOutcome as RunOutcome
from .run import Run as Run
from .runner import perform as perform
