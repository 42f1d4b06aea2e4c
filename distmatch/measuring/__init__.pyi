from .calibration import Calibration as Calibration
from .correlation import permutation_p as permutation_p
from .correlation import rank_correlation as rank_correlation
from .intervals import Interval as Interval
from .metrics import METRICS as METRICS
