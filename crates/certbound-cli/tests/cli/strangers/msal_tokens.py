"""Confidential clients of MSAL for Python, with the emulator that the environment names.

The program prints one JSON object: the result of each credential, and the refusals.
"""

import base64
import datetime
import json
import os

import msal
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

AUTHORITY = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c"
APP = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e"
SECRET_APP = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264"
SECRET = "certbound-emulator-secret"
GRAPH = "https://graph.microsoft.com/.default"
EXCHANGE = "api://AzureADTokenExchange/.default"


def client(credential, app=APP):
    return msal.ConfidentialClientApplication(app, authority=AUTHORITY, client_credential=credential)


def certificate_credential():
    with open(os.environ["CERTBOUND_EMULATOR_CERTIFICATE"], "rb") as file:
        pem = file.read()
    certificate = x509.load_pem_x509_certificate(pem)
    key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE KEY") :], None)
    return as_credential(certificate, key)


def other_certificate():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "certbound-demo-app")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return as_credential(builder.sign(key, hashes.SHA256()), key)


def as_credential(certificate, key):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "private_key": pem.decode(),
        "thumbprint": certificate.fingerprint(hashes.SHA1()).hex(),
        "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def obtained(application):
    answer = application.acquire_token_for_client(scopes=[GRAPH])
    if "access_token" not in answer:
        return answer
    content = claims(answer["access_token"])
    authorization = f"{answer['token_type']} {answer['access_token']}"
    call = requests.get(
        "https://graph.microsoft.com/v1.0/applications", headers={"Authorization": authorization}, timeout=60
    )
    return {
        "token_type": answer["token_type"],
        "token_source": answer["token_source"],
        "cnf": content.get("cnf"),
        "appidacr": content["appidacr"],
        "resource": call.status_code,
        "again": application.acquire_token_for_client(scopes=[GRAPH])["token_source"],
    }


def refused(application, scope=GRAPH):
    answer = application.acquire_token_for_client(scopes=[scope])
    return [answer.get("error"), answer.get("error_codes")]


def control(method, path, body=None):
    """The emulator's admin interface: faults, the clock, the journal."""
    answer = requests.request(method, f"{os.environ['CERTBOUND_EMULATOR_ADMIN']}/{path}", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


CHALLENGE = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'


def challenged(application):
    """Returns MSAL's report of a claims challenge, and whether the next request sends the claims and bypasses the cache."""
    refusal = {"aadsts": 53003, "suberror": "message_only", "claims": CHALLENGE}
    control("POST", "faults", {"condition": {"path_contains": "/oauth2/v2.0/token"}, "result": {"refusal": refusal}})
    error = application.acquire_token_for_client(scopes=[GRAPH])
    application.acquire_token_for_client(scopes=[GRAPH])
    answer = application.acquire_token_for_client(scopes=[GRAPH], claims_challenge=error["claims"])
    sent = dict(control("GET", "journal")["entries"][-1]["parameters"])
    return {
        "error": [error["error"], error["suberror"], error["error_codes"]],
        "claims": error["claims"],
        "token_source": answer["token_source"],
        "sent": json.loads(sent["claims"])["access_token"],
    }


certificate = client(certificate_credential())
assertion = certificate.acquire_token_for_client(scopes=[EXCHANGE])["access_token"]
not_for_exchange = certificate.acquire_token_for_client(scopes=["api://orders/.default"])
result = {
    "secret": obtained(client(SECRET, SECRET_APP)),
    "certificate": obtained(certificate),
    "assertion": obtained(client({"client_assertion": assertion})),
    "callback": obtained(client({"client_assertion": lambda: assertion})),
    "refused": {
        "wrong secret": refused(client("not the secret", SECRET_APP)),
        "unknown application": refused(client(SECRET, "00000000-0000-4000-8000-000000000001")),
        "unknown resource": refused(certificate, "https://nowhere.example/.default"),
        "another certificate": refused(client(other_certificate())),
        "assertion for another audience": refused(client({"client_assertion": not_for_exchange["access_token"]})),
        "no assertion at all": refused(client({"client_assertion": "nonsense"})),
    },
    "challenged": challenged(client(SECRET, SECRET_APP)),
}
# This is the last step, because it moves the clock: the tokens from above are expired.
control("PUT", "clock", {"advance_seconds": 3 * 3600})
result["refused"]["expired assertion"] = refused(client({"client_assertion": lambda: assertion}))
result["refused"]["expired proof by certificate"] = refused(client(certificate_credential()))
print(json.dumps(result))
