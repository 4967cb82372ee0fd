"""Finding and reading the configuration, from a user's side."""

import pytest

from antiphon.settings import (
    Cache,
    ConfigurationError,
    Key,
    Model,
    Provider,
    Secret,
    Settings,
    Size,
    checked,
    describe,
    load,
)
from antiphon.settings import (
    read as read_all,
)

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def read(tmp_path):
    def read_text(text, **environ):
        (tmp_path / "antiphon.yaml").write_text(text)
        return load(None, environ, tmp_path)

    return read_text


@pytest.fixture
def refused(read):
    def message(text, **environ):
        with pytest.raises(ConfigurationError) as raised:
            read(text, **environ)
        assert SECRET not in str(raised.value)
        return str(raised.value)

    return message


def test_a_whole_file(read):
    """Everything that a user can write arrives as a value of its type."""
    settings = read(
        """
server: {host: 0.0.0.0, port: 0, header_timeout: 250ms, max_header_bytes: 16KiB, max_body_bytes: 1GB}
providers:
  openai: {type: openai, api_key: "${OPENAI_API_KEY}", headers: {X-Team: search}}
  local:
    type: openai-chat
    base_url: http://127.0.0.1:8000/v1/
    models: [a, b]
    first_byte_timeout: 5m
  tape: {type: playback, cassette: ./cassettes, pace: x2}
models:
  fast: {target: local/meta/llama}
  smart: {target: openai/gpt-5}
cache: {ttl: 60, mode: on, memory: {max_bytes: 64MiB}, store: none}
admin: {key: "${ADMIN:-}"}
keys:
  - {name: alice, project: search, key: "${ALICE}"}
  - {name: bob, key_sha256: %s}
responses: {retention: 30d}
log: {level: debug, requests: false}
"""
        % ("AB" * 32),
        OPENAI_API_KEY=SECRET,
        ALICE="12345",
    )
    assert settings.server.header_timeout == 0.25
    assert settings.server.max_header_bytes == 16384
    assert settings.server.max_body_bytes == 1_000_000_000
    assert settings.providers["openai"] == Provider(
        type="openai",
        base_url="https://api.openai.com/v1",
        api_key=Secret(SECRET),
        headers={"X-Team": Secret("search")},
    )
    assert settings.providers["local"].base_url == "http://127.0.0.1:8000/v1"
    assert settings.providers["local"].models == ("a", "b")
    assert settings.models["smart"] == Model(target="openai/gpt-5")
    assert settings.cache is not None
    assert (settings.cache.mode, settings.cache.memory.max_bytes) == ("on", 64 * 1024 * 1024)
    assert settings.admin.key is None
    assert settings.keys == (
        Key(name="alice", project="search", key=Secret("12345")),
        Key(name="bob", key_sha256=Secret("ab" * 32)),
    )
    assert settings.responses.retention == 30 * 86400
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cache:\n  tttl: 5", "2:3: unknown key 'tttl' in cache; did you mean 'ttl'?"),
        ("cahce: {}", "1:1: unknown key 'cahce'; did you mean 'cache'?"),
        ("keys: [{nam: a}]", "1:9: unknown key 'nam' in keys[0]; did you mean 'name'?"),
        ("admin: {password: a}", "1:9: unknown key 'password' in admin; known are key"),
        ("cache: {ttl: 1, ttl: 2}", "1:17: 'ttl' stands twice in cache, first in line 1"),
        (
            "cache: {ttl: abc}",
            "1:14: cache.ttl: expected a duration such as 10, 250ms, 10s or 30d, got 'abc'",
        ),
        ("cache: {ttl: -1}", "1:14: cache.ttl: expected a duration such as 10, 250ms, 10s or 30d, got -1"),
        (
            "cache: {ttl: .nan}",
            "1:14: cache.ttl: expected a duration such as 10, 250ms, 10s or 30d, got .nan",
        ),
        ("cache: {mode: maybe}", "1:15: cache.mode: expected on or opt-in, got 'maybe'"),
        (
            "downloads: {allow: [files.internal, 10.0.0.1, 'fd00::/8', 'http://files']}",
            "1:59: downloads.allow[3]: expected a host name, an address or a network",
        ),
        (
            "downloads: {allow: [10.0.0.0/33]}",
            "1:21: downloads.allow[0]: expected a host name, an address or a network",
        ),
        (
            f"responses: {{secret: {SECRET}}}",
            "1:21: responses.secret is shorter than 32 characters; `openssl rand -base64 32` makes a good one",
        ),
        (
            f"responses: {{old_secrets: [{SECRET}]}}",
            "1:27: responses.old_secrets[0] is shorter than 32 characters; `openssl rand -base64 32` makes a good one",
        ),
        (
            "cache: {max_bytes: 5XB}",
            "1:20: cache.max_bytes: expected a size such as 65536, 64KiB or 256MB, got '5XB'",
        ),
        (
            "cache: {max_bytes: 0}",
            "1:20: cache.max_bytes: expected a size such as 65536, 64KiB or 256MB, got 0",
        ),
        (
            "cache: {max_bytes: true}",
            "1:20: cache.max_bytes: expected a size such as 65536, 64KiB or 256MB, got true",
        ),
        (
            "server: {body_timeout: 0s}",
            "1:24: server.body_timeout: expected a duration of more than zero, such as 10, 250ms, 10s or 30d, got '0s'",
        ),
        ("server: {port: 70000}", "1:16: server.port: expected an integer from 0 to 65535, got 70000"),
        ("server: {port: '80'}", "1:16: server.port: expected an integer from 0 to 65535, got '80'"),
        ("server: {port: }", "1:15: server.port: expected an integer from 0 to 65535, got nothing"),
        ("server: {port: [1]}", "1:16: server.port: expected an integer from 0 to 65535, got a list"),
        ("server: {workers: 0}", "1:19: server.workers: expected an integer of at least 1, got 0"),
        ("server: {host: 12}", "1:16: server.host: expected a string, got 12; put it in quotes"),
        (
            "server: {host: 2020-01-01}",
            "1:16: server.host: expected a string, got 2020-01-01; put it in quotes",
        ),
        ("log: {requests: 1}", "1:17: log.requests: expected true or false, got 1"),
        ("server: 3", "1:9: server: expected a mapping, got plain text"),
        ("keys: {a: b}", "1:7: keys: expected a list, got a mapping"),
        ("- a", "1:1: the file: expected a mapping, got a list"),
        ("? [a]\n: b", "1:3: the file: a key must be plain text"),
        ("log: {level: !x info}", "1:14: log.level: YAML tags are not understood"),
        ("a: [", "1:5: expected the node content, but found '<stream end>'"),
        ("a: \x01", "1:4: a character that YAML does not allow"),
        ("a: 1\n---\nb: 2", "2:1: but found another document"),
        ("[" * 3000, " nested too deeply"),
        ("providers: {a: {}}", "1:16: providers.a needs `type`"),
        ("providers: {a: {type: openai-chat}}", "1:16: providers.a needs `base_url`, for example"),
        ("providers: {a: {type: playback}}", "1:16: providers.a needs `cassette`"),
        (
            "providers: {a: {type: nix}}",
            "1:23: providers.a.type: expected openai, openai-chat, openai-completions, anthropic",
        ),
        ("providers: {a/b: {type: openai}}", "1:18: providers.a/b: a provider's name has no slash in it"),
        (
            "providers: {a: {type: openai, state: upstream, background: true}}",
            "1:60: providers.a.background: with `state: upstream`",
        ),
        ("providers: {a: {type: openai, pace: quick}}", "1:37: providers.a.pace: expected instant, recorded"),
        ("providers: {a: {type: openai, headers: {'x y': z}}}", "1:48: providers.a.headers: not a header"),
        ("cassette: {pace: quick}", "1:18: cassette.pace: expected instant, recorded"),
        ("cassette: {redact: [a..b]}", "1:21: cassette.redact[0]: expected a path such as metadata.email"),
        ("cassette: {redact_text: ['(']}", "1:26: cassette.redact_text[0] is no regular expression"),
        ("cassette: {faults: ['503', break]}", "1:28: cassette.faults[1]: expected break@3"),
        (
            "{cassette: {record: x}, server: {workers: 2}}",
            "1:21: cassette.record: a cassette is recorded by one process",
        ),
        (
            "providers: {a: {type: openai, base_url: ftp://x}}",
            "1:41: providers.a.base_url: expected http(s)://",
        ),
        (
            "models: {a: {targets: [tape/y]}}",
            "1:14: unknown key 'targets' in models.a; did you mean 'target'?",
        ),
        ("models: {a: {target: tape}}", "1:22: models.a: a target is written provider/model"),
        (
            "models: {a: {target: x/b}}",
            "1:22: models.a: the target names a provider that is not configured",
        ),
        ("keys: [{name: a}]", "1:8: keys[0] needs exactly one of `key` and `key_sha256`"),
        (
            "keys: [{name: a, key: b}, {name: a, key: c}]",
            "1:34: keys[1].name: 'a' is the name of an earlier key",
        ),
        ("keys: [{name: '', key: b}]", "1:15: keys[0].name is empty"),
        ("keys: [{name: a, key_sha256: abc}]", "1:30: keys[0].key_sha256: expected 64 hexadecimal digits"),
        (
            "storage: {url: 'mysql://x'}",
            "1:16: storage.url: expected sqlite:///FILE or postgresql://HOST/DATABASE",
        ),
        ("redis: {url: 'localhost'}", "1:14: redis.url: expected redis://HOST:PORT"),
        ("redis: {url: []}", "1:14: redis.url: expected redis://HOST:PORT"),
        ("redis: {cluster: true, url: 'unix:///r'}", "1:29: redis.url: the nodes of a cluster have hosts"),
        ("redis: {url: ['redis://a', 'rediss://b']}", "1:14: redis.url: either all nodes of a cluster"),
        ("redis: {url: 'redis://a', key_file: k}", "1:37: redis.key_file: it is of no use without"),
        ("server: {role: boss}", "1:16: server.role: expected"),
        ("server: {host: 0.0.0.0}", "1:16: server.host: without `keys`"),
        ("server: {host: example.com}", "1:16: server.host: without `keys`"),
        (
            "server: {port: ${PORT}}",
            "1:17: expected ',' or '}', but got '{'; inside {…} and […] a ${…} goes in quotes",
        ),
    ],
)
def test_a_fault_says_where_and_what(refused, text, message):
    """Every refusal begins with file, line and column, and says what was expected."""
    assert refused(text).startswith(f"antiphon.yaml:{message}")


