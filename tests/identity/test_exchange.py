"""A workload's token, exchanged for a short-lived one of Bursa's by a rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Provider, ask, configured, e2e, serving

EXCHANGE = "/api/v1/tokens/exchange"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    text = f"""
        [[exchange]]
        name = "nobody"
        issuer = "{provider.issuer}"
        audience = "bursa"
        match = {{ sub = "someone else" }}
        scopes = ["tasks:read"]

        [[exchange]]
        name = "ci of the lab"
        issuer = "{provider.issuer}"
        audience = "bursa"
        match = {{ sub = "robot", preferred_username = "*@lab.test" }}
        scopes = ["functions:read", "tasks:submit"]
        lifetime_s = 3
    """
    with serving(configured(tmp_path_factory.mktemp("exchange") / "home", text)) as url:
        yield url


def exchange(url: str, token: str, **more: str):
    form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": JWT, **more}
    return ask(url, None, EXCHANGE, form)


def test_a_token_is_exchanged_for_what_its_rule_gives(service: str, provider: Provider) -> None:
    status, given, headers = exchange(service, provider.token("https://bursa.test/ES256"))
    assert status == 200, given
    assert headers["Cache-Control"] == "no-store"
    token = given.pop("access_token")
    assert token.startswith("bursa_") and given == {
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 3,
        "scope": "functions:read tasks:submit",
    }
    status, who, _ = ask(service, token)
    assert status == 200 and who["name"] == "ci of the lab"
    assert ask(service, token, "/api/v1/functions")[0] == 200
    assert ask(service, token, "/api/v1/tokens")[0] == 403
    again = exchange(service, provider.token())[1]["access_token"]
    assert ask(service, again)[1]["user_id"] == who["user_id"], "runs of one workload are one user"
    e2e.wait_for(lambda: ask(service, token)[0] == 401, 10, "the end of the token")


def test_a_token_that_meets_no_rule_is_refused(service: str, provider: Provider, tmp_path: Path) -> None:
    status, body, _ = exchange(service, provider.token("https://other.test/ES256"))
    assert status == 401 and "not for 'bursa'" in body["error"]["why"]
    token = provider.token()
    assert exchange(service, token[:-4] + "AAAA")[0] == 401
    assert exchange(service, provider.token("https://bursa.test/opaque"))[0] == 401
    text = f"""
        [[exchange]]
        name = "ci"
        issuer = "{provider.issuer}"
        audience = "bursa"
        match = {{ sub = "robots" }}
        scopes = ["tasks:read"]
    """
    with serving(configured(tmp_path / "home", text)) as url:
        status, body, _ = exchange(url, token)
        assert status == 403 and "'sub'" in body["error"]["why"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grant_type", "password"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
        ("scope", "admin"),
        ("scope", "functions:read tasks:read"),
        ("resource", "https://elsewhere.test"),
    ],
)
def test_what_no_rule_can_give_is_refused(service: str, provider: Provider, field: str, value: str) -> None:
    status, body, _ = exchange(service, provider.token(), **{field: value})
    assert status == 400 and field in body["error"]["message"], body


def test_less_than_the_rule_gives_may_be_asked_for(service: str, provider: Provider) -> None:
    given = exchange(service, provider.token(), scope="functions:read")[1]
    assert given["scope"] == "functions:read"
