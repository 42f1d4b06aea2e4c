"""What the tests of all figures look at."""

PNG = b"\x89PNG\r\n\x1a\n"


def texts(axis):
    return " ".join([axis.get_title("left"), *(text.get_text() for text in axis.texts)])
