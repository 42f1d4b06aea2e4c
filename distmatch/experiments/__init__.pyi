from .experiment import ARMS as ARMS
from .experiment import Experiment as Experiment
from .experiment import Primary as Primary
from .experiment import Unit as Unit
