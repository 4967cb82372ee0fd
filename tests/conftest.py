"""What holds for all tests."""

from hypothesis import settings

from redis_server import redis_server  # noqa: F401 - a fixture

# How long an example takes tells more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
