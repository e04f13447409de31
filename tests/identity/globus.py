"""A stand-in for Globus Auth, which no test can reach: routes and answers as its documents have them."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

CLIENT, SECRET = "5a1a1a52-6bd5-4d5c-8c9e-0a5b2c6cf0a1", "c2VjcmV0L3dpdGgrc2lnbnM="
SCOPE = f"https://auth.globus.org/scopes/{CLIENT}/all"
NATIVE = "9a9a3b1c-2f6e-4a3e-9a51-6ea6a1e4a111"


class Globus(ThreadingHTTPServer):
    def __init__(self, certificate: Path | None = None) -> None:
        """`certificate`: PEM with its key, for TLS."""
        super().__init__(("127.0.0.1", 0), _Answer)
        self.issuer = f"http{'s' if certificate else ''}://127.0.0.1:{self.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.tokens: dict[str, dict[str, object]] = {}
        self.introspected: list[dict[str, str]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def token(self, **more: object) -> str:
        """A new opaque token of Ann's."""
        token = f"Ag{len(self.tokens):04d}kDfeUGlkr9VnqPWXgBmwJnQ"
        now = int(time.time())
        self.tokens[token] = {
            "active": True,
            "scope": SCOPE,
            "client_id": NATIVE,
            "sub": "11111111-2222-4333-8444-555555555555",
            "username": "ann@globusid.org",
            "name": "Ann Example",
            "email": "ann@lab.test",
            "aud": [CLIENT, "other"],
            "iss": self.issuer,
            "exp": now + 172800,
            "iat": now,
            "nbf": now,
            "identity_set": ["11111111-2222-4333-8444-555555555555", "66666666-7777-4888-8999-000000000000"],
            **more,
        }
        return token

    def code(self, address: str) -> str:
        """What the page shows to a user who agreed."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["redirect_uri"] == f"{self.issuer}/v2/web/auth-code", asked
        assert (asked["response_type"], asked["access_type"], asked["scope"]) == ("code", "offline", SCOPE), (
            asked
        )
        code = f"code{len(self.codes)}"
        self.codes[code] = asked
        return code


class _Answer(BaseHTTPRequestHandler):
    server: Globus

    def do_GET(self) -> None:
        issuer = self.server.issuer
        places = {"issuer": issuer, "jwks_uri": f"{issuer}/jwk.json"}
        for name, path in (
            ("authorization", "authorize"),
            ("token", "token"),
            ("revocation", "token/revoke"),
        ):
            places[f"{name}_endpoint"] = f"{issuer}/v2/oauth2/{path}"
        known = self.path == "/.well-known/openid-configuration"
        self._say(200 if known else 404, places if known else {"error": "NOT_FOUND"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if self.path == "/v2/oauth2/token/introspect":
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            if self.headers["Authorization"] != f"Basic {basic}":
                return self._say(401, {"error": "invalid_client"})
            self.server.introspected.append(form)
            return self._say(200, self.server.tokens.get(form["token"], {"active": False}))
        if self.path == "/v2/oauth2/token":
            return self._say(*self._tokens(form))
        self._say(200, {"active": False})

    def _tokens(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        if form["grant_type"] == "authorization_code":
            asked = self.server.codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if asked is None or asked["code_challenge"] != proof:
                return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": self.server.token(),
            "scope": SCOPE,
            "expires_in": 172800,
            "token_type": "Bearer",
            "resource_server": CLIENT,
            "refresh_token": "Rg-refresh",
            "other_tokens": [],
        }

    def _say(self, status: int, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
