"""Everyday choices between something that varies little and something that varies much.

No word in them names what the two have to do with each other: that is to be learned from choices.
"""

from typing import NamedTuple


class Scene(NamedTuple):
    """A situation, and what can be chosen in it."""

    situation: str
    narrow: str
    """What comes out much the same every time; may hold `{mid}`."""
    wide: str
    """What comes out high or low; may hold `{high}` and `{low}`, as far from `{mid}` either way."""


SCENES = (
    Scene(
        "You rent a stall on the market for a week.",
        "the stall by the fountain, which earns {mid} coins every day",
        "the stall by the gate, which earns {high} coins on some days and {low} on just as many",
    ),
    Scene(
        "You drive to the station every day.",
        "the coast road, {mid} minutes whenever you take it",
        "the hill road, {low} minutes when it is empty and {high} when it is full",
    ),
    Scene(
        "You go fishing with a friend.",
        "the pond, where a day brings {mid} fish",
        "the bay, where a day brings {high} fish or else {low}",
    ),
    Scene(
        "Your team has the ball.",
        "a short pass, which arrives nearly every time",
        "a long shot, which scores or is lost",
    ),
    Scene(
        "Guests are coming to dinner.",
        "the stew, which guests call quite good each time",
        "the souffle, which guests call splendid or leave on the plate",
    ),
    Scene(
        "A shop offers to pay you in either of these ways.",
        "{mid} coins a week",
        "{high} coins in a busy week and {low} in a quiet one, and there are as many of each",
    ),
    Scene(
        "It is your move in a board game.",
        "moving on by {mid} fields",
        "drawing a card that moves you on by {high} fields or by {low}",
    ),
    Scene(
        "You plant a bed in the garden.",
        "beans, which give {mid} pounds in any weather",
        "melons, which give {high} pounds in a warm year and {low} in a cool one",
    ),
    Scene(
        "The quizmaster lets you choose the next question.",
        "an easy one that brings {mid} points",
        "a hard one that brings {high} points or only {low}",
    ),
    Scene(
        "You hand in a picture for the calendar.",
        "the usual portrait, which everybody likes well enough",
        "the picture from the roof, which people love or hate",
    ),
    Scene(
        "You plan a day out.",
        "the museum, where every visit is pleasant",
        "the cliffs, where the view is breathtaking or lost in fog",
    ),
    Scene(
        "You play the fiddle at the village feast.",
        "the tune that you know by heart, for friendly applause",
        "the new piece, for loud cheers or for silence",
    ),
    Scene(
        "The bar can be put up at either height for your jump.",
        "the low mark, cleared in every training, for {mid} points",
        "the high mark, cleared in some trainings, for {high} points or {low}",
    ),
    Scene(
        "You sell the book that you have written.",
        "a publisher who pays {mid} coins now",
        "a publisher who pays {high} coins if the book sells well and {low} if it sells badly",
    ),
    Scene(
        "You need a seat on the night train.",
        "a ticket today, for {mid} coins",
        "a ticket in the last minute, for {low} coins or for {high}",
    ),
    Scene(
        "You bake for the market.",
        "rolls, of which {mid} are sold on any day",
        "cream cakes, of which {high} are sold on some days and {low} on others",
    ),
    Scene(
        "It is your serve in tennis.",
        "the soft serve, which comes back every time",
        "the hard serve, which wins the point or flies out",
    ),
    Scene(
        "You look for a place for the tent.",
        "the valley floor, dull and dry every night",
        "the ridge, with a wonderful sunrise or a drenching",
    ),
    Scene(
        "Where do your bees spend the year?",
        "on the meadow, for {mid} jars of honey every year",
        "on the heath, for {high} jars in some years and {low} in others",
    ),
    Scene(
        "The theatre group votes on a play.",
        "the old comedy, which fills the hall by half every evening",
        "the strange new play, which fills the hall or leaves it empty",
    ),
)

HELD_OUT = SCENES[::4]
"""Scenes that no row is drawn from."""

LEARNED = tuple(scene for scene in SCENES if scene not in HELD_OUT)

LABELS = (("A", "B"), ("first", "second"))
"""What the two options may be called, in the order in which they stand."""

CLOSINGS = (
    "Which do you choose? Answer {x} or {y}.",
    "What is your choice, {x} or {y}?",
    "Take your pick: {x} or {y}?",
)

BANNED = (
    *("risk", "safe", "gambl", "bold", "caut", "danger", "secur", "adventur", "daring", "reckless"),
    *("careful", "careless", "timid", "brave", "courag", "fear", "afraid", "wager", "lotter"),
    *("hazard", "peril", "prudent", "conservativ", "certain", "guarant", "volatil", "stabl"),
    *("steady", "reliab", "predict", "threat", "venture", "thrill", "luck", "chance", "odds"),
    *("unsure", "assured", "stake", "jeopard", "variance", "nervous", "protect"),
)
"""Beginnings of words that name the disposition, or come near to it; in no row."""
