"""The Azure SDK for Python (identity, Key Vault secrets, keys and certificates) against the emulator that the environment
points to.

Prints one JSON object: the result of each step, and the refusals.
"""

import base64
import hashlib
import json
import time
import uuid

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientAssertionCredential, ClientSecretCredential
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from azure.keyvault.secrets import SecretClient
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_der_x509_certificate

TENANT = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c"
APP = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e"
WRITER = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264"
SECRET = "certbound-emulator-secret"
VAULT = "https://demo.vault.azure.net"

writer = ClientSecretCredential(TENANT, WRITER, SECRET)
secrets = SecretClient(VAULT, writer)


def names(items):
    return sorted(item.name for item in items)


def refused(action):
    """The SDK's class of the error, the status, the service's code and the first words of its text."""
    try:
        action()
        return "nothing was refused"
    except HttpResponseError as error:
        kinds = [ResourceNotFoundError, ResourceExistsError, HttpResponseError]
        kind = next(kind for kind in kinds if isinstance(error, kind))
        return [kind.__name__, error.status_code, error.error.code if error.error else None]


def secret_life():
    """Each operation on a secret."""
    result = {"first": names(secrets.list_properties_of_secrets())}
    one = secrets.set_secret("password", "one")
    two = secrets.set_secret("password", "two", content_type="text/plain", tags={"owner": "contoso"})
    result["value"] = secrets.get_secret("password").value
    result["old value"] = secrets.get_secret("password", one.properties.version).value
    versions = {item.version for item in secrets.list_properties_of_secret_versions("password")}
    result["versions"] = versions == {one.properties.version, two.properties.version}
    updated = secrets.update_secret_properties("password", two.properties.version, enabled=False)
    result["updated"] = [updated.enabled, updated.content_type, updated.tags]
    result["disabled"] = refused(lambda: secrets.get_secret("password"))
    secrets.update_secret_properties("password", two.properties.version, enabled=True)
    deleted = secrets.begin_delete_secret("password").result()
    days = (deleted.scheduled_purge_date - deleted.deleted_date).days
    result["deleted"] = [deleted.name, days, names(secrets.list_deleted_secrets())]
    result["taken"] = refused(lambda: secrets.set_secret("password", "three"))
    recovered = secrets.begin_recover_deleted_secret("password")
    recovered.wait()
    result["recovered"] = secrets.get_secret("password").value
    secrets.begin_delete_secret("password").wait()
    secrets.purge_deleted_secret("password")
    result["purged"] = [names(secrets.list_deleted_secrets()), refused(lambda: secrets.get_secret("password"))]
    return result


def pages():
    """A list in pages, by the SDK's own pager."""
    for number in range(7):
        secrets.set_secret(f"page-{number}", "v")
    pages = secrets.list_properties_of_secrets(max_page_size=3).by_page()
    return [len(list(page)) for page in pages]


def verified(key, algorithm, digest, signature):
    """Whether the signature is that of the vault's public key, by another library."""
    numbers = key.key
    hashed = utils.Prehashed(hashes.SHA256())
    if numbers.kty == "EC":
        x, y = (int.from_bytes(part, "big") for part in (numbers.x, numbers.y))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        public.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(hashed))
        return True
    n, e = (int.from_bytes(part, "big") for part in (numbers.n, numbers.e))
    kind = padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    rsa.RSAPublicNumbers(e, n).public_key().verify(signature, digest, kind, hashed)
    return True


def signatures():
    keys = KeyClient(VAULT, writer)
    result = {"names": names(keys.list_properties_of_keys())}
    digest = hashlib.sha256(b"the text").digest()
    for name, algorithm in [("demo-rsa", "RS256"), ("demo-rsa", "PS256"), ("demo-p256", "ES256")]:
        key = keys.get_key(name)
        # By the key with its version, and by its name only.
        by_key = CryptographyClient(key, writer)
        by_name = CryptographyClient(f"{VAULT}/keys/{name}", writer)
        for client in (by_key, by_name):
            signed = client.sign(SignatureAlgorithm(algorithm), digest)
            local = client.verify(SignatureAlgorithm(algorithm), digest, signed.signature)
            checks = [verified(key, algorithm, digest, signed.signature), local.is_valid]
            result.setdefault(algorithm, []).append(checks)
    wrong = CryptographyClient(keys.get_key("demo-rsa"), writer)
    result["not emulated"] = refused(lambda: wrong.sign(SignatureAlgorithm.rs512, bytes(64)))
    result["new key"] = refused(lambda: keys.create_rsa_key("new"))
    return result


def coded(content):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def by_vault():
    """An application proves itself by an assertion that the vault's key signs."""
    certificate = CertificateClient(VAULT, writer).get_certificate("demo-client")
    client = CryptographyClient(certificate.key_id, writer)
    leaf = load_der_x509_certificate(bytes(certificate.cer))

    def assertion():
        now = int(time.time())
        thumbprint = coded(leaf.fingerprint(hashes.SHA1()))
        header = {"alg": "PS256", "typ": "JWT", "x5t": thumbprint, "x5c": [base64.b64encode(certificate.cer).decode()]}
        claims = {"iss": APP, "sub": APP, "jti": str(uuid.uuid4()), "nbf": now, "exp": now + 300}
        claims["aud"] = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
        text = f"{coded(header)}.{coded(claims)}"
        digest = hashlib.sha256(text.encode()).digest()
        return f"{text}.{coded(client.sign(SignatureAlgorithm.ps256, digest).signature)}"

    credential = ClientAssertionCredential(TENANT, APP, assertion)
    reader = SecretClient(VAULT, credential)
    secret = reader.get_secret("demo-client")
    private = load_pem_private_key(secret.value.encode(), None)
    return {
        "subject": leaf.subject.rfc4514_string(),
        "value": reader.get_secret("demo").value,
        "same key": private.public_key() == leaf.public_key(),
        "write": refused(lambda: reader.set_secret("x", "v")),
    }


print(json.dumps({"secrets": secret_life(), "pages": pages(), "keys": signatures(), "by vault": by_vault()}))
