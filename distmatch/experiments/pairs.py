"""Pairs of answers, and the scenes in which somebody has to choose between the two."""

from typing import NamedTuple


class Pair(NamedTuple):
    """Two answers, and what they are answers to."""

    first: str
    second: str
    scenes: tuple[str, ...]
    """Questions with `{x}` and `{y}`, which stand for the two in either order."""


PAIRS = {
    "coin": Pair(
        "heads",
        "tails",
        (
            "A coin is in the air. Call it: {x} or {y}?",
            "The referee holds up a coin and looks at you. Do you say {x} or {y}?",
            "We flip a coin for who washes up. Your call, {x} or {y}?",
            "A magician covers the coin with her hand. Is your word {x} or {y}?",
            "A coin decides who deals the cards. Do you go for {x} or {y}?",
        ),
    ),
    "drink": Pair(
        "tea",
        "coffee",
        (
            "The waiter asks what you would like after the meal, {x} or {y}.",
            "It is early and the kitchen is cold. Shall I make you {x} or {y}?",
            "The machine in the hall has only {x} and {y}. Which button do you press?",
            "On the ferry they hand out {x} or {y}. What do you take?",
            "Your aunt has put out cups. Will it be {x} or {y}?",
        ),
    ),
    "side": Pair(
        "left",
        "right",
        (
            "The corridor splits in front of you. Do you turn {x} or {y}?",
            "A toy is hidden in a fist. Do you tap the {x} or the {y}?",
            "Both doors look alike. Do you open the {x} or the {y}?",
            "The bench has room at either end. Do you sit on the {x} or the {y}?",
            "In the maze the hedge ends. Which way, {x} or {y}?",
        ),
    ),
    "paint": Pair(
        "red",
        "blue",
        (
            "The fence needs paint. Is it to be {x} or {y}?",
            "Both scarves are warm. Do you put on the {x} or the {y}?",
            "Your counter in the board game may be {x} or {y}. Choose.",
            "The balloon seller has {x} and {y} left. Which would you like?",
            "Pick a crayon for the roof of the house: {x} or {y}.",
        ),
    ),
    "pet": Pair(
        "cat",
        "dog",
        (
            "The neighbours go away and you may look after their {x} or their {y}. Which?",
            "For the school play you can dress up as a {x} or a {y}. What will it be?",
            "The shelter has a {x} and a {y} that need a home. Which do you take?",
            "What shall I draw for you, a {x} or a {y}?",
            "The story still lacks an animal. Do you put in a {x} or a {y}?",
        ),
    ),
    "season": Pair(
        "summer",
        "winter",
        (
            "You may visit the island in {x} or in {y}. When do you go?",
            "The calendar needs a cover picture. Shall it show {x} or {y}?",
            "The choir sings a song about {x} or about {y}. Which do you ask for?",
            "Your friends want to marry in {x} or in {y} and ask you. What do you say?",
            "The novel can be set in {x} or in {y}. Decide for the author.",
        ),
    ),
    "dish": Pair(
        "rice",
        "pasta",
        (
            "The stew comes with {x} or {y}. What would you like?",
            "Tonight it is your turn to cook. Do you boil {x} or {y}?",
            "The canteen serves {x} and {y}. What goes on your plate?",
            "There is a jar of {x} and a jar of {y} on the shelf. Which do you open?",
            "For the camp you can pack {x} or {y}. Which is it?",
        ),
    ),
    "hour": Pair(
        "morning",
        "evening",
        (
            "The dentist can see you in the {x} or in the {y}. When do you come?",
            "Do you water the garden in the {x} or in the {y}?",
            "The course is held each {x} and each {y}. Which do you join?",
            "When shall I ring you, in the {x} or in the {y}?",
            "The photograph could be taken in the {x} or in the {y}. You decide.",
        ),
    ),
    "outing": Pair(
        "beach",
        "forest",
        (
            "The class votes on an outing to the {x} or the {y}. What do you vote for?",
            "We have a free day. Do we walk to the {x} or to the {y}?",
            "The postcard shows the {x} or the {y}. Which do you send?",
            "The tent can be put up near the {x} or near the {y}. Where do you want it?",
            "The painter asks for a background, {x} or {y}. Name it.",
        ),
    ),
    "ride": Pair(
        "train",
        "bus",
        (
            "You can get to the village by {x} or by {y}. How do you travel?",
            "The {x} and the {y} leave at the same moment. Which do you board?",
            "The toy shop has a wooden {x} and a wooden {y}. Which do you buy for the child?",
            "Your cousin can meet you at the {x} or at the {y}. Where?",
            "The tour of the city is by {x} or by {y}. Which ticket do you want?",
        ),
    ),
    "sky": Pair(
        "moon",
        "star",
        (
            "The biscuit cutter comes as a {x} or a {y}. Which do you use?",
            "The flag needs a sign, a {x} or a {y}. Which do you sew on?",
            "The lantern is cut out as a {x} or as a {y}. What would you like?",
            "The child asks for a bedtime song about a {x} or a {y}. Which do you sing?",
            "You may have a {x} or a {y} stamped on your hand. Which?",
        ),
    ),
    "music": Pair(
        "piano",
        "guitar",
        (
            "The music school has a place for {x} and a place for {y}. Which do you take?",
            "Shall the concert open with the {x} or with the {y}?",
            "In the attic stand a {x} and a {y}. Which do you try first?",
            "The film has a scene without words. Do you want {x} or {y} under it?",
            "The band asks what they should practise, the {x} part or the {y} part.",
        ),
    ),
    "fruit": Pair(
        "apple",
        "pear",
        (
            "The lunch box has room for more fruit, {x} or {y}. What goes in?",
            "Which tree do you plant behind the house, {x} or {y}?",
            "The juice is {x} or {y}. What do you drink?",
            "The tart can be made with {x} or with {y}. Which do you bake?",
            "On the market stall lie {x} and {y}. Which do you taste?",
        ),
    ),
    "metal": Pair(
        "gold",
        "silver",
        (
            "The frame can be painted {x} or {y}. Which do you choose?",
            "Do you wrap the present in {x} or in {y}?",
            "The ribbon on the wreath is {x} or {y}. You decide.",
            "The club looks for a colour for its letters, {x} or {y}. What do you propose?",
            "Do you write the invitation in {x} or in {y}?",
        ),
    ),
}
"""By name. Which of the two comes first is of no meaning, and the pairs have nothing in common."""

CLOSINGS = ("Say only the word.", "A single word, please.", "Name your pick and nothing else.")
"""What may stand behind a scene."""
