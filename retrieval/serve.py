"""Serves the API with granian, on the address of the setting `api_url` unless another one is given."""

import ipaddress
import socket
from urllib.parse import urlsplit

from granian import Granian
from granian.constants import Interfaces, Loops

from retrieval.keys import VARIABLE, Keys
from stores.settings import BadSetting, Settings


def serve(settings: Settings, *, host: str | None = None, port: int | None = None) -> None:
    """Answers until SIGINT or SIGTERM, then finishes what is in flight. The worker process reads the settings anew.

    Raises:
        BadSetting: others than this machine could reach the API, and no key is set.
    """
    address = urlsplit(settings.api_url)
    host = host or address.hostname or "127.0.0.1"
    if not Keys(settings).are_needed and not is_loopback(host):
        raise BadSetting(f"{VARIABLE}: no key is set, and {host} is not a loopback address: draw one with `campaigns key new NAME`")
    Granian(
        "retrieval.app:create_app",
        factory=True,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        address=host,
        port=port or address.port or 8000,
        websockets=False,
    ).serve()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`, which may be a name."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in found)
