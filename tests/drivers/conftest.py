"""Certificates that the tests of drivers trust, and nobody else."""

import ssl

import pytest

import certificates


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return certificates.authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(authority):
    return authority[0]


@pytest.fixture
def trust(authority):
    context = ssl.create_default_context(cafile=str(authority[1]))
    context.set_alpn_protocols(["http/1.1"])
    return context
