"""The recipe's ledger: every run can be carried out, and says what it is measured by."""

import broad_recipe


def test_every_run_is_measured_by_suites_that_can_be_asked():
    runs = {name: broad_recipe.Recipe(model=model) for name, model in broad_recipe.BASES.items()}
    for name in runs | broad_recipe.LEDGER:
        suites = broad_recipe.table(name)
        assert {"carry_over", "ordinary", "knowledge", "given"} <= {one.name for one in suites}
        for suite in suites:
            suite.check()
    for asked in (broad_recipe.ASKED_FURTHER, broad_recipe.ASKED_FEWER):
        assert set(asked) <= {*runs, *broad_recipe.LEDGER}
