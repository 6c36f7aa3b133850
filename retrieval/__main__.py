"""`python -m retrieval [--host HOST] [--port PORT]`: serves the API."""

import argparse
import os
import sys

from retrieval.serve import serve
from stores.settings import BadSetting, load_settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m retrieval", description="Serves the recommendations API.")
    parser.add_argument("--host", help="address to listen on (default: that of CAMPAIGNS_API_URL, a loopback one)")
    parser.add_argument("--port", type=int, help="port to listen on (default: that of CAMPAIGNS_API_URL)")
    options = parser.parse_args()
    try:
        serve(load_settings(os.environ), host=options.host, port=options.port)
    except BadSetting as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    main()
