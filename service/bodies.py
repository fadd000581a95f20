"""How much a client may send as a body."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.strict_yaml import MAX_YAML_BYTES

COUNT_THEIR_OWN = ("/v1/count",)  # pictures: `server.max_picture_bytes`


class BoundedBodies:
    """ASGI: a body that is larger than a settings file may be is refused with 413 as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in COUNT_THEIR_OWN:
            await self._app(scope, receive, send)
            return
        came = 0

        async def bounded() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MAX_YAML_BYTES:
                raise HTTPException(413, f"a body has at most {MAX_YAML_BYTES} bytes here")
            return message

        await self._app(scope, bounded, send)
