"""Ranges of time are cut without gaps or overlaps, into as wide buckets as fit."""

from hypothesis import given
from hypothesis import strategies as st

from projections.run_counts import WIDTHS
from projections.time_pieces import EXACT, SECOND, SKEW, Piece, even_pieces, pieces

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


steps = st.integers(SECOND, DAY) | st.sampled_from([60, 900, 1800, 3600, 86_400]).map(lambda seconds: seconds * SECOND)


@given(times, steps, st.integers(0, 20), times)
def test_even_intervals_are_cut_as_each_of_them_is_but_for_those_that_are_one_piece(
    start: int, step: int, number: int, now: int
) -> None:
    parted: list[tuple[int, int, int]] = []
    for piece in even_pieces(start, step, number, now):
        assert piece.start is not None
        length = piece.step or piece.stop - piece.start
        assert (piece.stop - piece.start) % length == 0
        parted += [
            (piece.index + place, begin, begin + length)
            for place, begin in enumerate(range(piece.start, piece.stop, length))
        ]
        if piece.step:
            assert piece.due
            assert piece.start % (piece.width * SECOND) == 0 == piece.step % (piece.width * SECOND)
            assert piece.stop <= now
    for index in range(number):
        ends = [begin for at, begin, _ in parted if at == index] + [start + (index + 1) * step]
        assert ends[0] == start + index * step
        assert [end for at, _, end in parted if at == index] == ends[1:]
    assert len(parted) == sum(1 for index, _, _ in parted if 0 <= index < number)


def test_a_day_of_quarter_hours_that_is_over_is_one_piece() -> None:
    assert even_pieces(0, 900 * SECOND, 96, 2 * DAY) == [Piece(0, 900, 0, DAY, True, 900 * SECOND)]
    halves = even_pieces(0, DAY // 2, 4, DAY + 1)
    assert halves[0] == Piece(0, 900, 0, DAY // 2, True, DAY // 2)
    assert {piece.index for piece in halves} == {0, 1, 2, 3}
