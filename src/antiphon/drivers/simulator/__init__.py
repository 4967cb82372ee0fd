"""An upstream that is not there: answers over real sockets, and breaks in every way that upstreams break."""

from antiphon.drivers.simulator.answers import Answer, Fault, Received, faulted
from antiphon.drivers.simulator.server import Simulator, refused_base_url

__all__ = ["Answer", "Fault", "Received", "Simulator", "faulted", "refused_base_url"]
