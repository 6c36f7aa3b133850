"""Serves the API with granian, on the address of the setting `api_url` unless another one is given."""

from urllib.parse import urlsplit

from granian import Granian
from granian.constants import Interfaces, Loops

from stores.settings import Settings


def serve(settings: Settings, *, host: str | None = None, port: int | None = None) -> None:
    """Answers until SIGINT or SIGTERM, then finishes what is in flight. The worker process reads the settings anew."""
    address = urlsplit(settings.api_url)
    Granian(
        "retrieval.app:create_app",
        factory=True,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        address=host or address.hostname or "127.0.0.1",
        port=port or address.port or 8000,
        websockets=False,
    ).serve()
