#!/usr/bin/env python3
"""Certificate headers as Envoy, YARP and App Service write them, from their documents and sources (README.md).

Nothing of certbound takes part: the DER is openssl's, base64 and SHA-256 are Python's.
"""

import base64
import hashlib
import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent
CERTIFICATES = HERE.parent / "certificates"


def der(name):
    command = ["openssl", "x509", "-in", CERTIFICATES / name, "-outform", "DER"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def pem(name):
    command = ["openssl", "x509", "-in", CERTIFICATES / name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def envoy_encodes(text):
    # Five characters, and no other.
    for character, code in [("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")]:
        text = text.replace(character, code)
    return text


def element(name, details=()):
    digest = hashlib.sha256(der(name)).hexdigest()
    pairs = ["By=spiffe://example.com/proxy", f"Hash={digest}", f'Cert="{envoy_encodes(pem(name))}"']
    return ";".join([*pairs, *details])


def write(name, text):
    (HERE / name).write_text(text + "\n")


write("envoy.txt", element("rsa.pem"))
write("envoy-appended.txt", element("p256.pem") + "," + element("rsa.pem"))
names = ['Subject="CN=rsa"', "URI=spiffe://example.com/client", "DNS=client.example.com"]
write("envoy-names.txt", element("rsa.pem", names))
# The certificate of a thief, made for a DNS name that holds the certificate of the token's owner.
forged = "DNS=x,Cert=" + envoy_encodes(pem("rsa.pem"))
write("envoy-forged.txt", element("p256.pem", [forged]))
write("yarp.txt", base64.b64encode(der("rsa.pem")).decode())
write("app-service.txt", base64.b64encode(der("rsa.pem")).decode())
