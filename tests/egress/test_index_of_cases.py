"""Where each planned case and each defect of the reference implementation is tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PLANNED = "egress/test_planned_cases.py"
DEFECTS = "egress/test_defects.py"
GUESTS = "egress/test_cases_in_guests.py"

# Number of the case -> file and beginning of the test's name.
CASES = {
    **{number: [(PLANNED, f"test_{number:02}_")] for number in range(1, 29)},
    **{number: [(PLANNED, "test_02_to_06_addresses")] for number in range(2, 7)},
    20: [(GUESTS, "test_20_json_is_read")],
    21: [(GUESTS, "test_21_bad_json_is_an_error")],
    24: [(PLANNED, "test_24_and_25_spellings_of_a_host")],
    25: [(PLANNED, "test_24_and_25_spellings_of_a_host")],
}

# Defect 19 (names of a document's fields in SQL) is of a part that this project does not have.
DEFECTS_TESTED = {
    1: [(GUESTS, "test_defects_1_and_2"), ("guests/javascript/test_fetch.py", "test_failures_")],
    2: [(GUESTS, "test_defects_1_and_2"), ("guests/python/test_net.py", "test_when_to_try_again")],
    3: [(DEFECTS, "test_03_every_timeout"), (DEFECTS, "test_03_the_budget")],
    4: [(DEFECTS, "test_04_no_error_holds_a_secret"), (DEFECTS, "test_04_no_referer")],
    5: [
        (DEFECTS, "test_05_secrets_do_not_follow_redirects"),
        (DEFECTS, "test_05_secrets_need_https_and_their_domain"),
        (DEFECTS, "test_05_secrets_stay_on_their_own_origin"),
    ],
    6: [(DEFECTS, "test_06_echoes_are_scrubbed"), ("exec/test_net.py", "test_output_is_scrubbed")],
    7: [("cli/test_net.py", "test_flags_stand"), ("cli/test_secret.py", "test_flags_stand")],
    8: [("egress/test_database.py", "test_one_entry"), ("cli/test_net.py", "test_allow")],
    9: [("cli/test_net.py", "test_allow")],
    10: [(DEFECTS, "test_10_slots_are_exact"), (DEFECTS, "test_10_a_cache_hit")],
    11: [
        (DEFECTS, "test_11_every_decision_is_logged"),
        ("egress/test_log.py", "test_a_full_buffer_drops_the_oldest"),
        ("cli/test_net.py", "test_logs"),
    ],
    12: [
        (DEFECTS, "test_12_no_cache_with_credentials"),
        ("egress/test_cache.py", "test_too_large"),
    ],
    13: [("egress/test_rate.py", "test_a_changed_rate"), ("egress/test_rate.py", "test_memory_is")],
    14: [("egress/test_addresses.py", "test_the_table_of_addresses")],
    15: [
        (PLANNED, "test_12_more_than_3_redirects"),
        ("egress/test_hostile.py", "test_the_next_address_is_tried"),
        (PLANNED, "test_19_timeout_in_the_body"),
    ],
    16: [
        (DEFECTS, "test_16_what_a_guest_may_not_set"),
        ("egress/test_url.py", "test_the_table_of"),
    ],
    17: [("egress/test_allowlist.py", "test_hosts_that_no_entry_may_name")],
    18: [(GUESTS, "test_defect_18_")],
    20: [(GUESTS, "test_defect_20_")],
    21: [(GUESTS, "test_defect_21_"), ("limits/test_limits.py", "test_what_is_derived")],
}


@pytest.mark.parametrize(
    ("number", "places"),
    [*CASES.items(), *DEFECTS_TESTED.items()],
    ids=[*(f"case {number}" for number in CASES), *(f"defect {n}" for n in DEFECTS_TESTED)],
)
def test_each_case_has_a_test(number, places):
    """The tests that a case names exist."""
    for path, name in places:
        source = (TESTS / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}", source, re.MULTILINE), (number, path, name)


def test_no_case_is_left_out():
    """All 28 cases and all 21 defects but the one without a counterpart are here."""
    assert sorted(CASES) == list(range(1, 29))
    assert sorted(DEFECTS_TESTED) == [*range(1, 19), 20, 21]