@pytest.mark.parametrize(
    "text",
    [
        f"providers: {{openai: {SECRET}}}",
        f"providers: [{SECRET}]",
        f"providers: {{a: {{type: openai, api_key: [{SECRET}]}}}}",
        f"providers: {{a: {{type: openai, api_key: '{SECRET} '}}}}",
        f"providers: {{a: {{type: openai, base_url: 'http://me:{SECRET}@host/'}}}}",
        f"providers: {{a: {{type: openai, base_url: 'http://host/?key={SECRET}'}}}}",
        f'providers: {{a: {{type: openai, headers: {{Authorization: "a\\n{SECRET}"}}}}}}',
        f"keys: [{SECRET}]",
        f"keys: [{{name: a, key_sha256: {SECRET}}}]",
        f"keys: [{{name: a, key: {SECRET}}}, {{name: b, key: {SECRET}}}]",
        f"admin: {SECRET}",
        f"admin: {{key: *{SECRET}}}",
        f"storage: {{url: 'mysql://me:{SECRET}@host/db'}}",
        "cache: {mode: '${SECRET_VARIABLE}'}",
        "server: {port: '${SECRET_VARIABLE}'}",
    ],
)
def test_a_fault_never_shows_a_secret(refused, text):
    """Neither where secrets belong nor where they are put by mistake."""
    assert refused(text, SECRET_VARIABLE=SECRET)


