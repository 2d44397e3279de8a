"""Any plain data goes there and comes back."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=100),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(plain, max_size=40), chunksize=st.none() | st.integers(1, 50))
def test_any_plain_data(process_pool, items, chunksize):
    options = {} if chunksize is None else {"chunksize": chunksize}
    assert process_pool.map(lambda x: (x, x), items, **options) == [(x, x) for x in items]
    assert list(process_pool.imap(lambda x: [x], items, **options)) == [[x] for x in items]
