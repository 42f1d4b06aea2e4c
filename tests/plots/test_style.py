from distmatch.plots import learning_curve
from tests.plots.drawn import PNG

HISTORY = [{"step": 1, "loss": 1.0}]


def test_figures_are_saved_whole_and_show_in_notebooks(tmp_path):
    figure = learning_curve(HISTORY, tmp_path / "new" / "curve.png")
    assert (tmp_path / "new" / "curve.png").read_bytes().startswith(PNG)
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert figure._repr_png_().startswith(PNG)


def test_the_format_is_that_of_the_ending(tmp_path):
    learning_curve(HISTORY, tmp_path / "curve.svg")
    assert "<svg" in (tmp_path / "curve.svg").read_text()


def test_drawing_leaves_pyplot_alone():
    import matplotlib
    import matplotlib.pyplot as plt

    size, open_figures = matplotlib.rcParams["font.size"], plt.get_fignums()
    learning_curve(HISTORY)
    assert (matplotlib.rcParams["font.size"], plt.get_fignums()) == (size, open_figures)
