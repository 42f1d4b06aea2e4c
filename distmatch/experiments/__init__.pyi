from .experiment import ARMS as ARMS
from .experiment import Experiment as Experiment
from .experiment import Primary as Primary
from .experiment import Unit as Unit
from .running import ExperimentOutcome as ExperimentOutcome
from .running import read_outcome as read_outcome
from .running import run_experiment as run_experiment
from .verdict import Verdict as Verdict
