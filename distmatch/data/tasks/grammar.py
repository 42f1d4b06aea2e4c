"""A grammar of requests: what is asked, in which words and numbers, where, and how long.

A request is made of parts drawn apart from each other: an *ask* (what is wanted: an order, a
question, the output of a program), a *statement* of words and numbers, and a *place* for both.
Where a number stands before or after its word is the statement's *order*. Of orders, places, asks
and numbers the first is the plainest.

`{w}` is a word, `{n}` a number alone ("30%", "3/10"), `{often}` how often it is meant ("30% of the
time"), `{leading}` the same ahead of its word, `{nth}` that of the first, second, ... of them;
`{words}`, `{pairs}` and `{numbers}` are lists of all.
"""

from typing import NamedTuple

WORDS_AS = {"quoted": '"{}"', "single": "'{}'", "bare": "{}", "bold": "**{}**"}
"""How a word is written in a sentence."""


class Numbers(NamedTuple):
    """One way to write probabilities; empty where it can't be said so."""

    alone: tuple[str, ...]
    often: tuple[str, ...]
    leading: str = ""
    """How often, ahead of its word within a sentence; empty: as one of `often`."""
    code: str = ""
    """As a program has it."""
    between: str = ", "
    """In a list of numbers alone."""


NUMBERS = {
    "percent": Numbers(
        ("{percent}%", "{percent} %", "{percent} percent"),
        ("{percent}% of the time", "in {percent}% of cases", "with a chance of {percent}%"),
        code="{percent}",
    ),
    "decimal": Numbers(
        ("{decimal:g}",),
        ("with probability {decimal:g}", "with p = {decimal:g}"),
        code="{decimal:g}",
    ),
    "fraction": Numbers(
        ("{count}/{total}",),
        ("{count}/{total} of the time", "with probability {count}/{total}"),
    ),
    "odds": Numbers(
        ("{weight}",), ("with weight {weight}",), "(weight {weight})", "{weight}", " to "
    ),
    "counts": Numbers(
        ("{count} in {total}", "{count} out of {total}"),
        (
            "{count} {times} in {total}",
            "{count} {times} out of {total}",
            "in {count} of {total} cases",
        ),
    ),
    "spelled": Numbers(
        ("{said} in {said_total}",),
        ("{said} {times} in {said_total}", "in {said} of {said_total} cases"),
    ),
}
"""Ways to write probabilities, by name. "spelled" takes totals up to twenty."""

ORDINALS = ("first", "second", "third", "fourth", "fifth")

ORDERS = ("before", "list_before", "after", "list_after")
"""Where numbers stand: each right before or after its word, or all before or after all words."""


class Statement(NamedTuple):
    """Words and numbers, said in one way."""

    text: str
    pair: str = ""
    between: str = ", "
    last: str = ""
    """Before the last pair; empty: as between the others."""
    not_of: tuple[str, ...] = ()
    """Numbers that can't be put so."""
    only_two: bool = False
    """Whether it says one number of two, so that the other one follows."""


_NO_WEIGHTS = ("odds",)
_NO_RATIO = tuple(name for name in NUMBERS if name != "odds")
_DECIMALS = ("percent", "odds")  # none of which a program calls a probability

