"""A client whose tokens `bursa env globus-compute --store` put into its store: `seeded.py ENDPOINT`."""

import json
import sys

from globus_compute_sdk import Client
from globus_compute_sdk.sdk.auth.token_storage import get_token_storage

(endpoint,) = sys.argv[1:]


def status():
    return Client().get_endpoint_status(endpoint)["status"]


print(json.dumps({"valid": status()}))
if not Client().app.config.request_refresh_tokens:
    sys.exit()  # the oldest asks for a login then
store = get_token_storage()
ended = store.get_token_data_by_resource_server()
for row in ended.values():
    row.access_token, row.expires_at_seconds = "ended", 0
store.store_token_data_by_resource_server(ended)
print(json.dumps({"renewed": status()}))
