"""The API's own documentation: OpenAPI at `/openapi.json`, and a page that shows it at `/docs`, with nothing from elsewhere."""

from pathlib import Path
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import ResponseHeader
from litestar.enums import MediaType, OpenAPIMediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from retrieval.entrance import PUBLIC

FOLDER = Path(__file__).parent / "docs_page"
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "start.js": "text/javascript"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Page(OpenAPIRenderPlugin):
    """Swagger UI, from the files beside it."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return (FOLDER / "index.html").read_bytes()


@get("/openapi.json", opt={PUBLIC: True}, media_type=OpenAPIMediaType.OPENAPI_JSON, include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The schema of this API, OpenAPI 3.1."""
    schema: dict[str, Any] = any_of(request.app.openapi_schema.to_schema())
    return schema


def any_of(node: Any) -> Any:
    """A schema in which a union is "any of" its members: Litestar says "one of", but an explained answer is a plain one too."""
    if isinstance(node, dict):
        return {"anyOf" if name == "oneOf" else name: any_of(value) for name, value in node.items()}
    return [any_of(each) for each in node] if isinstance(node, list) else node


@get([f"/assets/{name}" for name in ASSETS], opt={PUBLIC: True}, include_in_schema=False)
async def asset(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One file of the page."""
    name = request.scope["path"].removeprefix("/assets/")
    return Response((FOLDER / name).read_bytes(), media_type=ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})


def openapi_config() -> OpenAPIConfig:
    """What the document says beside the routes, and the page that shows it."""
    policy = ResponseHeader(name="Content-Security-Policy", value=PAGE_POLICY, documentation_only=False)
    return OpenAPIConfig(
        title="Campaign Platform",
        version="0.1.0",
        description="Ranked campaigns for each customer, with reasons.",
        openapi_router=Router("/docs", route_handlers=[], opt={PUBLIC: True}, include_in_schema=False, response_headers=[policy]),
        render_plugins=[Page()],
        security=[{"bearer": []}, {"header": []}],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", description="A key of this API"),
                "header": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="The same"),
            }
        ),
    )