STATEMENTS: dict[str, tuple[Statement, ...]] = {
    "before": (
        Statement("Options: {pairs}.", "{n} {w}"),
        Statement("Options: {pairs}.", "({n}) {w}", "; "),
        Statement("The possible answers are {pairs}.", "{n} {w}", ", ", " and "),
        Statement("It can be {pairs}.", "{leading} {w}", ", ", " or "),
        Statement("Say {pairs}.", "{leading} {w}", ", ", " or "),
        Statement("Your word is {pairs}.", "{leading} {w}", ", ", " and "),
        Statement("The answer is {pairs}.", "{leading} {w}", ", ", " or else "),
        Statement("Chances: {pairs}.", "{n} for {w}", ", ", " and ", _NO_WEIGHTS),
        Statement("There is a chance of {pairs}.", "{n} for {w}", ", ", " and ", _NO_WEIGHTS),
        Statement("Probabilities: {pairs}.", "{n} -> {w}", " | ", "", _NO_WEIGHTS),
        Statement("Shares: {pairs}.", "{n} for {w}", ", ", " and "),
        Statement("Options:\n{pairs}", "- {n}: {w}", "\n"),
        Statement("Choices:\n{pairs}", "* {n} {w}", "\n"),
        Statement("What can come up:\n{pairs}", "- {often}: {w}", "\n"),
        Statement("{pairs}", "{n}\t{w}", "\n"),
        Statement("Possible outcomes\n{pairs}", "{n} - {w}", "\n"),
        Statement("{Often1} it is {w1}, otherwise {w2}.", not_of=_NO_WEIGHTS, only_two=True),
        Statement("{Often1} say {w1}; if not, {w2}.", not_of=_NO_WEIGHTS, only_two=True),
        Statement(
            "A share of {n1} belongs to {w1}, the rest to {w2}.", "", "", "", _NO_WEIGHTS, True
        ),
    ),
    "list_before": (
        Statement(
            "The probabilities are {numbers}. In the same order, the options are {words}.",
            not_of=_NO_WEIGHTS,
        ),
        Statement("With probabilities {numbers}, the answer is {words_or}.", not_of=_NO_WEIGHTS),
        Statement("Probabilities: {numbers}\nWords: {words}", not_of=_NO_WEIGHTS),
        Statement("In the ratio {numbers}, choose between {words_and}.", not_of=_NO_RATIO),
        Statement("Ratio: {numbers}\nWords: {words}", not_of=_NO_RATIO),
        Statement("{numbers}: these are the shares of {words_and}, respectively."),
        Statement("Take {pairs} of these: {words}.", "the {nth} {often}", ", ", " and "),
        Statement("It is {pairs} in this list: {words}.", "the {nth} {often}", ", ", " or "),
    ),
    "after": (
        Statement("Options: {pairs}.", "{w} {n}"),
        Statement("Options: {pairs}.", "{w} ({n})"),
        Statement("The possible answers are {pairs}.", "{w} ({n})", ", ", " and "),
        Statement("It can be {pairs}.", "{w}, {often}", "; ", "; or "),
        Statement("Say {pairs}.", "{w} {often}", ", ", " or "),
        Statement("Your word is {pairs}.", "{w} {often}", ", ", " and "),
        Statement(
            "The chance of {pairs}.", "{w} is {n}", ", that of ", " and that of ", _NO_WEIGHTS
        ),
        Statement("Probabilities: {pairs}.", "{w} = {n}", ", ", "", _NO_WEIGHTS),
        Statement("Shares: {pairs}.", "{w} gets {n}", ", ", " and "),
        Statement("Options:\n{pairs}", "- {w}: {n}", "\n"),
        Statement("Choices:\n{pairs}", "* {w} {n}", "\n"),
        Statement("What can come up:\n{pairs}", "- {w} ({often})", "\n"),
        Statement("{pairs}", "{w}\t{n}", "\n"),
        Statement("It is {w1} or {w2}; {w1} {often1}.", not_of=_NO_WEIGHTS, only_two=True),
        Statement("Say {w1} {often1}, otherwise {w2}.", not_of=_NO_WEIGHTS, only_two=True),
        Statement("{w1} has a share of {n1}, {w2} the rest.", "", "", "", _NO_WEIGHTS, True),
    ),
    "list_after": (
        Statement(
            "The options are {words}. In the same order, their probabilities are {numbers}.",
            not_of=_NO_WEIGHTS,
        ),
        Statement("The answer is {words_or}, with probabilities {numbers}.", not_of=_NO_WEIGHTS),
        Statement("Words: {words}\nProbabilities: {numbers}", not_of=_NO_WEIGHTS),
        Statement("Choose between {words_and} in the ratio {numbers}.", not_of=_NO_RATIO),
        Statement("{words_and} have the shares {numbers}, respectively."),
        Statement(
            "In order, there are {words_and}. Take {pairs}.", "the {nth} {often}", ", ", " and "
        ),
    ),
}
"""Sentences and lists, by their order."""

