"""Ids that this gateway makes are told apart from those of providers."""

import pytest

from antiphon.engine.turn import is_minted, mint_response_id


def test_minted_ids_are_unique_and_known_again():
    """Without looking anything up."""
    ids = [mint_response_id().decode() for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    assert all(map(is_minted, ids))
    assert {(each[:5], len(each)) for each in ids} == {("resp_", 53)}


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "resp_",
        "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "resp_" + "0" * 48,
        "msg_" + "0" * 48,
        "57c7c85f-e1fa-4f5c-8a29-f8a6036862a9",
        "resp_\ud800",
    ],
)
def test_ids_of_others_are_foreign(foreign):
    """Providers' ids, and what is no id at all."""
    assert not is_minted(foreign)


@pytest.mark.parametrize("change", [lambda own: own[5:], lambda own: own + "0", str.upper])
def test_an_own_id_that_was_changed_is_foreign(change):
    """However little was changed."""
    assert not is_minted(change(mint_response_id().decode()))
