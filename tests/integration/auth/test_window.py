"""The SQL window against its pure twin: the same row, the same moment, the same answer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.auth.admission import Demand
from services.auth.plans import Limits
from services.auth.window import SECOND_US, WINDOW_US, Window, admit

pytestmark = pytest.mark.integration

#: Ages of entries: fresh, about to leave, gone, and from the future (the clock jumped back).
AGES_US = st.lists(
    st.one_of(
        st.integers(-3 * WINDOW_US, 2 * WINDOW_US),
        st.integers(0, 2 * SECOND_US),
        st.integers(WINDOW_US - 2 * SECOND_US, WINDOW_US + 2 * SECOND_US),
    ),
    max_size=70,
    unique=True,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ages_us=AGES_US, data=st.data(), count=st.integers(0, 300), limit=st.integers(1, 500) | st.just(10**9))
async def test_the_statement_answers_as_the_pure_window_does(database, repository, ages_us, data, count, limit):
    counts = data.draw(st.lists(st.integers(1, 40), min_size=len(ages_us), max_size=len(ages_us)))
    seeded = await database.fetchrow(
        """
        INSERT INTO auth.windows AS w VALUES ('org_x',
            ARRAY(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - age
                  FROM unnest($1::bigint[]) AS a (age) ORDER BY age DESC), $2)
        ON CONFLICT (organization_id) DO UPDATE SET moments_us = excluded.moments_us, counts = excluded.counts
        RETURNING moments_us, counts
        """,
        ages_us,
        counts,
    )
    before = Window(tuple(seeded["moments_us"]), tuple(seeded["counts"]))
    standings = await repository.admit({"org_x": Demand(Limits(requests_per_minute=limit), count)})
    answered = standings["org_x"].admission
    after, expected = admit(before, now_us=answered.now_us, count=count, limit=limit)
    assert answered == expected
    if expected.admitted or (before.moments_us and before.moments_us[-1] > answered.now_us):
        row = await database.fetchrow("SELECT moments_us, counts FROM auth.windows WHERE organization_id = 'org_x'")
        assert Window(tuple(row["moments_us"]), tuple(row["counts"])) == after


async def test_the_statements_own_clock_never_goes_back_between_calls(repository):
    moments_us = []
    for _ in range(50):
        standings = await repository.admit({"org_x": Demand(Limits(requests_per_minute=10**9), 1)})
        moments_us.append(standings["org_x"].admission.now_us)
    assert moments_us == sorted(moments_us)
