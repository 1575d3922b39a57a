"""Managed identities with MSAL for Python, on the platform that the environment names.

The program prints one JSON object: the owners of the tokens, and the refusals. In Cloud Shell this library supports only
public clients, so the object contains the owner, and the answer for an unknown resource.
"""

import base64
import json
import os

import msal
import requests


def owner(identity):
    client = msal.ManagedIdentityClient(identity, http_client=requests.Session())
    return owner_of(client.acquire_token_for_client(resource="https://management.azure.com"))


def owner_of(answer):
    if "access_token" not in answer:
        return answer.get("error")
    payload = answer["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"]


def of_the_shell(resource):
    tenant = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c"
    client = msal.PublicClientApplication("04b07795-8ddb-461a-bbee-02f9e1bf7b46", authority=tenant)
    return owner_of(client.acquire_token_interactive([f"{resource}/.default"], prompt="none"))


if os.environ.get("AZUREPS_HOST_ENVIRONMENT"):
    known, unknown = "https://management.azure.com", "https://nobody.example"
    print(json.dumps({"system": of_the_shell(known), "unknown": of_the_shell(unknown)}))
    raise SystemExit

user = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514"
result = {
    "system": owner(msal.SystemAssignedManagedIdentity()),
    "user": owner(msal.UserAssignedManagedIdentity(client_id=user)),
}
print(json.dumps(result))
