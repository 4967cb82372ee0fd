"""The places that every test of this folder is run with."""

import pytest

from flights.hosts import DRIVERS, place_of


@pytest.fixture(params=DRIVERS)
def place(request):
    return place_of(request, request.param)
