from .outcome import RunOutcome as RunOutcome
from .performing import perform as perform
from .run import Run as Run