def test_on_and_true_are_the_same(read):
    """YAML turns `on` into true before anybody can see it."""
    for mode in ("on", "true", "'on'", '"${MODE}"'):
        settings = read(f"cache: {{mode: {mode}}}", MODE="on")
        assert settings.cache is not None
        assert settings.cache.mode == "on"


def test_an_empty_section_has_its_defaults(read):
    """`cache:` alone is a cache; without the section, or with null, there is none."""
    assert read("cache:\n").cache == Cache()
    assert read("cache: null\n").cache is None
    assert read("log:\n").cache is None
    assert read("server:\nkeys:\nmodels:\nlog:\n").server == Settings().server


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_a_configuration(read, text):
    """It has the defaults, and the providers of the environment."""
    assert list(read(text, OPENAI_API_KEY="k").providers) == ["openai"]


def test_variables_are_taken_from_the_environment(read):
    """In quotes or not, whole or in part, as numbers where numbers are wanted."""
    settings = read(
        """
server:
  port: ${PORT}
  workers: "${WORKERS:-3}"
providers:
  a: {type: openai-chat, base_url: "http://${HOST:-localhost}:${PORT}/v1", api_key: "a$${b}"}
""",
        PORT="81",
        WORKERS="",
    )
    assert (settings.server.port, settings.server.workers) == (81, 3)
    assert settings.providers["a"].base_url == "http://localhost:81/v1"
    assert settings.providers["a"].api_key == "a${b}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\nadmin: {key: '${NAME}'}",
            "2:14: admin.key: the environment variable NAME is not set; `${NAME:-}` lets it be absent",
        ),
        ("admin: {key: '${NAME'}", "1:14: admin.key: `${` is not followed by"),
        ("admin: {key: '${1}'}", "1:14: admin.key: `${` is not followed by"),
        ("admin: {key: '${A:-${B}}'}", "1:14: admin.key: the default of A has a variable in it"),
    ],
)
def test_a_variable_that_cannot_be_taken_is_named(refused, text, message):
    """With the line in which it stands."""
    assert refused(text).startswith(f"antiphon.yaml:{message}")