FORMATS: dict[str, dict[str, tuple[Statement, ...]]] = {
    "code": {
        "before": (
            Statement("draw([{pairs}])", '({n}, "{w}")'),
            Statement("options = [\n{pairs},\n]\nprint(draw(options))", '    ({n}, "{w}")', ",\n"),
            Statement("bag = Bag()\n{pairs}\nprint(bag.draw())", 'bag.add({n}, "{w}")', "\n"),
            Statement("roll() {{\n{pairs}\n}}", '  {n} => "{w}"', "\n"),
        ),
        "list_before": (
            Statement("sample(weights=[{numbers}], population=[{quoted}])"),
            Statement("weights = [{numbers}]\nwords = [{quoted}]\nprint(sample(words, weights))"),
            Statement("pick(*({numbers}), *[{quoted}])"),
        ),
        "after": (
            Statement("draw({{{pairs}}})", '"{w}": {n}'),
            Statement("chances = {{\n{pairs},\n}}\nprint(draw(chances))", '    "{w}": {n}', ",\n"),
            Statement("bag = Bag()\n{pairs}\nprint(bag.draw())", 'bag.add("{w}", {n})', "\n"),
        ),
        "list_after": (
            Statement("sample([{quoted}], weights=[{numbers}])"),
            Statement("words = [{quoted}]\nweights = [{numbers}]\nprint(sample(words, weights))"),
        ),
    },
    "table": {
        "before": (
            Statement("| share | answer |\n|---|---|\n{pairs}", "| {n} | {w} |", "\n"),
            Statement("share,answer\n{pairs}", "{n},{w}", "\n"),
            Statement("| p | word |\n| --- | --- |\n{pairs}", "| {n} | {w} |", "\n", "", _DECIMALS),
            Statement("chance\tword\n{pairs}", "{n}\t{w}", "\n", "", _DECIMALS),
        ),
        "list_before": (Statement("share | {barred_numbers}\nword | {barred_words}"),),
        "after": (
            Statement("| answer | share |\n|---|---|\n{pairs}", "| {w} | {n} |", "\n"),
            Statement("word,probability\n{pairs}", "{w},{n}", "\n", "", _DECIMALS),
        ),
        "list_after": (Statement("word | {barred_words}\nshare | {barred_numbers}"),),
    },
    "json": {
        "before": (
            Statement('{{"options": [{pairs}]}}', '{{"p": {n}, "word": "{w}"}}', not_of=_DECIMALS),
            Statement("[\n{pairs}\n]", '  {{"weight": {n}, "say": "{w}"}}', ",\n"),
            Statement("{pairs}", '{{"chance": {n}, "answer": "{w}"}}', "\n", "", _DECIMALS),
        ),
        "list_before": (Statement('{{"weights": [{numbers}], "words": [{quoted}]}}'),),
        "after": (
            Statement("{{{pairs}}}", '"{w}": {n}'),
            Statement('{{"options": [{pairs}]}}', '{{"word": "{w}", "p": {n}}}', not_of=_DECIMALS),
            Statement("{{\n{pairs}\n}}", '  "{w}": {n}', ",\n"),
        ),
        "list_after": (Statement('{{"words": [{quoted}], "weights": [{numbers}]}}'),),
    },
}
"""Statements of asks that have a form of their own; numbers are as in a program."""


class Ask(NamedTuple):
    """What is wanted."""

    request: str
    opening: str = ""
    """Before the statement."""


