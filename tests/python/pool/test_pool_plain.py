"""Any plain data goes there and comes back."""

import ergon
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def kept_pool():
    with ergon.ProcessPool(2) as opened:
        yield opened


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=100),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(items=st.lists(plain, max_size=40), chunksize=st.none() | st.integers(1, 50))
def test_any_plain_data(kept_pool, items, chunksize):
    options = {} if chunksize is None else {"chunksize": chunksize}
    assert kept_pool.map(lambda x: (x, x), items, **options) == [(x, x) for x in items]
    assert list(kept_pool.imap(lambda x: [x], items, **options)) == [[x] for x in items]


def test_the_pool_is_well_after_all_that(kept_pool):
    assert kept_pool.map(abs, [-1, -2]) == [1, 2]
