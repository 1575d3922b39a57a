"""MSAL for Python as a worker.

The program reads tasks from stdin and prints the CPU time of each task. With the argument `once` it gets one token, and
prints its CPU time and its peak memory.
"""

import os
import random
import resource
import sys
import time

import msal

AUTHORITY = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c"
APP = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e"
SECRET_APP = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264"
SECRET = "certbound-emulator-secret"
SCOPE = ["https://graph.microsoft.com/.default"]
EXCHANGE = ["api://AzureADTokenExchange/.default"]


def client(app, credential):
    return msal.ConfidentialClientApplication(app, authority=AUTHORITY, client_credential=credential)


def token(application, scopes, source):
    answer = application.acquire_token_for_client(scopes=scopes)
    assert answer.get("token_source") == source, answer
    return answer["access_token"]


def cold(application, scopes=SCOPE):
    application.remove_tokens_for_client()
    return token(application, scopes, "identity_provider")


def legs():
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    with open(os.environ["CERTBOUND_EMULATOR_CERTIFICATE"], "rb") as file:
        pem = file.read()
    certificate = x509.load_pem_x509_certificate(pem)
    leg1 = client(APP, {
        "private_key": pem[pem.index(b"-----BEGIN PRIVATE KEY") :].decode(),
        "thumbprint": certificate.fingerprint(hashes.SHA1()).hex(),
        "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    })
    leg2 = client(APP, {"client_assertion": lambda: cold(leg1, EXCHANGE)})
    return lambda: cold(leg2)


def many():
    """Puts 10000 tokens directly into the cache. `token` checks that each call is a hit."""
    application = client(SECRET_APP, SECRET)
    scopes = [f"api://00000000-0000-4000-8000-{number:012}/.default" for number in range(10_000)]
    for scope in scopes:
        application.token_cache.add({
            "client_id": SECRET_APP,
            "scope": [scope],
            "token_endpoint": f"{AUTHORITY}/oauth2/v2.0/token",
            "response": {"token_type": "Bearer", "expires_in": 86399, "access_token": "t" * 1500},
        })
    order = random.Random(1)
    return lambda: token(application, [scopes[order.randrange(len(scopes))]], "cache")


application = client(SECRET_APP, SECRET)
token(application, SCOPE, "identity_provider")
if "once" in sys.argv:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(time.process_time_ns(), usage.ru_maxrss * 1024)
    sys.exit(0)

tasks = {"hit": lambda: token(application, SCOPE, "cache"), "cold": lambda: cold(application)}
for line in sys.stdin:
    name, count = line.split()
    if name not in tasks:
        tasks[name] = {"pair": legs, "many": many}[name]()
    if name == "hit":
        token(application, SCOPE, "cache")
    task = tasks[name]
    before = time.process_time_ns()
    for _ in range(int(count)):
        task()
    print(time.process_time_ns() - before, flush=True)
