from .at_work import is_at_work as is_at_work
from .at_work import leave_out as leave_out
from .at_work import phase as phase
from .at_work import say as say
from .at_work import show as show
from .at_work import work as work
from .schedule import Phase as Phase
