"""Taking symbols out of athena.toml changes those lists and nothing else."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athena.core.symbols import emptied_strategies, without_symbols
from athena.errors import SettingsError

TEXT = """# my desk
symbols = ["AAPL", "OLD", "MSFT"]  # the watchlist: "OLD" is in this comment too

[limits]
restricted_symbols = ["OLD"]

[[strategies]]
name = "one"   # first
kind = "momentum"
symbols = [
  "OLD",   # delisted
  'AAPL',  # fruit ]
  "OLD2"
]

[[strategies]]
name = "two"
kind = "momentum"
symbols = ["OLD"]
"""


def test_comments_layout_and_every_other_setting_stay():
    """Only the items go, with their commas, and a line that held nothing else."""
    made = without_symbols(TEXT, ["OLD", "OLD2"])
    assert 'symbols = ["AAPL", "MSFT"]  # the watchlist: "OLD" is in this comment too' in made
    assert "delisted" not in made
    assert "'AAPL',  # fruit ]" in made
    assert tomllib.loads(made)["limits"] == {"restricted_symbols": ["OLD"]}
    assert made.startswith("# my desk\n")
    assert emptied_strategies(TEXT, ["OLD", "OLD2"]) == ["two"]


@given(
    st.lists(st.sampled_from(["AAPL", "OLD", "MSFT", "BRK.B", "OLD2"]), max_size=6),
    st.sampled_from([", ", ",", " ,\n  "]),
)
def test_any_list_is_shortened_to_what_remains(names, between):
    """Whatever the order, repetitions and separators."""
    text = "symbols = [" + between.join(f'"{name}"' for name in names) + "]\nsafe_mode = true\n"
    made = tomllib.loads(without_symbols(text, {"OLD", "OLD2"}))
    assert made == {"symbols": [name for name in names if not name.startswith("OLD")], "safe_mode": True}


def test_what_is_not_safe_to_edit_is_left_to_a_person():
    """Dotted keys and inline tables hold symbols this code does not find: it says so and changes nothing."""
    with pytest.raises(SettingsError, match="not safe to edit"):
        without_symbols('strategies = [{name = "a", kind = "b", symbols = ["OLD", "X"]}]\n', ["OLD"])
