"""Names: kept where PostgreSQL can, and else unique, short and for ever the same."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartridge_warp import model
from cartridge_warp.schema.naming import assign, snake, table_name

SUFFIXED = re.compile(r"(?s).*_[0-9a-f]{8}")


def one(*path: str, style: str = "preserve") -> str:
    return assign([path], naming=style)[path]


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "MixedCase",
        "with space",
        'quo"te',
        "apo'strophe",
        "semi;colon",
        "dot.in.key",
        "$dollar",
        "percent%s",
        "back\\slash",
        "new\nline",
        "\ufeffbom",
        "emoji😀",
        "select",
        "CTID",
        "Xmin",
        "名前",
        " ",
        "x" * 63,
        "é" * 31,
        "id",
        "cwarp_extra",
        "_cwarp",
    ],
)
def test_what_postgresql_can_hold_is_kept(name: str) -> None:
    assert one(name) == name


def test_levels_are_joined() -> None:
    assert one("address", "city") == "address_city"
    assert one("a", "", "b") == "a__b"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ctid",
        "xmin",
        "xmax",
        "cmin",
        "cmax",
        "tableoid",
        "_id",
        "_cwarp_extra",
        "_cwarp_synced_at",
        "_cwarp_source_ts",
        "_cwarp_",
        "_cwarp_of_yours",
        "is_deleted",
        "deleted_at",
        "lone\ud800surrogate",
        "x" * 64,
        "é" * 32,
    ],
)
def test_what_it_cannot_hold_gets_the_suffix(name: str) -> None:
    result = one(name)
    assert result != name
    assert SUFFIXED.fullmatch(result)
    assert len(result.encode()) <= 63


def test_a_path_that_joins_to_a_reserved_name() -> None:
    assert one("", "id").startswith("_id_")
    assert one("is", "deleted").startswith("is_deleted_")


def test_the_suffix_is_a_hash_of_the_full_path() -> None:
    long = "a" * 70
    expected = sha256(f"{long}\0b".encode()).hexdigest()[:8]
    assert one(long, "b") == "a" * 54 + "_" + expected
    assert one("") == "_" + sha256(b"").hexdigest()[:8]


@pytest.mark.parametrize("letter", ["é", "名", "😀"])
def test_a_long_name_is_cut_between_characters(letter: str) -> None:
    for shift in range(4):
        result = one("x" * shift + letter * 40)
        assert len(result.encode()) <= 63
        prefix = result[:-9]
        assert prefix == ("x" * shift + letter * 40)[: len(prefix)]
        assert len(prefix.encode()) > 54 - len(letter.encode())


def test_long_names_with_one_beginning_stay_apart() -> None:
    paths = [("x" * 100 + str(number),) for number in range(500)]
    assert len(set(assign(paths).values())) == 500


def test_the_first_of_two_keeps_the_name() -> None:
    names = assign([("a", "b"), ("a_b",)])
    assert names["a", "b"] == "a_b"
    assert names["a_b",].startswith("a_b_")
    turned = assign([("a_b",), ("a", "b")])
    assert turned["a_b",] == "a_b"
    assert turned["a", "b"].startswith("a_b_")


def test_case_decides_under_preserve_and_not_under_snake() -> None:
    assert set(assign([("Name",), ("name",)]).values()) == {"Name", "name"}
    folded = assign([("Name",), ("name",)], naming="snake")
    assert folded["Name",] == "name"
    assert folded["name",].startswith("name_")


def test_taken_names_are_left_alone() -> None:
    assert assign([("a",)], taken={"a"})["a",].startswith("a_")


def test_a_field_named_like_our_suffix() -> None:
    forged = one("ctid")
    names = assign([(forged,), ("ctid",)])
    assert names[forged,] == forged
    assert names["ctid",] != forged
    assert SUFFIXED.fullmatch(names["ctid",])


def test_a_path_given_twice_has_one_name() -> None:
    assert assign([("a",), ("a",)]) == {("a",): "a"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("createdAt", "created_at"),
        ("CreatedAt", "created_at"),
        ("created_at", "created_at"),
        ("HTTPServer", "http_server"),
        ("userID", "user_id"),
        ("userIDs2Go", "user_i_ds2_go"),
        ("ID", "id"),
        ("A", "a"),
        ("oauth2Token", "oauth2_token"),
        ("first name", "first_name"),
        ("kebab-case", "kebab_case"),
        ("dot.key", "dot_key"),
        ("_private", "_private"),
        ("größeÄnderung", "größe_änderung"),
        ("😀", "_"),
        ("", ""),
    ],
)
def test_snake(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_snake_reaches_every_level() -> None:
    assert one("homeAddress", "zipCode", style="snake") == "home_address_zip_code"


def test_table_names() -> None:
    assert table_name("orders") == "orders"
    assert table_name("userEvents", naming="snake") == "user_events"
    assert table_name("system.profile") == "system.profile"
    # A table may be called like a system column, or like a column of ours.
    assert table_name("ctid") == "ctid"
    assert table_name("_id") == "_id"
    assert table_name("_cwarp_x").startswith("_cwarp_x_")
    assert table_name("a", taken=["a"]).startswith("a_")
    assert len(table_name("é" * 120).encode()) <= 63


PATHS = st.lists(
    st.lists(
        st.text(st.characters(exclude_characters="\0"), max_size=40),
        min_size=1,
        max_size=4,
    ).map(tuple),
    max_size=20,
    unique=True,
)


@given(PATHS, st.sampled_from(["preserve", "snake"]))
def test_names_are_valid_unique_and_repeatable(
    paths: list[tuple[str, ...]], style: str
) -> None:
    names = assign(paths, naming=style)
    assert list(names) == paths
    assert len(set(names.values())) == len(paths)
    for name in names.values():
        assert 1 <= len(name.encode()) <= 63
        assert name not in model.OWN_COLUMNS | model.SYSTEM_COLUMNS
    assert assign(paths, naming=style) == names


@given(PATHS, st.integers(0, 20))
def test_growing_by_steps_keeps_earlier_names(
    paths: list[tuple[str, ...]], cut: int
) -> None:
    first = assign(paths[:cut])
    later = assign(paths[cut:], taken=set(first.values()))
    assert assign(paths) == first | later
