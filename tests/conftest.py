"""What holds for all tests."""

from hypothesis import settings

from postgres import postgres_server, postgres_url  # noqa: F401 - fixtures
from redis_server import redis_cluster, redis_server, redis_tls_server  # noqa: F401 - fixtures

# How long an example takes tells more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
