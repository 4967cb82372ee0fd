"""The ledger in SQLite."""

import pytest

from antiphon.drivers.sqlite.ledger import SqliteLedger
from antiphon.ports.ledger import UsageRow
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import change, opened, rows_of, run
from usage_rows import ROW


def rows_in(folder):
    return [UsageRow(*row) for row in rows_of(folder, "SELECT * FROM usage ORDER BY id")]


def test_rows_are_kept_as_they_are(tmp_path):
    """Every column under its name."""
    rows = [ROW, ROW._replace(id="req_2", first_byte_us=None, error="client_left", answer_id=None)]

    async def test():
        async with opened(tmp_path) as database:
            await SqliteLedger(database).append(rows)

    run(test())
    assert rows_in(tmp_path) == rows
    named = rows_of(tmp_path, f"SELECT {', '.join(UsageRow._fields)} FROM usage ORDER BY id")
    assert [UsageRow(*row) for row in named] == rows


def test_a_row_is_kept_once(tmp_path):
    """A batch that is sent again, because nobody knew what had become of it, adds only what is missing."""

    async def test():
        async with opened(tmp_path) as database:
            ledger = SqliteLedger(database)
            await ledger.append([ROW])
            await ledger.append([ROW._replace(status=500), ROW._replace(id="req_2")])

    run(test())
    assert rows_in(tmp_path) == [ROW, ROW._replace(id="req_2")]


def test_one_odd_row_does_not_hold_up_the_others(tmp_path):
    """Counts and texts that SQLite cannot hold, which an upstream may send, are written as near as it can."""
    rows = [
        ROW,
        ROW._replace(id="req_2", input_tokens=2**70, answer_id="half \ud83d"),
        ROW._replace(id="req_3"),
    ]

    async def test():
        async with opened(tmp_path) as database:
            await SqliteLedger(database).append(rows)

    run(test())
    odd = ROW._replace(id="req_2", input_tokens=2**63 - 1, answer_id="half ?")
    assert rows_in(tmp_path) == [ROW, odd, ROW._replace(id="req_3")]


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path):
    """Whoever hears of a fault sends all of it again."""

    async def test():
        async with opened(tmp_path) as database:
            ledger = SqliteLedger(database)
            change(
                tmp_path,
                "CREATE TRIGGER refuse BEFORE INSERT ON usage WHEN NEW.id = 'bad' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END",
            )
            with pytest.raises(StoreFault):
                await ledger.append([ROW, ROW._replace(id="bad")])

    run(test())
    assert rows_in(tmp_path) == []
