from .callbacks import Refresh as Refresh
from .distribution_trainer import DistributionTrainer as DistributionTrainer
from .output_dir import check_output_dir as check_output_dir
from .output_dir import last_checkpoint as last_checkpoint
from .settings import DistributionConfig as DistributionConfig
from .settings import check_targets as check_targets
from .settings import divergence as divergence
