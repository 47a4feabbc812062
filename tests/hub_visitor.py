"""A browser as far as a server sees it: pages asked for with the cookie of a person, and forms sent."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from tests.hub_server import Hub, Reply


@dataclass(frozen=True)
class Visitor:
    """Somebody who looks at a hub; without a token nobody knows who."""

    hub: Hub
    token: str = ""

    def get(self, place: str) -> Reply:
        """A page."""
        return self.hub.ask("GET", place, headers=self._cookie())

    def post(self, place: str, fields: dict[str, str] | bytes | None = None, **headers: str) -> Reply:
        """What a form sends, or the bytes of a file."""
        body = fields if isinstance(fields, bytes) else urlencode(fields or {}).encode()
        return self.hub.ask("POST", place, raw=body, headers={**headers, **self._cookie()})

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": f"edgecost_token={self.token}"} if self.token else {}
