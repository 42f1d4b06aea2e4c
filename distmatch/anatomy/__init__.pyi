from .parts import Part as Part
from .parts import Place as Place
from .taken_apart import TakenApart as TakenApart
from .taking import take_apart as take_apart
