"""What happens upstream, in no dialect: each scenario says what it expects to be asked, and what it answers."""

import json

from scripted.speech import Asked, Call, Fails, Result, Says, must

TEXT = "The sky is blue."
WEATHER = {"Rome": "sunny", "Oslo": "snowy"}
"""What clients' tools know."""
FORECAST = {"city": "Rome", "degrees": 21}
"""The object of all structured answers."""
THOUGHT = "Rome is a city."
PROOF = "c2lnbmVkIGJ5IHRoZSBtb2RlbA=="
REFUSAL = "I cannot help with that."
RATE_LIMIT = "Slow down, please."


def plain(asked: Asked, _turn: int) -> Says:
    """Answer a question with a text."""
    must(asked.last_said, "nobody asked anything")
    return Says(texts=("The sky", " is blue."))


def conversation(asked: Asked, turn: int) -> Says:
    """Answer twice; the second question comes with what was said before."""
    if turn:
        expected = [("user", "One"), ("assistant", "First."), ("user", "Two")]
        must([*asked.texts] == expected, f"the conversation is {asked.texts}")
    must("brief" in asked.system, f"the system's prompt is {asked.system!r}")
    return Says(texts=(("First.", "Second.")[turn],))


def cut_short(asked: Asked, _turn: int) -> Says:
    """Come to an end at the limit of tokens that was asked for."""
    must(asked.limit == 40, f"the limit is {asked.limit}")
    return Says(texts=("The sky", " is"), finish="length")


def tool(asked: Asked, _turn: int) -> Says:
    """Ask for the weather in Rome, and say what came back."""
    return _with_tools(asked, (Call("call_rome", "get_weather", {"city": "Rome"}),))


def tools_at_once(asked: Asked, _turn: int) -> Says:
    """Ask for the weather in two cities at once."""
    calls = (
        Call("call_rome", "get_weather", {"city": "Rome"}),
        Call("call_oslo", "get_weather", {"city": "Oslo"}),
    )
    return _with_tools(asked, calls)


def thinking(asked: Asked, _turn: int) -> Says:
    """Think, and call a tool; the thought has to come back with the tool's answer."""
    call = Call("call_rome", "get_weather", {"city": "Rome"})
    if asked.results:
        must({PROOF, THOUGHT} & {*asked.proofs}, f"the thought did not come back: {asked.proofs}")
        return _told_weather(asked, (call,))
    return Says(calls=(call,), thought=THOUGHT, proof=PROOF)


def _with_tools(asked: Asked, calls: tuple[Call, ...]) -> Says:
    must("get_weather" in asked.tools, f"the tools are {sorted(asked.tools)}")
    must("city" in asked.tools["get_weather"]["properties"], "the tool takes no city")
    return _told_weather(asked, calls) if asked.results else Says(calls=calls)


def _told_weather(asked: Asked, calls: tuple[Call, ...]) -> Says:
    told = [(call.name, call.arguments) for call in asked.calls]
    must(told == [(call.name, call.arguments) for call in calls], f"the calls came back as {told}")
    cities = {call.id: call.arguments["city"] for call in asked.calls}
    must(len(cities) == len(calls), f"the ids of the calls are {list(cities)}")
    must(cities.keys() == {result.call_id for result in asked.results}, f"the results are {asked.results}")
    found = [(cities[result.call_id], _weather_in(result)) for result in asked.results]
    return Says(texts=tuple(f"It is {weather} in {city}. " for city, weather in found))


def _weather_in(result: Result) -> str:
    found = [weather for weather in WEATHER.values() if weather in result.output]
    must(len(found) == 1, f"a tool answered {result.output!r}")
    return found[0]


def structured(asked: Asked, turn: int) -> Says:
    """Answer with JSON of a schema, in whichever of the three ways it is asked.

    Where nothing but words holds the model to the schema it first says nonsense, and is to be asked again.
    """
    answer = json.dumps(FORECAST)
    if asked.schema is not None:
        _must_describe_forecast(asked.schema)
        return Says(texts=(answer[:9], answer[9:]))
    if asked.must_call is not None:
        name = next(iter(asked.tools)) if asked.must_call == "*" else asked.must_call
        _must_describe_forecast(asked.tools[name])
        return Says(calls=(Call("call_answer", name, FORECAST),))
    told = asked.system + "".join(text for _, text in asked.texts)
    must('"degrees"' in told, "nobody told the schema")
    if turn == 0:
        return Says(texts=('{"city": "Rome"', ', "degrees": "mild"}'))
    must(asked.texts[-2][0] == "assistant", "the wrong answer is not shown")
    must("degrees" in asked.last_said, f"what is wrong is not said: {asked.last_said!r}")
    return Says(texts=(answer,))


def _must_describe_forecast(schema: object) -> None:
    must(
        isinstance(schema, dict) and schema["properties"].keys() == FORECAST.keys(), f"the schema is {schema}"
    )


def refusal(_asked: Asked, _turn: int) -> Says:
    """Refuse to answer."""
    return Says(refusal=REFUSAL)


def rate_limit(asked: Asked, turn: int) -> Says | Fails:
    """Have no time at first, and say when there is some."""
    if turn == 0:
        return Fails(429, RATE_LIMIT, (("retry-after-ms", "1"), ("retry-after", "1")))
    return plain(asked, turn)


def broken(_asked: Asked, _turn: int) -> Says:
    """Break off in the middle of a stream."""
    return Says(texts=("The sky", " is", " blue."), is_cut=True)


def assistant(asked: Asked, turn: int) -> Says:
    """Play whichever scenario the request is made for."""
    if asked.schema is not None or asked.must_call is not None:
        return structured(asked, turn)
    return tool(asked, turn) if asked.tools else plain(asked, turn)
