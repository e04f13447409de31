"""Tokens of a real provider: which count, which do not, and what is asked when."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Provider, ask, configured, e2e, identity, make_keys, running, serving

FORMATS = ["RS256", "PS256", "ES256", "EdDSA", "opaque"]


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = configured(tmp_path_factory.mktemp("tokens") / "home", identity(provider.issuer))
    with serving(home) as url:
        yield url


def refused(url: str, token: str, status: int = 401) -> str:
    """The reason for which a token is refused; it is not in the answer."""
    code, body, headers = ask(url, token)
    assert code == status, body
    assert token not in json.dumps(body)
    if status == 503:
        assert int(headers["Retry-After"]) >= 1
    return body["error"]["why"]


def parts(token: str) -> tuple[dict[str, object], dict[str, object], str]:
    head, claims, signature = token.split(".")
    return *(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims)), signature


def text(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("form", FORMATS)
def test_a_token_of_every_kind_is_its_users(service: str, provider: Provider, form: str) -> None:
    status, who, _ = ask(service, provider.token(f"https://bursa.test/{form}"))
    assert status == 200 and who["name"] == "robot@lab.test", who
    assert who["user_id"] == ask(service, provider.token())[1]["user_id"]


@pytest.mark.parametrize("form", ["ES256", "opaque"])
def test_another_audience_or_scope_is_refused(service: str, provider: Provider, form: str) -> None:
    assert "not for 'bursa'" in refused(service, provider.token(f"https://other.test/{form}"))
    assert "lacks the scope 'calls'" in refused(
        service, provider.token(f"https://bursa.test/{form}", "other")
    )


def test_an_opaque_token_is_asked_about_once(service: str, provider: Provider) -> None:
    token, before = provider.token("https://bursa.test/opaque"), provider.asked("/token/introspection")
    assert [ask(service, token)[0] for _ in range(5)] == [200] * 5
    for wrong in ("nothing", "nothing", "nothing"):
        assert "not known" in refused(service, wrong)
    assert provider.asked("/token/introspection") == before + 2


def test_a_flood_of_unknown_tokens_costs_the_provider_a_burst(provider: Provider, tmp_path: Path) -> None:
    limit = "[service]\nrate_bad_logins = 1\n"
    home = configured(tmp_path / "home", limit + identity(provider.issuer))
    with serving(home) as url:
        token = provider.token("https://bursa.test/opaque")
        assert ask(url, token)[0] == 200
        before, begun = provider.asked("/token/introspection"), time.monotonic()
        answers = [ask(url, f"unknown-{n}")[0] for n in range(60)]
        room, refused = 10 + time.monotonic() - begun, answers.count(401)
        assert set(answers) == {401, 429} and refused <= room, answers
        asked = lambda: provider.asked("/token/introspection") - before  # noqa: E731
        e2e.wait_for(lambda: asked() >= refused, 10, "the provider's own count")
        assert asked() == refused
        assert ask(url, token)[0] == 200, "what is known is not held up"


def none(head: dict[str, object], claims: dict[str, object], _: str) -> str:
    return f"{text({**head, 'alg': 'none'})}.{text(claims)}."


def secret(head: dict[str, object], claims: dict[str, object], public: str) -> str:
    signed = f"{text({**head, 'alg': 'HS256'})}.{text(claims)}"
    return f"{signed}.{text(hmac.digest(public.encode(), signed.encode(), hashlib.sha256))}"


def changed(head: dict[str, object], claims: dict[str, object], signature: str) -> str:
    return f"{text(head)}.{text({**claims, 'sub': 'root'})}.{signature}"


@pytest.mark.parametrize(
    ("forge", "why"),
    [(none, "signed by 'none'"), (secret, "signed by 'HS256'"), (changed, "by no key of its issuer")],
)
def test_a_forged_token_is_refused(
    service: str, provider: Provider, forge: Callable[..., str], why: str
) -> None:
    head, claims, signature = parts(provider.token())
    public = ask(provider.issuer, None, "/jwks")[1]["keys"][0]
    extra = json.dumps(public) if forge is secret else signature
    assert why in refused(service, forge(head, claims, extra))


def test_another_issuer_or_algorithm_for_the_key_is_refused(service: str, provider: Provider) -> None:
    head, claims, signature = parts(provider.token())
    assert "no issuer of this service" in refused(
        service, f"{text(head)}.{text({**claims, 'iss': 'https://evil.test'})}.{signature}"
    )
    assert "by no key" in refused(service, f"{text({**head, 'alg': 'PS256'})}.{text(claims)}.{signature}")


def test_invented_keys_cost_the_provider_one_question(service: str, provider: Provider) -> None:
    head, claims, signature = parts(provider.token())
    before = provider.asked("/jwks")
    for _ in range(20):
        invented = {**head, "kid": secrets.token_hex(4)}
        assert "by no key" in refused(service, f"{text(invented)}.{text(claims)}.{signature}")
    assert provider.asked("/jwks") <= before + 1


def test_who_is_on_no_list_is_refused(provider: Provider, tmp_path: Path) -> None:
    home = configured(tmp_path / "home", identity(provider.issuer, allow=["alice@lab.test", "group:admins"]))
    with serving(home) as url:
        assert "'robot@lab.test'" in refused(url, provider.token(), 403)
    home = configured(
        tmp_path / "other", identity(provider.issuer, allow=["group:hpc"], grants=["tasks:read"])
    )
    with serving(home) as url:
        assert ask(url, provider.token())[0] == 200
        status, body, _ = ask(url, provider.token(), "/api/v1/functions")
        assert status == 403 and "functions:read" in body["error"]["why"]


def test_a_token_ends_when_it_says_so(node: str, keys: list[dict[str, str]], tmp_path: Path) -> None:
    with running(node, keys, seconds=3) as provider:
        home = configured(tmp_path / "home", identity(provider.issuer))
        with serving(home) as url:
            for form in ("ES256", "opaque"):
                token = provider.token(f"https://bursa.test/{form}")
                assert ask(url, token)[0] == 200
                e2e.wait_for(lambda token=token: ask(url, token)[0] == 401, 10, "the end of the token")
            assert "expired" in refused(url, parts_expired(provider))


def test_who_is_unlinked_is_another_user_at_once(provider: Provider, tmp_path: Path) -> None:
    home = configured(tmp_path / "home", identity(provider.issuer))
    with serving(home) as url:
        token = provider.token()
        before = ask(url, token)[1]["user_id"]
        assert e2e.run_cli(home, "user", "add", "ann").returncode == 0
        shown = json.loads(e2e.run_cli(home, "--json", "user", "show", before).stdout)["identities"][0]
        who = ("--issuer", shown["issuer"], "--subject", shown["subject"])
        assert e2e.run_cli(home, "user", "link", "ann", *who).returncode == 0
        assert ask(url, token)[1]["name"] == "ann", "also with a token that was known"
        assert e2e.run_cli(home, "user", "unlink", "ann", *who).returncode == 0
        after = ask(url, token)[1]
        assert after["user_id"] != before and after["name"] not in ("ann", "robot@lab.test"), after
        assert e2e.run_cli(home, "user", "unlink", "ann", *who).returncode == 2


def parts_expired(provider: Provider) -> str:
    """A good token that nobody has shown before it ended."""
    token = provider.token()
    end = parts(token)[1]["exp"]
    e2e.wait_for(lambda: time.time() > end, 10, "the end of the token")
    return token


def test_keys_are_rotated_and_old_ones_end(node: str, keys: list[dict[str, str]], tmp_path: Path) -> None:
    provider = Provider(node, keys)
    try:
        with serving(configured(tmp_path / "home", identity(provider.issuer))) as url:
            assert ask(url, provider.token())[0] == 200
            old = provider.token()
            provider.stop()
            provider = Provider(node, make_keys(node, "second"), provider.port)
            assert ask(url, provider.token())[0] == 200, "a key that is not known is looked for"
            assert "by no key" in refused(url, old)
    finally:
        provider.stop()


def test_a_provider_that_is_down_is_said_to_be(node: str, keys: list[dict[str, str]], tmp_path: Path) -> None:
    provider = Provider(node, keys)
    try:
        with serving(configured(tmp_path / "home", identity(provider.issuer))) as url:
            known, unknown = (provider.token("https://bursa.test/opaque") for _ in range(2))
            assert ask(url, known)[0] == 200
            signed = provider.token()
            provider.stop()
            assert ask(url, known)[0] == 200, "what was decided counts"
            assert "provider" in refused(url, unknown, 503)
            assert "provider" in refused(url, signed, 503), "its keys were not asked for yet"
            provider = Provider(node, keys, provider.port)
            assert ask(url, provider.token("https://bursa.test/opaque"))[0] == 200
            e2e.wait_for(lambda: ask(url, signed)[0] == 200, 10, "the keys")
    finally:
        provider.stop()
