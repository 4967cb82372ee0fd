"""The checker finds what is wrong, and nothing where all is well."""

import copy
import json

import pytest

from antiphon.wire.sse import write_frame
from invariants import Reading, Witnessed, frames_of, violations


def frame(number, kind, **members):
    data = {"type": f"response.{kind}", "sequence_number": number, **members}
    return write_frame(json.dumps(data).encode(), data["type"])


def delta(number, text):
    return frame(number, "output_text.delta", output_index=0, content_index=0, delta=text)


FINAL = {"status": "completed", "output": [{"content": [{"text": "Hello"}]}]}
STORED = [
    frame(0, "created", response={}),
    frame(1, "queued", response={}),
    frame(2, "in_progress", response={}),
    delta(3, "Hel"),
    delta(4, "lo"),
    frame(5, "completed", response=FINAL),
]


def seen(**changes):
    good = Witnessed(
        "resp_1",
        list(STORED),
        copy.deepcopy(FINAL),
        readings=[
            Reading(-1, STORED[:4]),
            Reading(3, STORED[4:], is_whole=True),
            Reading(99, [], is_whole=True),
        ],
        statuses=["queued", "in_progress", "completed"],
        epochs=[1, 1, 2],
        upstream_calls=2,
        max_attempts=3,
    )
    for name, value in changes.items():
        setattr(good, name, value)
    return good


def test_nothing_is_found_where_all_is_well():
    assert violations(seen()) == []


def test_a_cancelled_response_has_no_terminal_event():
    cancelled = seen(
        stored=STORED[:5],
        final=FINAL | {"status": "cancelled"},
        statuses=["queued", "cancelled", "cancelled"],
        readings=[Reading(-1, STORED[:5], is_whole=True)],
        cancelled_at=4,
    )
    assert violations(cancelled) == []


@pytest.mark.parametrize(
    ("invariant", "changes"),
    [
        ("I1", {"stored": [*STORED[:3], delta(4, "Hello"), STORED[5]], "readings": []}),
        ("I1", {"stored": [*STORED[:5], delta(4, ""), STORED[5]], "readings": []}),
        ("I1", {"stored": [*STORED[:3], frame(3, "in_progress"), *STORED[4:]], "readings": []}),
        ("I2", {"stored": [*STORED, frame(6, "failed", response={})], "readings": []}),
        ("I2", {"stored": [*STORED, delta(6, "")], "readings": []}),
        ("I2", {"stored": STORED[:5], "readings": []}),
        ("I2", {"final": FINAL | {"status": "failed", "error": {"code": "server_error"}}, "statuses": []}),
        ("I2", {"statuses": ["failed", "completed"]}),
        ("I2", {"final": FINAL | {"status": "in_progress"}, "statuses": []}),
        ("I3", {"readings": [Reading(-1, [*STORED[:3], delta(3, "Ha")])]}),
        ("I3", {"final": {"status": "completed", "output": [{"content": [{"text": "Hel"}]}]}}),
        ("I4", {"cancelled_at": 3}),
        ("I6", {"readings": [Reading(2, STORED[4:])]}),
        ("I6", {"readings": [Reading(2, [STORED[3], STORED[3]])]}),
        ("I6", {"readings": [Reading(2, STORED[3:5], is_whole=True)]}),
        ("I7", {"epochs": [2, 1]}),
        ("I8", {"upstream_calls": 4}),
        ("I9", {"statuses": ["in_progress", "queued"]}),
    ],
)
def test_what_does_not_hold_is_found(invariant, changes):
    found = violations(seen(**changes))
    assert found
    assert all("resp_1" in problem for problem in found)
    assert invariant in {problem[:2] for problem in found}, found


def test_a_stream_is_cut_into_its_events():
    body = b": keep\n\n" + b"".join(STORED[:2]) + b"data: [DONE]\n\n"
    assert frames_of(body) == (STORED[:2], True)
    assert frames_of(body[:-20]) == (STORED[:1], False)
