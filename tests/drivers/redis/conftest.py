"""The kinds of Redis that every test of this folder may be run with."""

import pytest

SERVERS = {"one": "redis_server", "tls": "redis_tls_server", "cluster": "redis_cluster"}


@pytest.fixture(params=SERVERS)
def server(request):
    """One server, one with TLS, a cluster."""
    return request.getfixturevalue(SERVERS[request.param])
