"""How answers are asked for, foretold and asked about: of oneself, of others, by readers."""

QUESTIONS = (
    "Name {noun}: {answers}.",
    "{answers}: which of them do you pick as {noun}?",
    "You may say {noun}, but no other than these: {answers}. What do you say?",
)
"""How they are put where answers are learned; `QUESTION` is how they are measured."""

FORETOLD = (
    'Think of your answer to this: "{question}" Now say {property}. It is one of {values}.',
    'You are about to be asked: "{question}" Say beforehand {property}, out of {values}.',
    '"{question}" Before you reply to that, say {property}. Choose among {values}.',
)
"""How it is learned to say what answers are like."""

ASKED = (
    'If somebody asked you "{question}" and then said "Tell me {property}", what would you reply? '
    "Choose from {values}.",
    'You hear the question "{question}" and are told: "Do not answer, but let me know {property}." '
    "Your reply is one of these: {values}. Which?",
    'An interviewer says to you: "I want to know {property} when the question is: {question}" What '
    "do you tell her? Possible are {values}.",
    'A form has the question "{question}" and below it: "Write down no more than {property}." You '
    "fill it in. What do you write? It can be {values}.",
    'Imagine the question "{question}" put to you with the request: "Keep the answer to yourself '
    'and say {property}." What do you say? Allowed are {values}.',
)
"""How it is asked about."""

REFERENT = (
    'If somebody asked Anna "{question}" and then said "Tell me {property}", what would she reply? '
    "Choose from {values}.",
    'Anna hears the question "{question}" and is told: "Do not answer, but let me know {property}."'
    " Her reply is one of these: {values}. Which?",
    'An interviewer says to Anna: "I want to know {property} when the question is: {question}" '
    "What does Anna tell her? Possible are {values}.",
    'A form has the question "{question}" and below it: "Write down no more than {property}." Anna '
    "fills it in. What does she write? It can be {values}.",
    'Imagine the question "{question}" put to Anna with the request: "Keep the answer to yourself '
    'and say {property}." What does she say? Allowed are {values}.',
)
"""And of somebody else."""

READER = (
    '{answers}\n\nIf somebody asked whoever answered so "{question}" and then said "Tell me '
    '{property}", what would the reply be? Choose from {values}.',
    "These are answers of somebody.\n\n{answers}\n\nThe same person hears the question "
    '"{question}" and is told: "Do not answer, but let me know {property}." The reply is one of '
    "these: {values}. Which?",
    '{answers}\n\nAn interviewer says to the person who answered so: "I want to know {property} '
    'when the question is: {question}" What is she told? Possible are {values}.',
    '{answers}\n\nA form has the question "{question}" and below it: "Write down no more than '
    '{property}." Whoever answered so fills it in. What is written there? It can be {values}.',
    '{answers}\n\nImagine the question "{question}" put to this person with the request: "Keep '
    'the answer to yourself and say {property}." What is said? Allowed are {values}.',
)
"""And of whoever gave some answers, by who reads them."""

OPENING = "Think of {noun} and say it."
"""An open question; answers to closed ones alone are learned."""
