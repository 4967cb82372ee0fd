import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.sse import DONE, Event, FrameReader, FrameTooLargeError, parse_frame, write_frame

LINE_ENDS = [b"\n", b"\r\n", b"\r"]
NO_LIMIT = 1 << 20

contents = st.binary(max_size=12).map(lambda raw: raw.translate(None, b"\r\n"))
lines = st.one_of(
    contents.map(lambda text: b"data:" + text),
    contents.map(lambda text: b"data: " + text),
    contents.map(lambda text: b": " + text),
    contents.map(lambda text: b"event: " + text),
    st.just(b"id: 1"),
    st.just(b"data"),
    contents.filter(bool),
)
# Bytes in which everything that matters to the reader is likely.
streams = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"d", b"data: x", b": ", b"\xef\xbb\xbf"]), max_size=40
).map(b"".join)


@st.composite
def splits(draw, whole=streams):
    data = draw(whole)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    edges = [0, *cuts, len(data)]
    return data, [data[start:end] for start, end in itertools.pairwise(edges)]


def feed_all(reader, pieces):
    return [frame for piece in pieces for frame in reader.feed(piece)]


def read(pieces):
    reader = FrameReader(NO_LIMIT)
    return feed_all(reader, pieces), reader.close()


@given(splits())
def test_frames_do_not_depend_on_how_the_bytes_are_split(split):
    """The same frames and the same rest come from any split."""
    data, pieces = split
    assert read(pieces) == read([bytes((byte,)) for byte in data])


@given(splits())
def test_no_byte_is_lost_or_changed(split):
    """Frames and rest together are the stream."""
    data, pieces = split
    frames, rest = read(pieces)
    assert b"".join(frames) + rest == data


@given(
    st.lists(st.lists(lines, min_size=1, max_size=4), max_size=5),
    st.sampled_from(LINE_ENDS),
    st.data(),
)
def test_each_event_is_one_frame_whatever_the_line_ends(events, line_end, data):
    """LF, CRLF and CR cut at the same places; only a last CR is held back until the close."""
    whole = [line_end.join(event) + line_end * 2 for event in events]
    _, pieces = data.draw(splits(st.just(b"".join(whole))))
    frames, rest = read(pieces)
    assert [*frames, rest] == [*whole, b""] or (line_end != b"\n" and [*frames, rest] == whole)


@given(st.lists(lines, min_size=1, max_size=4), st.lists(st.sampled_from(LINE_ENDS), min_size=5, max_size=5))
def test_line_ends_may_be_mixed(event, ends):
    """An event with a different end on each line reads as with line feeds."""
    mixed = b"".join(line + end for line, end in zip(event, ends, strict=False)) + ends[-1]
    # CR and LF one after the other are one line end, not a line and a blank one.
    if mixed.endswith(b"\r\n") and not mixed.endswith((b"\n\r\n", b"\r\r\n")):
        mixed += b"\r\n"
    assert parse_frame(mixed) == parse_frame(b"\n".join(event) + b"\n\n")


@given(st.lists(contents, min_size=1, max_size=4))
def test_several_data_lines_are_joined_with_line_feeds(texts):
    """As the standard says, less the last line feed."""
    frame = b"".join(b"data: %b\n" % text for text in texts) + b"\n"
    assert parse_frame(frame) == Event("", b"\n".join(texts))


@given(contents, st.sampled_from(["", "response.created", "error"]))
def test_what_is_written_can_be_read(data, event_type):
    """parse_frame undoes write_frame, and the frame is one frame."""
    frame = write_frame(data, event_type)
    assert parse_frame(frame) == Event(event_type, data)
    assert FrameReader(NO_LIMIT).feed(frame) == [frame]


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b"data: x\n\n", Event("", b"x")),
        (b"data:x\n\n", Event("", b"x")),
        (b"data:  x\n\n", Event("", b" x")),
        (b"data\n\n", Event("", b"")),
        (b": ping\ndata: x\n\n", Event("", b"x")),
        (b"event: a\ndata: x\r\n\r\n", Event("a", b"x")),
        (b"data: x\nevent: a\nevent: b\n\n", Event("b", b"x")),
        (b"\xef\xbb\xbfdata: x\n\n", Event("", b"x")),
        (b"data: \xef\xbb\xbfx\n\n", Event("", b"\xef\xbb\xbfx")),
        (b"datax: y\nid: 7\nretry: 9\ndata: x\n\n", Event("", b"x")),
        (b"data: a:b\n\n", Event("", b"a:b")),
        (b"event: \xff\ndata: x\n\n", Event("\N{REPLACEMENT CHARACTER}", b"x")),
        (DONE, Event("", b"[DONE]")),
        (b": OPENROUTER PROCESSING\n\n", None),
        (b"event: ping\n\n", None),
        (b"error: {}\n\n", None),
        (b"\n\n", None),
    ],
)
def test_frames_are_read_as_the_standard_says(frame, event):
    """Field by field."""
    assert parse_frame(frame) == event


@given(
    st.integers(1, 30),
    splits(st.binary(min_size=31, max_size=60).map(lambda raw: raw.translate(None, b"\r\n"))),
)
def test_a_frame_past_the_limit_is_refused_however_it_comes(limit, split):
    """Ended or not, in one piece or in many."""
    data, pieces = split
    if len(data) <= limit:
        return
    for last in ([], [b"\n\n"]):
        reader = FrameReader(limit)
        with pytest.raises(FrameTooLargeError):
            feed_all(reader, [*pieces, *last])


@given(splits(st.integers(0, 20).map(lambda size: (b"x" * size + b"\n\n") * 3)))
def test_a_frame_within_the_limit_is_not(split):
    """The limit counts one frame with its blank line, not the stream."""
    data, pieces = split
    reader = FrameReader(len(data) // 3)
    frames = feed_all(reader, pieces)
    assert [len(frame) for frame in frames] == [len(data) // 3] * 3 or data == b"\n\n" * 3


def test_a_reader_can_be_closed_with_a_frame_held_back():
    """A last CR may be half of a CRLF; the close settles it."""
    reader = FrameReader(NO_LIMIT)
    assert reader.feed(b"data: x\r\r") == []
    assert reader.close() == b"data: x\r\r"
    assert reader.close() == b""
