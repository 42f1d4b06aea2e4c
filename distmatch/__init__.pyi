from . import anatomy as anatomy
from . import data as data
from . import evals as evals
from . import losses as losses
from . import measuring as measuring
from . import models as models
from . import plots as plots
from . import runs as runs
from . import sweeps as sweeps
from . import trainer as trainer
from .anatomy import take_apart as take_apart
from .data import Example as Example
from .data import WordDistribution as WordDistribution
from .evals import evaluate as evaluate
from .evals import merge_and_measure as merge_and_measure
from .losses import DIVERGENCES as DIVERGENCES
from .models import attach_lora as attach_lora
from .models import load_adapter as load_adapter
from .models import load_model as load_model
from .models.lora import lora as lora
from .own_chats import OwnChats as OwnChats
from .planning import memory_plan as memory_plan
from .scoring import score as score
from .sweeps import sweep as sweep
from .trainer import DistributionConfig as DistributionConfig
from .trainer import DistributionTrainer as DistributionTrainer

__version__: str
