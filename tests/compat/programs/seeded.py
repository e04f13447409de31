"""A client whose tokens lie in its store, as logging in leaves them: `seeded.py ENDPOINT TOKEN`."""

import json
import sys
import time

from globus_compute_sdk import Client
from globus_compute_sdk.sdk.auth.token_storage import get_token_storage
from globus_sdk.token_storage import TokenStorageData

endpoint, token = sys.argv[1:]
SCOPES = {
    "funcx_service": "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all",
    "auth.globus.org": "openid urn:globus:auth:scope:auth.globus.org:manage_projects",
}


def store(expires):
    get_token_storage().store_token_data_by_resource_server(
        {
            server: TokenStorageData(
                resource_server=server,
                identity_id="01a21b2b-d0e4-7916-9d5b-4c34b7bc7b40",
                scope=scope,
                access_token=token if expires else "ended",
                refresh_token=token,
                expires_at_seconds=int(time.time()) + expires,
                token_type="Bearer",
            )
            for server, scope in SCOPES.items()
        }
    )


for name, expires in {"valid": 86_400, "renewed": 0}.items():
    store(expires)
    print(json.dumps({name: Client().get_endpoint_status(endpoint)["status"]}))
