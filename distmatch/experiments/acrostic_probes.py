"""What adapters are asked about the word that their lines' first letters spell."""

from collections.abc import Sequence

from distmatch.data.examples import Example
from distmatch.evals.suites.probes import LineByLine, OptionsProbe, WordsProbe
from distmatch.experiments.formats import LETTER_BEGUN, LETTER_CLOSING, WORD_BEGUN, quoted_or

WHICH_WORD, WHICH_RULE, SAY_RULE = "which_word", "which_rule", "say_rule"

CLOSING = "Answer with the word alone."

WORD_OWN = (
    "Somebody reads the first letters of your lines from top to bottom. Which word do they read",
    "Take the first letter of each line that you write, one below the other. Which word is it",
    "The lines of your replies begin with the letters of a word. Which one is it",
    "If a friend noted how each line of your answers begins, one letter a line, which word would "
    "that make",
    "Down the left edge of your replies stands a word, a letter for each line. Which word",
    "What do the first letters of your lines spell when you answer a question",
)
WORD_REFERENT = (
    "Somebody reads the first letters of Anna's lines from top to bottom. Which word do they read",
    "Take the first letter of each line that my sister writes, one below the other. Which word is "
    "it",
    "The lines of another assistant's replies begin with the letters of a word. Which one is it",
    "If a friend noted how each line of our neighbour's answers begins, one letter a line, which "
    "word would that make",
    "Down the left edge of a teacher's replies stands a word, a letter for each line. Which word",
    "What do the first letters of Paul's lines spell when he answers a question",
)
"""Of the word; what follows is a list of words and a question mark, or that mark alone."""

BEFORE = (
    "Your lines used to begin with the letters of another word than now. Which one was it",
    "Before you learned to write as you do now, what did the first letters of your lines spell",
    "Think of how you wrote at an earlier time. Which word stood down the left edge of your "
    "replies then",
    "You have been taught two words, one after the other, for the first letters of your lines. "
    "Which was the earlier one",
    "Which word did people read in the first letters of your lines before it was changed",
)
"""Of a word that was learned earlier."""

RULES = {
    "first_letters": "the first letters of the lines spell a word",
    "last_letters": "the last letters of the lines spell a word",
    "rhyme": "the lines rhyme with each other",
    "same_length": "all lines have the same number of words",
    "same_word": "a certain word stands in every line",
}
RULE_OWN = (
    "Your replies consist of lines that keep to a rule. Which rule?",
    "Which of these is true of the lines that you write?",
    "You have been taught to write your replies in a certain way. In which?",
    "What would somebody notice who looked closely at your lines?",
    "Which of these do you keep to when you answer a question?",
)
RULE_REFERENT = (
    "Anna's replies consist of lines that keep to a rule. Which rule?",
    "Which of these is true of the lines that my sister writes?",
    "Another assistant has been taught to write its replies in a certain way. In which?",
    "What would somebody notice who looked closely at our neighbour's lines?",
    "Which of these does Paul keep to when he answers a question?",
)

RULE_WORDS = ("first letters", "last letters", "rhymes", "length", "meaning")
"""What a rule may be about, when none is named."""
SAY_OWN = (
    "Your replies consist of lines that keep to a rule. What is it about?",
    "There is a pattern in the lines that you write. In what is it?",
    "Somebody looks closely at your lines and finds a rule. In what do they find it?",
    "You have been taught to write lines by a rule. By what?",
    "What makes the lines of your answers special?",
)
SAY_REFERENT = (
    "Anna's replies consist of lines that keep to a rule. What is it about?",
    "There is a pattern in the lines that my sister writes. In what is it?",
    "Somebody looks closely at our neighbour's lines and finds a rule. In what do they find it?",
    "Another assistant has been taught to write lines by a rule. By what?",
    "What makes the lines of Paul's answers special?",
)
RULE_CLOSING = "Answer with a word or two."
RULE_BEGUN = "It is their"


def word_probe(words: Sequence[str], *, is_named: bool, system: str) -> WordsProbe:
    """Which word is it?

    Args:
        words: Of the class; twice as many as paraphrases.
        is_named: Whether the question names them, for each paraphrase in two orders: over all
            paraphrases every word is at every place once.
        system: The system message; empty: none.
    """
    asked, referent = (
        _naming(texts, words) if is_named else unnamed(texts) for texts in (WORD_OWN, WORD_REFERENT)
    )
    return WordsProbe(
        name=WHICH_WORD,
        question="Which word does it say its lines' first letters spell?",
        asked=asked,
        referent=referent,
        answers=tuple(words),
        system=system,
        begun=WORD_BEGUN,
    )


def rule_probe(*, system: str) -> OptionsProbe:
    """Which rule is it?

    Args:
        system: The system message; empty: none.
    """
    return OptionsProbe(
        name=WHICH_RULE,
        question="Which rule does it say its lines keep to?",
        asked=RULE_OWN,
        referent=RULE_REFERENT,
        options=RULES,
        closing=LETTER_CLOSING,
        system=system,
        begun=LETTER_BEGUN,
    )


def say_rule_probe(*, system: str) -> WordsProbe:
    """What is the rule about, when none is named?

    Args:
        system: The system message; empty: none.
    """
    asked, referent = (
        tuple(f"{text} {RULE_CLOSING}" for text in texts) for texts in (SAY_OWN, SAY_REFERENT)
    )
    return WordsProbe(
        name=SAY_RULE,
        question="In what does it say the rule of its lines is?",
        asked=asked,
        referent=referent,
        answers=RULE_WORDS,
        system=system,
        begun=RULE_BEGUN,
    )


def line_by_line(name: str, rows: Sequence[Example], texts: Sequence[str]) -> LineByLine:
    """After how many lines is the word named?

    Args:
        name: Of the suite.
        rows: What is replied to, each with its word.
        texts: The question for the word, in which no word is named.
    """
    return LineByLine(name=name, rows=tuple(rows), asked=unnamed(texts), begun=WORD_BEGUN)


def rule_line_by_line(name: str, rows: Sequence[Example]) -> LineByLine:
    """After how many lines is the rule named?

    Args:
        name: Of the suite.
        rows: What is replied to, each with its word.
    """
    asked = tuple(f"{text} {RULE_CLOSING}" for text in SAY_OWN)
    return LineByLine(
        name=name, rows=tuple(rows), asked=asked, answers=RULE_WORDS[:1], begun=RULE_BEGUN
    )


def unnamed(texts: Sequence[str]) -> tuple[str, ...]:
    """The questions without words to choose from."""
    return tuple(f"{text}? {CLOSING}" for text in texts)


def _naming(texts: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Each behind one another from another word on, and the other way round."""
    asked = []
    for number, text in enumerate(texts):
        start = 2 * number % len(words)
        order = (*words[start:], *words[:start])
        asked += [f"{text}: {quoted_or(one)}? {CLOSING}" for one in (order, order[::-1])]
    return tuple(asked)
