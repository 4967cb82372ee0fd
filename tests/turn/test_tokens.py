"""The estimate, against a real tokenizer and against what providers have counted."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.turn.request_tokens import count_request
from antiphon.turn.tokens import OPENAI, OTHER, estimate, template_of
from recorded import needs_recordings
from turn.counted import counted

PROSE = {
    "English": "A gateway keeps every answer that a model has given, so that nobody has to pay for the same one twice. When an "
    "equal request arrives, the recording is played again, at the pace that the client would like to have.",
    "German": "Ein Gateway bewahrt jede Antwort auf, die ein Modell gegeben hat, damit niemand zweimal für dieselbe bezahlen "
    "muss. Kommt eine gleiche Anfrage, so wird die Aufnahme abgespielt, so schnell es der Client wünscht.",
    "French": "Une passerelle garde chaque réponse donnée par un modèle, afin que personne ne paie deux fois la même. Quand une "
    "demande égale arrive, l'enregistrement est rejoué, à la vitesse que le client souhaite.",
    "Spanish": "Una pasarela guarda cada respuesta que ha dado un modelo, para que nadie tenga que pagar dos veces por la misma. "
    "Cuando llega una petición igual, la grabación se reproduce al ritmo que quiera el cliente.",
    "Polish": "Brama przechowuje każdą odpowiedź udzieloną przez model, aby nikt nie musiał płacić dwa razy za tę samą. Gdy "
    "nadejdzie takie samo zapytanie, nagranie jest odtwarzane w tempie, jakiego życzy sobie klient.",
    "Russian": "Шлюз хранит каждый ответ, который дала модель, чтобы никому не пришлось платить дважды за одно и то же. Когда "
    "приходит такой же запрос, запись воспроизводится в том темпе, который нужен клиенту.",
    "Greek": "Η πύλη φυλάσσει κάθε απάντηση που έδωσε ένα μοντέλο, ώστε κανείς να μην πληρώνει δύο φορές για την ίδια.",  # noqa: RUF001
    "Arabic": "تحتفظ البوابة بكل إجابة قدمها النموذج حتى لا يضطر أحد إلى الدفع مرتين مقابل الإجابة نفسها.",
    "Hindi": "गेटवे मॉडल के दिए हर उत्तर को सहेज कर रखता है ताकि किसी को एक ही उत्तर के लिए दो बार भुगतान न करना पड़े।",
    "Chinese": "网关保存模型给出的每一个回答,这样就没有人需要为同一个回答付两次钱。收到相同的请求时,会按客户端希望的速度重放录音。",
    "Japanese": "ゲートウェイはモデルが返したすべての回答を記録しておき、同じ回答に二度支払う必要がないようにします。同じ要求が届くと、記録が再生されます。",
    "Korean": "게이트웨이는 모델이 제공한 모든 답변을 보관하여 누구도 같은 답변에 두 번 비용을 지불하지 않도록 합니다.",
}
CODE = {
    "Python": 'def fold(frames: list[bytes]) -> dict[str, int]:\n    """Sum up."""\n    total = {}\n    for frame in frames:\n'
    '        name, _, size = frame.partition(b":")\n        total[name.decode()] = total.get(name, 0) + int(size, 16)\n'
    "    return {name: size for name, size in sorted(total.items()) if size > 1024}\n",
    "JSON": '{"model":"gpt-5","input":[{"role":"user","content":[{"type":"input_text","text":"What is the weather in Paris?"}]}],'
    '"tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}]}',
    "Markdown": "## Limits\n\n| Key | Default | Meaning |\n|---|---|---|\n| `max_bytes` | `20MiB` | Bound of one file. |\n"
    "| `timeout` | `10s` | Seconds for a file. |\n\n* Only **public** addresses; see [the list](https://example.com/a-b?c=1).\n",
    "Log": "2026-09-14T08:15:30.123Z INFO request 7f3a9c21 status=200 bytes=18342 duration_ms=415 cache=hit key=alice\n"
    * 3,
}


@pytest.fixture(scope="module")
def o200k():
    bindings = pytest.importorskip("bpe_openai._bindings", reason="antiphon[tokens] is not installed")
    return bindings.tokenizer_for_encoding("o200k_base").count


@pytest.mark.parametrize("language", [*PROSE, *CODE])
def test_the_estimate_is_near_the_tokenizers_count(language, o200k):
    """Within 30 %, for prose in many scripts and for what programs write."""
    text = (PROSE | CODE)[language]
    assert estimate(text) == pytest.approx(o200k(text), rel=0.3)


def test_the_estimate_is_nearer_over_a_whole_conversation(o200k):
    """Errors of single texts weigh each other out."""
    text = "\n\n".join((PROSE | CODE).values())
    assert estimate(text) == pytest.approx(o200k(text), rel=0.08)


def test_nothing_is_no_token_and_anything_is_one():
    """The ends of the scale."""
    assert [estimate(text) for text in ("", " ", "a", "\ud800", "\n", "漢", "\x00")] == [0, 1, 1, 1, 1, 1, 1]


@given(st.text(), st.text())
def test_an_estimate_is_a_sum(one, other):
    """Nearly: more text is never much less, and never much more than its parts."""
    assert abs(estimate(one + other) - estimate(one) - estimate(other)) <= 6


@pytest.mark.parametrize(
    "piece",
    ["a", "A", "aA", " ", "\n", " \n", "1", "!", "! ", "é", "漢", "😀", "a1", "\x00", "\ud800"],
)
def test_time_grows_as_the_text_does(piece):
    """No text takes longer than others by its order: a second for two megabytes is far off."""
    text = piece * (2_000_000 // len(piece))
    started = time.process_time()
    tokens = estimate(text)
    assert time.process_time() - started < 1
    assert tokens <= 2 * len(text)


def test_long_texts_are_estimated_as_their_parts():
    """What is looked at together does not change the sum."""
    text = " ".join(PROSE.values()) * 400
    assert estimate(text) == pytest.approx(400 * estimate(" ".join(PROSE.values())), rel=0.01)


def test_random_letters_are_more_than_words(o200k):
    """Keys and hashes cost more for their length than prose does."""
    noise = random.Random(1).randbytes(3000).hex()
    assert estimate(noise) == pytest.approx(o200k(noise), rel=0.25)
    assert estimate(noise) > 2 * estimate("word " * (len(noise) // 5))


@pytest.mark.parametrize(
    ("models", "factor"),
    [
        (["gpt-5.2", "openai/gpt-4o", "o3-mini", "openrouter/openai/o1", "chatgpt-4o-latest", "gpt-4"], 1.0),
        (
            ["claude-sonnet-4-5", "anthropic/claude-haiku-4.5", "claude-3-opus-20240229", "claude-opus-4-6"],
            1.12,
        ),
        (["claude-opus-4-7", "claude-sonnet-5"], 1.5),
        (["gemini-2.5-flash", "models/gemini-1.5-pro", "gemma-3"], 1.06),
        (["mistral-small-latest", "mixtral-8x7b", "ministral-14b", "magistral-medium"], 1.07),
        (["llama-3.3-70b", "qwen3", "deepseek-chat", "solo-3", ""], 1.0),
    ],
)
def test_a_family_is_known_by_the_name_of_the_model(models, factor):
    """With or without a provider in front, and a version behind."""
    assert {template_of(model).factor for model in models} == {factor}


def test_unknown_models_are_told_about_tools_like_most():
    """OpenAI's are not told anything beside the definitions."""
    assert template_of("qwen3") is OTHER
    assert template_of("azure/gpt-4o") is OPENAI


@needs_recordings
@pytest.mark.parametrize(
    ("vendor", "has_tools", "median", "p90"),
    [
        ("gpt", False, 0.08, 0.15),
        ("claude", False, 0.08, 0.25),
        ("gemini", False, 0.08, 0.4),  # few have more than ten tokens, of which one is a tenth
        ("gpt", True, 0.15, 0.3),
        ("claude", True, 0.2, 0.55),
        ("gemini", True, 0.3, 0.8),
    ],
)
def test_the_estimate_is_near_what_providers_count(vendor, has_tools, median, p90):
    """As far off as the module says, for whole requests."""
    errors = []
    for each in counted():
        if each.vendor == vendor and bool(each.request["tools"]) == has_tools:
            template = template_of(each.model)

            def count(text, factor=template.factor):
                return round(estimate(text) * factor)

            tokens = count_request(each.request, count, template)
            errors.append(abs(tokens - each.input_tokens) / each.input_tokens)
    errors.sort()
    assert len(errors) >= 15
    assert errors[len(errors) // 2] <= median
    assert errors[len(errors) * 9 // 10] <= p90
