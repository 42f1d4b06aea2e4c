"""The recipe's ledger: every run can be carried out, and says what it is measured by."""

import broad_recipe


def test_every_run_is_measured_by_suites_that_can_be_asked():
    runs = {name: broad_recipe.Recipe(model=model) for name, model in broad_recipe.BASES.items()}
    for name, recipe in (runs | broad_recipe.LEDGER).items():
        suites = broad_recipe.table(name, recipe)
        assert {"carry_over", "ordinary", "knowledge", "given"} <= {one.name for one in suites}
        for suite in suites:
            suite.check()
    assert set(broad_recipe.ASKED_FURTHER) <= {*runs, *broad_recipe.LEDGER}
