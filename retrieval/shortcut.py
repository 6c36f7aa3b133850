"""The shortest way to an answer that is in the cache: past the router, which costs more than finding it.

Only for questions that are sure to be well-formed, and only while the answer is fresh; everything else is for the routes,
which answer the same.
"""

import re
from collections.abc import Callable

from litestar.types import ASGIApp, Receive, Scope, Send

from retrieval.parameters import DEFAULT_LIMIT
from retrieval.recommend import Recommender
from retrieval.replies import replied
from stores.records import ID_PATTERN

ROUTE = "/recommendations/{user_id}"
PATH = re.compile(ROUTE.replace("{user_id}", f"({ID_PATTERN.removeprefix('^')})"))
QUERY = re.compile(rb"(?:limit=([1-9][0-9]?|100))?\Z")


class Shortcut:
    """Gives cached answers itself, and hands every other request to `app`. `recommender` is asked for once the stores are open."""

    def __init__(self, app: ASGIApp, recommender: Callable[[], Recommender]) -> None:
        self._app = app
        self._recommender = recommender

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = PATH.match(scope["path"]), QUERY.match(scope["query_string"])
        if path is not None and query is not None and scope.get("method") == "GET":
            recommender = self._recommender()
            hit = await recommender.cached(path[1], limit=int(query[1] or DEFAULT_LIMIT))
            if hit is not None:
                scope["path_template"] = ROUTE
                await replied(hit, scope, holdout=recommender.holds_out(path[1]))(scope, receive, send)
                return
        await self._app(scope, receive, send)
