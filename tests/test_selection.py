"""What names mean, and that no glob of a stranger's costs much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.errors import NoSuchClusterError
from pgsupervisor.supervision.selection import choose, chooser, is_glob

NAMES = st.text(st.sampled_from("ab-[]*?!^\\&|~\n\0é"), max_size=8)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], set()),
        (["all"], {"shop", "blog", "wiki"}),
        (["shop"], {"shop"}),
        (["shop", "w*"], {"shop", "wiki"}),
        (["?[hi]*"], {"shop", "wiki"}),
        (["[!s]*"], {"blog", "wiki"}),
    ],
)
def test_meanings(names: list[str], chosen: set[str]) -> None:
    """A name means its cluster, a glob all that it matches, `all` every one; both ways of asking agree."""
    known = ["shop", "blog", "wiki"]
    assert choose(names, known) == chosen == set(filter(chooser(names), known))


@pytest.mark.parametrize("name", ["sho", "Shop", "x*", "[", "", "shop\n", "../shop", "shop\0"])
def test_what_means_nothing(name: str) -> None:
    """A name that means nothing is told, even beside one that does; `all` of nothing is nothing."""
    with pytest.raises(NoSuchClusterError) as caught:
        choose(["shop", name], ["shop"])
    assert (caught.value.name, choose(["all"], [])) == (name, set())


@given(name=NAMES, cluster=st.text(st.sampled_from("ab-"), min_size=1))
def test_any_name_means_something_or_nothing(name: str, cluster: str) -> None:
    """Whatever is asked for has an answer; what is no glob means its namesake alone."""
    assert isinstance(chooser([name])(cluster), bool)
    assert is_glob(name) or chooser([name])(cluster) == (name == cluster)


@pytest.mark.parametrize("part", ["*a", "*?", "?*", "*[a-z]", "**", "*[!b]", "*aa"])
def test_globs_do_not_explode(part: str) -> None:
    """A glob that a matcher could try in more ways than there are atoms is answered; one that explodes never ends."""
    glob = part * (255 // len(part)) + "b"
    assert not chooser([glob, part * 20 + "b"])("a" * 63)
