"""What Schemathesis is told beside the document: ids that are there, and what may not be in an answer.

It loads this file itself (`SCHEMATHESIS_HOOKS`); the test says the rest in the environment.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData

# Name of a field -> a value that is good there: an id of the owner's, who else there is, a key.
KNOWN: dict[str, str] = json.loads(os.environ["SCHEMA_KNOWN"])
# Texts that no answer may have unless its request had them; none for the owner.
SECRETS: list[str] = json.loads(os.environ["SCHEMA_SECRETS"])
# Whether what is known may also be ended: the owner could, and would then have nothing to ask for.
MAY_END = bool(SECRETS)
KINDS = {
    "functions": "function_id",
    "containers": "container_id",
    "endpoints": "endpoint_id",
    "tasks": "task_id",
    "groups": "user_group",
    "users": "user",
}
# Requests hold such fields; those of answers keep their schemas.
BODIES = ["NewTask", "CancelTasks", "GetTasks", "AllowedFunctions", "NewShare", "NewMember", "NewEndpoint"]
LISTS = {"task_ids": "task_id", "functions": "function_id", "users": "user"}
# Requests that succeed, if the owner makes them.
EXAMPLES = {
    "NewTasks": {
        "tasks": [{"function_id": KNOWN["function_id"], "endpoint_id": KNOWN["endpoint_id"], "args": "cAAA"}]
    },
    "NewContainer": {"type": "docker", "location": "image"},
    "NewEndpoint": {"name": "another", "public_key": KNOWN["public_key"]},
    "NewMember": {"user": KNOWN["user"]},
    "NewShare": {"users": [KNOWN["user"]]},
    "AllowedFunctions": {"functions": [KNOWN["function_id"]]},
}
WAIT_S = 0.1
BOUNDS = ["maxItems", "maxLength", "minItems", "minLength", "maximum", "exclusiveMinimum"]


def often(schema: dict[str, Any], known: str | None) -> dict[str, Any]:
    """The same values, this one among the first that are tried."""
    return {"anyOf": [{"enum": [known]}, schema]} if known else schema


@schemathesis.hook
def before_load_schema(_context: object, document: dict[str, Any]) -> None:
    """Without ids that are there nearly every answer would be a 404."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            ends = method == "delete" or path.endswith("/revoke-key")
            if MAY_END or not ends:
                kind = path.split("/")[3] if path.count("/") > 3 else ""
                for parameter in operation.get("parameters", []):
                    know(parameter, kind)
            # Schemathesis writes no msgpack.
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            if name in EXAMPLES:
                content["example"] = EXAMPLES[name]
    for shape in document["components"]["schemas"].values():
        for schema in shape.get("properties", {}).values():
            # Beyond these the answer is one that it does not expect (413), or it takes long to make them.
            for word in BOUNDS:
                schema.pop(word, None)
    for name in BODIES:
        properties = document["components"]["schemas"].get(name, {}).get("properties", {})
        for field, schema in properties.items():
            if field in LISTS and "items" in schema:
                schema["items"] = often(schema["items"], KNOWN.get(LISTS[field]))
            elif field in KNOWN:
                properties[field] = often(schema, KNOWN[field])


def know(parameter: dict[str, Any], kind: str) -> None:
    name = parameter["name"]
    if kind == "shares" and name in ("kind", "id"):
        parameter["example"] = "functions" if name == "kind" else KNOWN["function_id"]
    if name == "kind":
        parameter["schema"] = {"anyOf": [{"enum": list(KNOWN["shares"])}, parameter["schema"]]}
    elif name == "id" and kind == "shares":
        parameter["schema"] = {"anyOf": [{"enum": list(KNOWN["shares"].values())}, parameter["schema"]]}
    else:
        parameter["schema"] = often(
            parameter["schema"], KNOWN.get(KINDS.get(kind, "") if name == "id" else name)
        )


@schemathesis.hook
def before_call(_context: object, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Nobody waits for long."""
    for part in (case.query, case.body):
        wait = part.get("wait") if isinstance(part, dict) else None
        if isinstance(wait, (int, float)) and WAIT_S < wait <= 50:
            part["wait"] = WAIT_S


@schemathesis.hook
def filter_failure(
    _context: object,
    failure: Exception,
    case: schemathesis.Case,
    response: schemathesis.Response,
) -> bool:
    """An empty parameter counts as not given; not so where it says what is to be removed."""
    query = parse_qsl(urlsplit(response.request.url).query, keep_blank_values=True)
    empty = case.method != "DELETE" and any(value == "" for _, value in query)
    return not (empty and isinstance(failure, AcceptedNegativeData))


@schemathesis.check
def nothing_of_the_owners(
    _context: object, response: schemathesis.Response, _case: schemathesis.Case
) -> None:
    """A text of the owner's is in an answer only if who asks has sent it."""
    request = response.request
    body = request.body or b""
    asked = request.url.encode() + (body if isinstance(body, bytes) else str(body).encode())
    for secret in SECRETS:
        text = secret.encode()
        assert text not in response.content or text in asked, f"the answer holds {secret!r} of the owner's"
