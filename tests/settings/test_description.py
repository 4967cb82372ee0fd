"""Settings, shown to a person."""

from antiphon.settings import Cache, Key, Provider, Secret, Setting, Settings, Storage, describe


def test_every_value_is_listed_by_its_path():
    """Nested values, lists and what is not there."""
    shown = {setting.path: setting for setting in describe(Settings(cache=Cache(), keys=(Key(name="a"),)))}
    assert shown["cache.memory.max_bytes"] == Setting("cache.memory.max_bytes", "268435456", redacted=False)
    assert shown["responses.retention"].value == "2592000 s"
    assert shown["keys[0].name"].value == "a"
    assert shown["log.requests"].value == "true"
    assert shown["providers"].value == "none"
    assert shown["admin.key"] == Setting("admin.key", "none", redacted=False)


def test_secrets_are_not_shown():
    """Keys, header values and passwords in addresses are stars."""
    secret = "very-secret"
    settings = Settings(
        providers={"a": Provider(type="openai", api_key=Secret(secret), headers={"X": Secret(secret)})},
        keys=(Key(name="k", key=Secret(secret)), Key(name="l", key_sha256=Secret(secret))),
        storage=Storage(url=f"postgresql://me:{secret}@host/db"),
    )
    shown = {setting.path: setting for setting in describe(settings)}
    assert secret not in repr(shown)
    assert {path for path, setting in shown.items() if setting.redacted} == {
        "providers.a.api_key",
        "providers.a.headers.X",
        "keys[0].key",
        "keys[1].key_sha256",
        "storage.url",
    }
    assert shown["storage.url"].value == "postgresql://***@host/db"
