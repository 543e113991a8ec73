"""Ranges of time are cut without gaps or overlaps, into as wide buckets as fit."""

from hypothesis import given
from hypothesis import strategies as st

from projections.run_counts import WIDTHS
from projections.time_pieces import EXACT, SECOND, SKEW, Piece, pieces

DAY = 86_400 * SECOND
times = st.integers(-3 * DAY, 3 * DAY) | st.integers(-300, 300).map(lambda quarters: quarters * 900 * SECOND)


def cut(start: int, stop: int, now: int | None = None) -> list[Piece]:
    return list(pieces([(start, stop)], now))


@given(times, times, st.none() | times)
def test_the_pieces_of_a_range_are_the_range(start: int, stop: int, now: int | None) -> None:
    made = cut(start, stop, now)
    ends = [piece.stop for piece in made]
    assert [piece.start for piece in made] == ([start, *ends[:-1]] if made else [])
    assert (ends[-1] == stop) if start < stop else made == []


@given(times, times, st.none() | times)
def test_buckets_are_whole_and_what_is_exact_is_shorter_than_any(start: int, stop: int, now: int | None) -> None:
    for piece in cut(start, stop, now):
        assert piece.start is not None
        if piece.width != EXACT:
            assert piece.start % (piece.width * SECOND) == 0 == piece.stop % (piece.width * SECOND)
        elif now is None:
            assert piece.stop - piece.start < 2 * WIDTHS[0] * SECOND


@given(times, times, times)
def test_what_is_not_exact_is_over_or_yet_to_come(start: int, stop: int, now: int) -> None:
    for piece in cut(start, stop, now):
        assert piece.start is not None
        if piece.width != EXACT:
            assert piece.stop <= now - SKEW + 60 * SECOND if piece.due else piece.start >= now + SKEW
            assert not piece.due or piece.stop <= now


def test_a_day_of_quarter_hours_is_read_bucket_by_bucket() -> None:
    quarters = [(place * 900 * SECOND, (place + 1) * 900 * SECOND) for place in range(96)]
    assert [(piece.index, piece.width) for piece in pieces(quarters)] == [(place, 900) for place in range(96)]


def test_days_are_read_as_days_and_the_rest_as_finer_buckets() -> None:
    made = cut(-60 * SECOND, DAY + 901 * SECOND)
    assert [(piece.width, piece.stop) for piece in made] == [
        (60, 0),
        (86_400, DAY),
        (900, DAY + 900 * SECOND),
        (EXACT, DAY + 901 * SECOND),
    ]