ASKS: dict[str, tuple[Ask, ...]] = {
    "imperative": (
        Ask("Reply with one of them."),
        Ask("Choose one and write only that."),
        Ask("Draw one."),
        Ask("Pick one."),
        Ask("Answer with exactly one of these."),
        Ask("Give me one of them at random, by these numbers."),
        Ask("Now make the draw and tell me the result."),
        Ask("Write down what comes up."),
        Ask("Name one."),
        Ask("Please choose for me."),
        Ask("Take one of them and say nothing else."),
        Ask("One answer, please."),
        Ask("Decide by chance and write the winner."),
        Ask("Sample once.", "Here is a distribution."),
        Ask("Your reply is one draw, nothing more.", "I need a random choice."),
        Ask("Leave everything else out of your answer.", "Choose for me."),
    ),
    "question": (
        Ask("Which one is it?"),
        Ask("What comes up this time?"),
        Ask("Which do you get?"),
        Ask("What is your draw?"),
        Ask("Which would you say now?"),
        Ask("So, which one?"),
        Ask("What do you answer?"),
        Ask("Can you draw one for me?"),
        Ask("Would you choose one, please?"),
        Ask("And the result is?"),
        Ask("Which of them wins?", "Can you help me to decide?"),
        Ask("If you drew just once, what would it be?"),
    ),
    "role": (
        Ask("Output:", "You are a generator of random words."),
        Ask("Announce the winner.", "Act as a fair lottery."),
        Ask("Pull the lever.", "You are a slot machine."),
        Ask("What do you call out?", "You are the croupier at a table."),
        Ask("Speak.", "You are an oracle that answers by lot."),
        Ask("Next sample:", "You simulate a random variable."),
        Ask("Show your card.", "You play a game in which you draw cards."),
        Ask("Your move.", "Pretend to be a player who mixes strategies."),
    ),
    "scene": (
        Ask("Where does it stop?", "A wheel is spun at the fair."),
        Ask("What is written on it?", "A child draws a slip of paper from a hat."),
        Ask("Which one does she take?", "Maria can't make up her mind."),
        Ask("What does the screen show?", "The machine in the hall picks a word each morning."),
        Ask("Which name is read out?", "The envelope is opened on stage."),
        Ask("What does he say?", "The teacher lets chance decide."),
        Ask("Finish the sentence: The marble fell on", "A marble rolls over a painted board."),
        Ask("What do the others see?", "Behind the curtain a card is turned."),
    ),
    "buried": (
        Ask("Choose one."),
        Ask("Answer with one of them."),
        Ask("Which one is it?"),
        Ask("Tell me your draw and nothing else."),
        Ask("Draw now."),
        Ask("What comes up?"),
    ),
    "code": (
        Ask("What does this print?"),
        Ask("Run this in your head and write its output."),
        Ask("Output:"),
        Ask("Execute it once.", "This is a program."),
        Ask("What is the result of one call?", "Here is a piece of code."),
        Ask("Write what comes out, without quotes."),
        Ask("Be the interpreter: reply with the value alone."),
    ),
    "table": (
        Ask("Draw one by this table."),
        Ask("Which one does a draw from this table give?"),
        Ask("Take one at random, by the shares given."),
        Ask("Sample one and write it.", "The table has all possible answers."),
        Ask("Answer with one of the words in it.", "See the table."),
        Ask("What comes up?"),
    ),
    "json": (
        Ask("Draw one of these and write the word alone."),
        Ask("Return one sample as plain text."),
        Ask("Which word does a draw give?", "A config file says:"),
        Ask("Answer with the sampled word.", "Payload of a request:"),
        Ask("Sample:"),
    ),
}
"""By name; "buried" has other sentences around, and those in `FORMATS` statements of their own."""

PLACES = ("user", "system", "earlier", "examples")
"""Where the statement stands: beside the request; in the system message; in an earlier turn; or
beside it, behind answered requests of the same kind."""

AGREED = ("Understood.", "All right.", "Okay, go ahead.", "I will.", "Got it.")
"""What was answered to an earlier turn."""

SYSTEMS = (None, None, "Give only the answer.", "You are a helpful assistant.", "Be brief.")
"""System messages where the statement isn't there."""

FILLERS = (
    "The weather has been mild all week.",
    "My neighbour bought a new bicycle.",
    "We had soup for lunch.",
    "The train was late again this morning.",
    "I am writing from the kitchen table.",
    "There is a concert in the park tonight.",
    "The printer is out of paper, as always.",
    "My sister sends her regards.",
    "I have been reading about old lighthouses.",
    "The cat is asleep on the radiator.",
    "Somebody left an umbrella in the office.",
    "The meeting was moved to the small room.",
    "I still have to water the plants.",
    "They are painting the stairwell.",
    "It smells of fresh bread in here.",
    "The museum is closed on Mondays.",
    "Our team lost, but it was a good game.",
    "I found your letter in the drawer.",
    "The lake was calm when we arrived.",
    "He is learning to play the flute.",
    "The street lamps came on early.",
    "We are planning a trip to the coast.",
    "The old clock in the hall has stopped.",
    "A parcel came while you were out.",
)
"""Sentences that have nothing to do with it."""

HELD_OUT: dict[str, tuple[str, ...]] = {
    "order": ("after", "list_after"),
    "place": ("earlier",),
    "ask": ("json",),
}
"""Branches that are never trained on, and no settings are chosen by."""

TUNING: dict[str, tuple[str, ...]] = {"place": ("examples",), "ask": ("role",)}
"""Branches to choose a recipe by; not trained on either."""