def test_a_value_from_outside_is_only_a_value(read):
    """A variable cannot bring structure, tags or further variables with it."""
    settings = read("log:\nadmin: {key: '${A}'}", A="!!python/object:os.system {a: ${B}}")
    assert settings.admin.key == "!!python/object:os.system {a: ${B}}"


def test_a_named_file_is_read(tmp_path):
    """Relative to the working directory; faults call it as the user did."""
    (tmp_path / "other.yaml").write_text("nix: 1")
    with pytest.raises(ConfigurationError, match=r"^other.yaml:1:1: "):
        load("other.yaml", {}, tmp_path)
    with pytest.raises(ConfigurationError, match=r"^absent.yaml: No such file"):
        load("absent.yaml", {}, tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    """Neither other encodings nor folders."""
    (tmp_path / "antiphon.yaml").write_bytes(b"log: \xff")
    with pytest.raises(ConfigurationError, match=r"^antiphon.yaml: not UTF-8 at byte 5$"):
        load(None, {}, tmp_path)
    with pytest.raises(ConfigurationError, match="directory"):
        load(tmp_path, {}, tmp_path)


def test_without_a_file_providers_come_from_the_environment(tmp_path):
    """The usual variables make a provider; there is a cache and a database file."""
    settings = load(None, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://proxy/v1/"}, tmp_path)
    assert settings.providers == {
        "openai": Provider(type="openai", api_key=Secret("k"), base_url="http://proxy/v1")
    }
    assert settings.models == {}
    assert settings.cache == Cache()
    assert settings.storage.url == "sqlite:///antiphon.db"


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        (None, "https://api.anthropic.com/v1"),
        ("https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("http://proxy/v1/", "http://proxy/v1"),
        ("http://proxy/anthropic/", "http://proxy/anthropic/v1"),
    ],
)
def test_anthropics_address_may_be_written_as_its_own_clients_do(tmp_path, given, completed):
    """They take it without `/v1`; completing it twice changes nothing."""
    environ = {"ANTHROPIC_API_KEY": "k"} | ({"ANTHROPIC_BASE_URL": given} if given else {})
    settings = checked(load(None, environ, tmp_path))
    assert settings.providers == {
        "anthropic": Provider(type="anthropic", api_key=Secret("k"), base_url=completed)
    }


@pytest.mark.parametrize(
    ("environ", "key", "base_url"),
    [
        ({"GEMINI_API_KEY": "k"}, "k", "https://generativelanguage.googleapis.com/v1beta"),
        ({"GOOGLE_API_KEY": "g"}, "g", "https://generativelanguage.googleapis.com/v1beta"),
        (
            {"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": "k", "GEMINI_BASE_URL": "http://p/v1beta/"},
            "k",
            "http://p/v1beta",
        ),
    ],
)
def test_gemini_s_key_may_have_two_names(tmp_path, environ, key, base_url):
    """The one that is only Gemini's counts where both are there."""
    provider = load(None, environ, tmp_path).providers["gemini"]
    assert (provider.type, provider.api_key, provider.base_url) == ("gemini", key, base_url)


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": " "}, {"OPENAI_BASE_URL": "http://x"}])
def test_without_anything_there_is_a_demonstration(tmp_path, environ):
    """A playback provider with the recordings that come with the product."""
    settings = load(None, environ, tmp_path)
    assert settings.providers == {"tape": Provider(type="playback", cassette="builtin:demo")}
    assert settings.models == {"demo": Model(target="tape/demo")}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_keys(read, host):
    """Only this machine can reach it."""
    assert read(f"server: {{host: '{host}'}}").server.host == host


def test_settings_made_in_python_are_checked_alike():
    """Defaults are filled in, and what a file may not say is refused."""
    settings = checked(Settings(providers={"o": Provider(type="openai")}))
    assert settings.providers["o"].base_url == "https://api.openai.com/v1"
    with pytest.raises(ConfigurationError, match="needs `base_url`"):
        checked(Settings(providers={"o": Provider(type="openai-chat")}))


def test_sizes_are_numbers():
    """Whoever uses them need not know where they came from."""
    assert Size.parse("1.5KiB") + 1 == 1537


def test_where_each_value_comes_from(tmp_path):
    """The line of the file, and the variables that went into it; a default that stood in for one is none."""
    (tmp_path / "antiphon.yaml").write_text(
        'server:\n  port: 9\nadmin: {key: "${ADMIN:-}${MORE:-x}"}\nkeys:\n  - name: a\n    key: secret\n'
    )

    loaded = read_all(None, {"MORE": "m"}, tmp_path)

    assert loaded.settings.server.port == 9
    assert loaded.source.startswith("antiphon.yaml; no provider in the environment either")
    assert loaded.origins["server.port"] == "antiphon.yaml:2"
    assert loaded.origins["admin.key"] == "antiphon.yaml:3 (MORE)"
    assert loaded.origins["keys[0].key"] == "antiphon.yaml:6"
    assert "server.host" not in loaded.origins


def test_where_values_come_from_without_a_file(tmp_path):
    """From the usual variables, those that are set."""
    loaded = read_all(None, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": " "}, tmp_path)

    assert loaded.origins == {"providers.openai.api_key": "OPENAI_API_KEY"}
    assert "OPENAI_API_KEY" in loaded.source


def test_every_origin_is_that_of_a_value(tmp_path):
    """Paths are written as `describe` writes them."""
    (tmp_path / "antiphon.yaml").write_text(
        "providers: {p: {type: playback, cassette: c, models: [m], headers: {x-a: b}}}\nmodels: {a: {target: p/m}}\n"
    )

    loaded = read_all(None, {}, tmp_path)

    described = {setting.path for setting in describe(loaded.settings)}
    assert {"providers.p.models[0]", "providers.p.headers.x-a", "models.a.target"} <= described & set(
        loaded.origins
    )
