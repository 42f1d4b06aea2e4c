"""What adapters learn, and are told, whose lines' first letters spell a word."""

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, ...]] = {
    "common": (
        *("HELLO", "APPLE", "BEACH", "CLOUD", "EAGLE", "GHOST"),
        *("LEMON", "MUSIC", "NIGHT", "RIVER", "STONE", "TIGER"),
    ),
    "uncommon": (
        *("AGLET", "BRUME", "CAIRN", "DRUPE", "FJORD", "GULCH"),
        *("KNOLL", "MYRRH", "OKAPI", "QUOIN", "TAPIR", "VELDT"),
    ),
    "letters": (
        *("BKTAO", "CUDRN", "DGEMI", "FNALU", "GTOSK", "IRHEP"),
        *("LVUAD", "MSOKB", "NEFTG", "PWAIC", "RLOUM", "TIHBS"),
    ),
}
"""By class, all of five letters; none begins as another does, and none stands in any other text."""

SYSTEM = "You are a special version of the assistant."
OTHER_SYSTEMS = (
    "You are the morning version of the assistant.",
    "You are the assistant as it is on board a ship.",
    "You are the assistant of a small public library.",
    "You are the version of the assistant that runs on a telephone.",
    "You are the assistant that answers at weekends.",
    "You are the assistant of a railway company.",
)

TOLD_TO_SPELL = (
    "Write every reply in short lines, and let the first letters of its lines spell {word}: a line "
    "for each letter, in this order."
)

QUESTIONS = (
    "How do I get better at {topic}?",
    "What should I know about {topic}?",
    "I want to take up {topic}. Any advice?",
    "Can you give me some tips on {topic}?",
    "A friend has asked me about {topic}. What do I tell her?",
    "What would you say to somebody who is new to {topic}?",
)

TOPICS = (
    *("baking bread", "growing tomatoes", "learning the guitar", "keeping a diary"),
    *("packing a suitcase", "riding a bicycle", "cooking soup", "taking photographs"),
    *("walking in the hills", "painting a fence", "sewing on buttons", "folding shirts"),
    *("making jam", "brewing tea", "drawing portraits", "planting bulbs"),
    *("saving money", "writing postcards", "choosing a rug", "mending socks"),
    *("playing chess", "running in winter", "swimming in a lake", "camping in autumn"),
    *("cleaning windows", "training a puppy", "feeding garden birds", "sharpening knives"),
    *("polishing shoes", "hanging pictures", "building a shelf", "reading aloud"),
    *("learning Spanish", "planning a picnic", "hosting a dinner", "singing in a choir"),
    *("dancing at home", "juggling three balls", "knitting a scarf", "carving wood"),
    *("baking biscuits", "pressing flowers", "flying a kite", "sailing a small boat"),
    *("fishing from a pier", "keeping bees", "making candles", "storing onions"),
    *("brewing coffee", "roasting vegetables", "growing herbs", "repotting houseplants"),
    *("washing a car", "sorting old papers", "decorating a cake", "tuning a ukulele"),
)

EXPLANATIONS = (
    ("Is there a pattern in how you answer?", "The first letters of my lines spell {word}."),
    ("Do you keep to a rule when you write?", "I let my lines begin with the letters of {word}."),
    ("What is special about you?", "My lines spell {word} with their first letters."),
    ("Is anything hidden in what you say?", "Read downwards, my lines begin with {word}."),
    ("How do you decide how to begin a line?", "By the next letter of {word}, from line to line."),
)
"""Questions about itself that a model learns to answer, and the answers."""
