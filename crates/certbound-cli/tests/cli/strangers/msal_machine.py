"""Managed identities by MSAL for Python, on the platform that the environment names.

Prints one JSON object: the tokens' owners, and what was refused.
"""

import base64
import json

import msal
import requests


def owner(identity):
    client = msal.ManagedIdentityClient(identity, http_client=requests.Session())
    answer = client.acquire_token_for_client(resource="https://management.azure.com")
    if "access_token" not in answer:
        return answer.get("error")
    payload = answer["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"]


user = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514"
result = {
    "system": owner(msal.SystemAssignedManagedIdentity()),
    "user": owner(msal.UserAssignedManagedIdentity(client_id=user)),
}
print(json.dumps(result))
