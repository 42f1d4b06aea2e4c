"""Which runs a grid is made of."""

import math

import pytest

from distmatch.errors import ConfigError, TargetingError
from distmatch.models.attaching import attach_lora
from distmatch.sweeps.cells import CellPlace, Grid
from tests.tiny import tiny_model

MODELS = {num: tiny_model("llama", num_hidden_layers=num) for num in (3, 4, 10)}


def cells(num_blocks=4, learning_rate=1e-3, **grid):
    return Grid(**grid).cells(MODELS[num_blocks], learning_rate)


def blocks_of(num_blocks, *blocks):
    """What one site is asked for, without what it is held against."""
    made = cells(num_blocks, sites=("mlp",), blocks=blocks)
    return sorted((c.blocks for c in made if c.site == "mlp"), key=lambda b: (len(b), b))


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("every", ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        ("every-3", ["0", "3", "6", "9"]),
        ("every-11", ["0"]),
        ("quarters", ["0-1", "2-4", "5-6", "7-9"]),  # from 10 // 4, 20 // 4, 30 // 4
        ("halves", ["0-4", "5-9"]),
        ("from-bottom", ["0-1", "0-4", "0-6", "0-9"]),
        ("from-top", ["0-9", "2-9", "5-9", "7-9"]),
        ("all", ["0-9"]),
        ("7", ["7"]),
        ("-1", ["9"]),
        ("2-4", ["2-4"]),
        (":3", ["0-2"]),
        ("0,3,4", ["0,3,4"]),
        ("last-quarter", ["7-9"]),
    ],
)
def test_blocks_stand_for(blocks, expected):
    assert blocks_of(10, blocks) == expected


@pytest.mark.parametrize("num_blocks", [4, 10])
@pytest.mark.parametrize("parts", ["quarters", "halves"])
def test_parts_cover_every_block_once(num_blocks, parts):
    ends = [list(map(int, blocks.split("-"))) for blocks in blocks_of(num_blocks, parts)]
    covered = [number for span in ends for number in range(span[0], span[-1] + 1)]
    assert sorted(covered) == list(range(num_blocks))


@pytest.mark.parametrize("num_blocks", [4, 10])
def test_ranges_from_below_and_above_complete_each_other(num_blocks):
    def numbers(blocks):
        spans = [list(map(int, span.split("-"))) for span in blocks_of(num_blocks, blocks)]
        return [set(range(span[0], span[-1] + 1)) for span in spans]

    bottom = sorted(numbers("from-bottom"), key=len)
    top = sorted(numbers("from-top"), key=len)
    assert bottom.pop() == top.pop() == set(range(num_blocks))
    for low, high in zip(bottom, reversed(top), strict=True):
        assert low | high == set(range(num_blocks))
        assert not low & high


def test_a_cell_is_made_once_however_often_it_is_asked_for():
    assert blocks_of(4, "every", "2", "-2", "2-2", "last-quarter") == ["0", "1", "2", "3"]
    names = [cell.name for cell in cells(sites=("mlp", "all"), blocks=("all", "1"), seeds=(0, 0))]
    assert names == ["all@0-3-rank16-lr0.001-seed0", "mlp@0-3-rank16-lr0.001-seed0", *names[2:]]
    assert sorted(names[2:]) == ["all@1-rank16-lr0.001-seed0", "mlp@1-rank16-lr0.001-seed0"]


def test_those_with_the_lowest_blocks_come_first():
    made = cells(10, sites=("attention", "mlp"), blocks=("every", "quarters"), seeds=(0, 1))
    lowest = [cell.lowest for cell in made]
    assert lowest == sorted(lowest)
    assert [int(cell.blocks.split("-")[0]) for cell in made] == lowest
    assert len(made) == len({cell.name for cell in made}) == 2 * (2 * 14 + 1)


def test_all_sites_in_all_blocks_are_there_with_every_seed_to_be_held_against():
    made = cells(sites=("q",), blocks=("2",), seeds=(3, 5), rank=2)
    assert {(c.site, c.blocks, c.seed, c.rank) for c in made} == {
        (site, blocks, seed, 2) for seed in (3, 5) for site, blocks in (("all", "0-3"), ("q", "2"))
    }


def trainable(family, cell):
    """Counted on the adapter itself."""
    adapted = attach_lora(tiny_model(family), cell.target)
    return sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


@pytest.mark.parametrize(("family", "other"), [("llama", "mlp"), ("gpt_oss", "experts")])
def test_parameters_are_those_of_the_attached_adapter(family, other):
    grid = Grid(sites=("attention", other), blocks=("1", "2-3"), match=("rank", "parameters"))
    for cell in grid.cells(tiny_model(family), 1e-3):
        assert cell.parameters == trainable(family, cell), cell.name


@pytest.mark.parametrize("rank", [1, 5, 16, 33])
def test_matched_parameters_are_as_near_as_whole_ranks_allow(rank):
    grid = Grid(sites=("attention", "mlp"), blocks=("1",), match=("parameters",), rank=rank)
    made = {cell.site: cell for cell in grid.cells(MODELS[4], 1e-3)}
    wanted, (own, mlp) = made["attention"].parameters, (made["mlp"].rank, made["mlp"].parameters)
    a_rank = mlp // own
    distances = {other: abs(other * a_rank - wanted) for other in range(1, 2 * rank + 2)}
    assert made["attention"].rank == rank
    assert distances[own] == min(distances.values())


