import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.recording import Mode, Outcome, Recording, State, codec
from antiphon.recording.codec import UnreadableRecordingError, decode, encode
from recording.samples import recordings

SMALL = Recording("r", "chat", Mode.STREAM, "p", "m", 1.0, frames=[b"a\n\n"], times=[5], size=3)


@given(recordings())
def test_decoding_gives_back_what_was_encoded(recording):
    """decode(encode(x)) == x, every field of it."""
    assert decode(encode(recording)) == recording


@given(recordings(), st.data())
def test_no_part_of_a_stored_recording_is_a_recording(recording, data):
    """Every proper prefix is refused, with the one exception."""
    stored = encode(recording)
    with pytest.raises(UnreadableRecordingError):
        decode(stored[: data.draw(st.integers(0, len(stored) - 1))])


@given(recordings(), st.data(), st.integers(1, 255))
def test_no_damaged_byte_goes_unnoticed(recording, data, flips):
    """A change of any byte is refused, with the one exception."""
    stored = bytearray(encode(recording))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= flips
    with pytest.raises(UnreadableRecordingError):
        decode(bytes(stored))


@given(st.binary(max_size=200))
def test_what_is_not_ours_is_refused(data):
    """Arbitrary bytes raise the one exception."""
    with pytest.raises(UnreadableRecordingError):
        decode(data)


@given(recordings(), st.binary(min_size=1, max_size=9))
def test_nothing_may_follow(recording, more):
    """Bytes after the end are refused."""
    with pytest.raises(UnreadableRecordingError):
        decode(encode(recording) + more)


def test_another_version_is_named():
    """A recording of a later version says which one it is."""
    stored = bytearray(encode(SMALL))
    stored[2] = 9
    with pytest.raises(UnreadableRecordingError, match="version 9"):
        decode(bytes(stored))


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\xc1", b"\xa1x"])
@pytest.mark.parametrize("compression", [0, 1])
def test_a_right_checksum_over_nonsense_is_not_enough(payload, compression):
    """What passes the checksum is still checked for its form."""
    start = b"AR" + bytes((1, compression))
    with pytest.raises(UnreadableRecordingError):
        decode(start + codec._checksum(start, payload) + payload)


@pytest.mark.parametrize(
    ("lengths", "gaps", "frames"), [([2], [0], b"abc"), ([1, 2], [0], b"abc"), ([4, -1], [0, 0], b"abc")]
)
def test_frames_that_do_not_fit_their_lengths_are_refused(lengths, gaps, frames):
    """The lists inside must fit together."""
    stored = codec._decoder.decode(encode(SMALL)[12:])
    stored.lengths, stored.gaps, stored.frames = lengths, gaps, frames
    start = b"AR\x01\x00"
    payload = codec._encoder.encode(stored)
    with pytest.raises(UnreadableRecordingError):
        decode(start + codec._checksum(start, payload) + payload)


def test_a_long_stream_is_stored_in_less_than_its_bytes():
    """Repetition between frames is deflated away."""
    recording = Recording("r", "chat", Mode.STREAM, "p", "m", 1.0, outcome=Outcome(State.COMPLETED))
    for number in range(200):
        recording.extend(
            [b'data: {"id":"x","choices":[{"delta":{"content":"word%d"}}]}\n\n' % number], number * 9000
        )
    stored = encode(recording)
    assert len(stored) < recording.size / 4
    assert decode(stored) == recording
