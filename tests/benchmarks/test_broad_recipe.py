"""The recipe's ledger: every run can be carried out, and says what it is measured by."""

from dataclasses import replace

import broad_recipe

from distmatch.data import split_words, word_pool


def test_every_run_is_measured_by_suites_that_can_be_asked():
    runs = {name: broad_recipe.Recipe(model=model) for name, model in broad_recipe.BASES.items()}
    for name in runs | broad_recipe.LEDGER:
        suites = broad_recipe.table(name)
        assert {"carry_over", "ordinary", "knowledge", "given"} <= {one.name for one in suites}
        for suite in suites:
            suite.check()
    for asked in (broad_recipe.ASKED_FURTHER, broad_recipe.ASKED_FEWER):
        assert set(asked) <= {*runs, *broad_recipe.LEDGER}


def test_no_run_of_the_ledger_is_trained_on_words_that_suites_hold_out():
    held_out = set(split_words(word_pool(), seed=0)[1])
    for name, recipe in broad_recipe.LEDGER.items():
        rows = broad_recipe.rows(replace(recipe, steps=20), is_pilot=False)
        trained_on = {word.strip().lower() for row in rows for word in row.target.words}
        assert recipe.data == "others" or not held_out & trained_on, name  # answers of its own