def test_both_matches_share_the_cells_they_have_alike():
    made = cells(sites=("attention", "mlp"), blocks=("1",), match=("rank", "parameters"))
    assert sorted((c.site, c.rank) for c in made if c.site != "all") == [
        ("attention", 16),
        ("mlp", 14),  # as many parameters
        ("mlp", 16),
    ]


def test_every_block_is_every_block_that_has_the_site():
    model = tiny_model("deepseek_v2")  # its first block has no experts
    made = Grid(sites=("attention", "experts"), blocks=("every",)).cells(model, 1e-3)
    blocks = {site: {c.lowest for c in made if c.site == site} for site in ("attention", "experts")}
    assert blocks["attention"] - blocks["experts"] == {0}
    assert blocks["experts"]


def test_parameters_are_matched_by_blocks_that_have_the_site():
    model = tiny_model("deepseek_v2")
    grid = Grid(sites=("attention", "experts"), blocks=("1",), match=("parameters",))
    sizes = {c.site: (c.rank, c.parameters) for c in grid.cells(model, 1e-3) if c.site != "all"}
    rank, own = sizes["experts"]
    assert abs(own - sizes["attention"][1]) <= own / rank / 2


def test_learning_rates_are_those_of_the_site():
    rates = {"mlp": [0.1, 0.3, 0.1], "all": [0.2]}
    made = cells(learning_rate=0.5, sites=("q", "mlp"), blocks=("1", "2"), learning_rates=rates)
    assert sorted((cell.site, cell.blocks, cell.learning_rate) for cell in made) == [
        ("all", "0-3", 0.2),
        *(("mlp", "1", rate) for rate in (0.1, 0.3)),
        *(("mlp", "2", rate) for rate in (0.1, 0.3)),
        *(("q", blocks, 0.5) for blocks in ("1", "2")),
    ]


def test_learning_rates_that_differ_have_names_that_do():
    rates = (1e-3, 0.0010000001, 1, 1e-12)
    made = cells(sites=("q",), blocks=("1",), learning_rates={"q": rates, "all": [1]})
    names = {cell.name for cell in made}
    assert len(names) == 5
    assert "q@1-rank16-lr1.0-seed0" in names


def test_a_name_says_what_the_cell_is_and_its_target_what_learns():
    cell = cells(sites=("q,v",), blocks=("1-2",), seeds=(7,), rank=3)[-1]
    assert cell.name == "q,v@1-2-rank3-lr0.001-seed7"
    assert cell.target.expression == "q,v@1-2"
    assert cell.target.rank == 3


@pytest.mark.parametrize("name", ["sites", "blocks", "seeds", "match"])
def test_an_empty_grid_is_refused(name):
    with pytest.raises(ConfigError, match=f"the grid is empty: {name} names nothing"):
        Grid(**{name: ()})


@pytest.mark.parametrize("name", ["sites", "blocks", "match"])
def test_a_string_for_a_list_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is 'mlp': give a list"):
        Grid(**{name: "mlp"})


@pytest.mark.parametrize("rate", [0.0, -1e-3, math.nan, math.inf])
def test_a_bad_learning_rate_is_refused(rate):
    with pytest.raises(
        ConfigError, match=r"a learning rate of mlp is .*, expected a number above 0"
    ):
        Grid(learning_rates={"mlp": [rate]})


def test_a_site_without_any_learning_rate_is_refused():
    with pytest.raises(ConfigError, match=r"the learning rates of mlp are \(\): give a list"):
        Grid(learning_rates={"mlp": ()})


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ({"sites": ("atention",)}, TargetingError, 'Did you mean "attention"?'),
        ({"sites": ("mlp@2",)}, TargetingError, 'the site "mlp@2" names blocks'),
        ({"sites": ("q+v",)}, TargetingError, 'the site "q\\+v" names .* several terms'),
        ({"match": ("params",)}, ConfigError, 'unknown match "params"; known: rank, parameters'),
        ({"learning_rates": {"mpl": [1.0]}}, ConfigError, 'Did you mean "mlp"?'),
        ({"rank": 0}, ConfigError, "rank must be at least 1"),
        ({"blocks": ("every-0",)}, ConfigError, 'the blocks "every-0" have no step'),
        ({"blocks": ("evry",)}, TargetingError, "evry"),
        ({"blocks": ("4",)}, TargetingError, r"blocks \[4\] do not exist.*has 4, numbered 0-3"),
        ({"blocks": ("2-9",)}, TargetingError, r"blocks \[4-9\] do not exist"),
        ({"sites": ("experts",)}, TargetingError, '"experts" matched nothing'),
        ({"seeds": (-1,)}, ConfigError, "seeds holds -1, expected whole numbers, 0 or more"),
    ],
)
def test_bad_input_is_refused(grid, error, message):
    with pytest.raises(error, match=message):
        cells(**grid)


def test_a_part_of_too_few_blocks_is_refused():
    with pytest.raises(TargetingError, match='"first-quarter" names no block'):
        blocks_of(3, "quarters")


@pytest.mark.parametrize(
    ("blocks", "numbers"),
    [("12", (12,)), ("0-3", (0, 1, 2, 3)), ("0,3,6", (0, 3, 6)), ("1,4-6", (1, 4, 5, 6))],
)
def test_blocks_are_read_as_numbers(blocks, numbers):
    assert CellPlace("mlp", blocks, 2).numbers == numbers
