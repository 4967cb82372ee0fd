"""The plugin for pytest, in runs of pytest of its own."""

import textwrap

import pytest

from cassettes.upstreams import upstreams
from scripted import scenarios

pytest_plugins = ["pytester"]

PROGRAM = """
    import asyncio, json, os, urllib.request

    def ask(question="What colour is the sky?", url=None):
        body = json.dumps({"model": "gpt-5.2", "input": question}).encode()
        with urllib.request.urlopen((url or os.environ["OPENAI_BASE_URL"]) + "/responses", body) as answer:
            return json.load(answer)["output"][0]["content"][0]["text"]
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest on a module, with the plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(tests, *options, upstream=None):
        pytester.makepyfile(test_sky=textwrap.dedent(PROGRAM) + textwrap.dedent(tests))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (upstream.environ if upstream else {}).items():
                patch.setenv(name, value)
            return pytester.runpytest_subprocess(
                "-p", "antiphon.cassettes.plugin", "--strict-markers", *options
            )

    return run


def files(pytester):
    return sorted(str(path.relative_to(pytester.path)) for path in pytester.path.rglob("*.json"))


def test_tests_are_recorded_once_and_run_offline(run, pytester):
    """Each has a cassette of its own; blocking and asynchronous ones find the gateway by the usual variables."""
    tests = """
        import pytest

        def test_blocking(antiphon):
            assert ask() == "The sky is blue."
            assert antiphon.base_url == os.environ["OPENAI_BASE_URL"]

        class TestSky:
            @pytest.mark.parametrize("question", ["a b", "c"])
            def test_asked(self, antiphon, question):
                assert ask(question, antiphon.base_url) == "The sky is blue."

        def test_with_a_loop(antiphon):
            async def main():
                return await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(3)))

            assert asyncio.run(main()) == ["The sky is blue."] * 3

        def test_the_environment_is_as_it_was():
            assert "127.0.0.1" not in os.environ.get("NO_PROXY", "")
    """
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        run(tests, "--antiphon=once", upstream=upstream).assert_outcomes(passed=5)
        assert len(upstream.scripted.calls) == 6
    run(tests, "--antiphon=strict").assert_outcomes(passed=5)
    run(tests).assert_outcomes(passed=5)

    assert [name.rpartition("/")[0] for name in files(pytester)] == [
        "cassettes/test_sky/TestSky/test_asked-a-b",
        "cassettes/test_sky/TestSky/test_asked-c",
        "cassettes/test_sky/test_blocking",
        *["cassettes/test_sky/test_with_a_loop"] * 3,
    ]


def test_a_marker_names_the_cassette_and_plans_faults(run, pytester):
    """The nearest marker counts; what is wrong in one is told."""
    tests = """
        import pytest, urllib.error
        pytestmark = pytest.mark.antiphon(cassette="shared/sky")

        def test_first(antiphon):
            assert ask() == "The sky is blue."

        @pytest.mark.antiphon(faults=["1:429"])
        def test_again(antiphon):
            with pytest.raises(urllib.error.HTTPError, match="429"):
                ask()
            assert ask() == "The sky is blue."
    """
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        run(tests, "-k", "first", upstream=upstream).assert_outcomes(passed=1, deselected=1)
    run(tests, "--antiphon=replay").assert_outcomes(passed=2)
    assert [name.rpartition("/")[0] for name in files(pytester)] == ["shared/sky"]

    wrong = run(
        "import pytest\n@pytest.mark.antiphon(casette='x')\ndef test(antiphon): pass", "--antiphon=replay"
    )
    wrong.stdout.fnmatch_lines(["*the marker is antiphon(cassette=*"])


def test_a_request_that_is_missing_is_shown_even_where_the_program_swallows_it(run):
    """In the report of the test that failed, with what differs and where the cassette is."""
    tests = """
        def test_swallowed(antiphon):
            try:
                said = ask("How deep is the sea?")
            except Exception:
                said = "no idea"
            assert said == "The sky is blue."
    """
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        run(tests.replace("How deep is the sea?", "What colour is the sky?"), upstream=upstream)
    result = run(tests, "--antiphon=strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '*differs in `input` (recorded "What colour is the sky?", asked "How deep is the sea?").*test_swallowed.'
        ]
    )


def test_without_a_cassette_and_a_key_a_test_says_what_is_missing(run):
    """`once` has to record; `strict` tells whoever asks."""
    tests = """
        def test_asking(antiphon):
            ask()
    """
    run(tests).stdout.fnmatch_lines(["*there is nobody to record from: set one of OPENAI_API_KEY*"])
    run(tests, "--antiphon=strict").stdout.fnmatch_lines(["*It is empty. Cassette: *test_asking."])


def test_the_configuration_of_pytest_says_how(run, pytester):
    """Mode, redaction and a configuration file for the gateway; the option goes before."""
    pytester.makeini(
        "[pytest]\nantiphon_mode = strict\nantiphon_config = models.yaml\nantiphon_redact = input\n    user\n"
    )
    tests = """
        def test_asking(antiphon):
            assert ask("Nobody else may know this") == "The sky is blue."
    """
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        upstream.write_config(
            pytester.path / "models.yaml", models={"gpt-5.2": {"target": "messages/claude-sonnet-5"}}
        )
        run(tests, "--antiphon=new").assert_outcomes(passed=1)
    run(tests).assert_outcomes(passed=1)
    (name,) = files(pytester)
    assert "0001-messages-" in name
    run(tests, "--antiphon=off").assert_outcomes(failed=1)


def test_unused_it_loads_nothing(run):
    """No module of the gateway, at collection or later; an unknown mode is refused at the start."""
    run(
        """
        import sys

        LOADED = [name for name in sys.modules if name.startswith("antiphon")]

        def test_nothing_is_loaded():
            assert sorted(LOADED) == ["antiphon", "antiphon.cassettes", "antiphon.cassettes.plugin"]
            assert LOADED == [name for name in sys.modules if name.startswith("antiphon")]
        """
    ).assert_outcomes(passed=1)
    assert "invalid choice: 'sometimes'" in "".join(run("", "--antiphon=sometimes").errlines)
