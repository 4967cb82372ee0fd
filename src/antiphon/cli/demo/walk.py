"""The walk: what is asked, what must be true of the answers, and what is said about them."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import openai
import uvloop

from antiphon import __version__
from antiphon.cli.demo.client import TEXT, THOUGHT, Answer, Asker, asking
from antiphon.cli.demo.gateway import MODEL, PRICED_AS, CountedUpstream, Sum, demo_settings, ledger, serving
from antiphon.cli.demo.screen import Bar, Screen
from antiphon.ports.ledger import SAVING
from antiphon.settings import Settings

QUESTION = "What is this?"
SHARED_QUESTION = "What do ten of us get?"
BACKGROUND_QUESTION = "What if I leave?"
CUT_AFTER = 20
"""Events after which the client hangs up."""
TOGETHER = 10
APART = 2
"""Events of the first answer between two requests."""


class CheckFailedError(Exception):
    """Something was not as the demo says."""


def walk(settings_in: Callable[[Path], Settings] = demo_settings) -> int:
    """Walk through a gateway whose files are in a temporary folder; 0 if everything was as it should be."""
    screen = Screen()
    try:
        with tempfile.TemporaryDirectory(prefix="antiphon-demo-") as folder:
            uvloop.run(_walk(screen, settings_in(Path(folder))))
    except (CheckFailedError, openai.OpenAIError) as error:
        screen.failure(str(error))
        return 1
    return 0


async def _walk(screen: Screen, settings: Settings) -> None:
    async with serving(settings) as (url, upstream), asking(url, MODEL) as asker:
        screen.title(
            f"Antiphon {__version__} at {url}/v1",
            "No key, no network: a cassette for a model, and the official client.",
        )
        streamed = await _miss(screen, asker)
        await _hit(screen, asker, streamed)
        await _json(screen, asker, streamed)
        await _shared(screen, asker, upstream, streamed)
        await _background(screen, asker)
    _ledger(screen, ledger(settings))
    screen.gap()
    screen.say("Your turn: `antiphon serve` or `make run`, and its base_url in your client.")


async def _miss(screen: Screen, asker: Asker) -> Answer:
    screen.act(1, "A streamed answer, asked for the first time", _code(QUESTION, stream=True))
    screen.gap()
    last = ""

    def heard(kind: str, delta: str) -> None:
        nonlocal last
        if kind in {TEXT, THOUGHT}:
            if last and kind != last:
                screen.end_of_text()
                screen.gap()
            last = kind
            screen.write(delta.replace("**", ""), aside=kind == THOUGHT)

    answer = await asker.stream(QUESTION, heard)
    screen.end_of_text()
    screen.gap()
    _pace(screen, answer)
    _expect("fwd=miss" in answer.cache_words, f"the first answer says {answer.cache_status!r}")
    return answer


async def _hit(screen: Screen, asker: Asker, first: Answer) -> None:
    screen.act(2, "The same once more: a hit")
    answer = await asker.stream(QUESTION)
    _pace(screen, answer)
    _expect("hit" in answer.cache_words, f"the second answer says {answer.cache_status!r}")
    _expect(answer.response.id != first.response.id, "the second answer has the first one's id")
    _expect(
        answer.unsigned_body == first.unsigned_body, "the second answer's bytes are not those of the first"
    )
    screen.check(f"{len(answer.body):,} bytes, the same as before but for the response's id and created_at")


async def _json(screen: Screen, asker: Asker, streamed: Answer) -> None:
    screen.act(3, "The same as JSON, from the recorded stream: a hit too", _code(QUESTION, stream=False))
    answer = await asker.whole(QUESTION)
    _pace(screen, answer)
    _expect("hit" in answer.cache_words, f"the JSON answer says {answer.cache_status!r}")
    _expect(
        answer.unsigned_response == streamed.unsigned_response,
        "the JSON answer is not the response that the stream had ended with",
    )
    screen.check("the response that the stream had ended with, but for id and created_at")


async def _shared(screen: Screen, asker: Asker, upstream: CountedUpstream, first: Answer) -> None:
    screen.act(4, "Ten equal requests, each sent before the first is answered")
    bars = [Bar(str(number), first.events) for number in range(1, TOGETHER + 1)]
    before = upstream.asked
    with screen.bars(bars):
        answers = await _together(asker, bars)
    asked = upstream.asked - before
    joined = sum("collapsed" in answer.cache_words for answer in answers)
    for status in dict.fromkeys(answer.cache_status for answer in answers):
        times = sum(answer.cache_status == status for answer in answers)
        screen.fact("Cache-Status", f"{status}  ({'once' if times == 1 else f'{times} times'})")
    _expect(joined == TOGETHER - 1, f"{joined} of {TOGETHER} requests joined another one")
    _expect(asked == 1, f"{TOGETHER} equal requests asked the upstream {asked} times")
    _expect(
        len({answer.unsigned_body for answer in answers}) == 1, "the answers of equal requests are not equal"
    )
    screen.check("one upstream call: late-comers got what there was, then the live rest")


async def _together(asker: Asker, bars: Sequence[Bar]) -> list[Answer]:
    """Ask one after the other, while the first is being answered."""
    turns = [asyncio.Event() for _ in bars]

    async def ask(bar: Bar, turn: asyncio.Event) -> Answer:
        await turn.wait()

        def heard(_kind: str, _delta: str) -> None:
            bar.done += 1
            if bar is bars[0] and bar.done % APART == 0 and bar.done // APART < len(turns):
                turns[bar.done // APART].set()

        answer = await asker.stream(SHARED_QUESTION, heard)
        bar.verdict = "collapsed" if "collapsed" in answer.cache_words else "miss"
        return answer

    turns[0].set()
    return await asyncio.gather(*map(ask, bars, turns))


async def _background(screen: Screen, asker: Asker) -> None:
    screen.act(
        5,
        "A background answer: the connection is cut, and the rest is fetched",
        f'client.responses.create(model="{MODEL}", input=…, background=True, stream=True)',
        "client.responses.retrieve(id, stream=True, starting_after=N)",
    )
    heard = await asker.cut_and_resume(BACKGROUND_QUESTION, CUT_AFTER)
    before, after = heard.before, heard.after
    screen.fact("Heard", f"events 0 to {before[-1]}, then {after[0]} to {after[-1]}")
    _expect(
        [*before, *after] == list(range(len(before) + len(after))), "there is a gap, or an event came twice"
    )
    _expect(heard.response.status == "completed", f"the answer is {heard.response.status}")
    _expect(heard.text == heard.response.output_text, "the deltas do not make the text of the answer")
    screen.check("no event is missing and none came twice: the answer went on alone")


def _ledger(screen: Screen, sums: Sequence[Sum]) -> None:
    screen.act(6, "What was saved: the ledger")
    table = [
        (each.result, f"{each.requests}", f"{each.tokens:,}", _dollars(each.cost), _dollars(each.saved))
        for each in sums
    ]
    screen.table(("cache", "requests", "tokens", "paid*", "saved*"), table)
    counted = {each.result: each.requests for each in sums}
    expected = {"miss": 3, "hit": 2, "collapsed": TOGETHER - 1}
    _expect(counted == expected, f"the ledger has {counted}, not {expected}")
    tokens = sum(each.tokens for each in sums)
    saved = sum(each.tokens for each in sums if each.result in SAVING)
    screen.check(f"{saved:,} of {tokens:,} tokens came from recordings: {saved / tokens:.0%} saved")
    screen.say(f"* The cassette is free: as an example, these are list prices of {PRICED_AS}.")


def _pace(screen: Screen, answer: Answer) -> None:
    if answer.events > 1:
        pace = f"first event after {_seconds(answer.first_at)}, all {answer.events} after {_seconds(answer.whole_at)}"
    else:
        pace = f"whole after {_seconds(answer.whole_at)}"
    screen.fact("Pace", pace)
    screen.fact("Cache-Status", answer.cache_status)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def _dollars(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:.4f}"


def _code(question: str, *, stream: bool) -> str:
    streaming = ", stream=True" if stream else ""
    return f'client.responses.create(model="{MODEL}", input="{question}"{streaming})'


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise CheckFailedError(otherwise)
