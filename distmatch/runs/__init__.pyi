from .outcome import RunOutcome as RunOutcome
from .run import Run as Run
from .runner import perform as perform
