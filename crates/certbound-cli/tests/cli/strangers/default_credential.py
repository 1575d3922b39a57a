"""DefaultAzureCredential of the Azure SDK for Python, on the emulated machine. Prints the owner of its token."""

import base64
import json

from azure.identity import DefaultAzureCredential

token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
payload = token.split(".")[1]
print(json.dumps({"owner": json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["oid"]}))
