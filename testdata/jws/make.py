"""Signs one text by each algorithm that ../certificates/make.sh does not sign by, with the package `cryptography`.

Run it in this folder. The keys on P-521 and Ed25519 are new each time, and their private halves are not kept."""

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, utils

CERTIFICATES = Path("../certificates")
CLAIMS = {"iss": "https://login.microsoftonline.com/t/v2.0", "aud": "x", "exp": 1785000000}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length):
    return b64(value.to_bytes(length, "big"))


def private(name):
    return serialization.load_pem_private_key((CERTIFICATES / name).read_bytes(), None)


def ecdsa(key, digest, length):
    def sign(text):
        r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(digest)))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")

    return sign


def pss(digest, salt=None):
    salt = digest.digest_size if salt is None else salt
    return lambda text: rsa.sign(text, padding.PSS(padding.MGF1(digest), salt), digest)


def pkcs1(digest):
    return lambda text: rsa.sign(text, padding.PKCS1v15(), digest)


def write(file, alg, kid, sign):
    header = json.dumps({"alg": alg, "typ": "JWT", "kid": kid}, separators=(",", ":"))
    claims = json.dumps(CLAIMS, separators=(",", ":"))
    text = f"{b64(header.encode())}.{b64(claims.encode())}"
    Path(file).write_text(f"{text}.{b64(sign(text.encode()))}")


rsa = private("rsa.pkcs8.pem")
p384 = private("p384.pkcs8.pem")
p521 = ec.generate_private_key(ec.SECP521R1())
edwards = ed25519.Ed25519PrivateKey.generate()

write("rs384.jwt", "RS384", "rsa", pkcs1(hashes.SHA384()))
write("rs512.jwt", "RS512", "rsa", pkcs1(hashes.SHA512()))
write("ps384.jwt", "PS384", "rsa", pss(hashes.SHA384()))
write("ps512.jwt", "PS512", "rsa", pss(hashes.SHA512()))
write("es384.jwt", "ES384", "p384", ecdsa(p384, hashes.SHA384(), 48))
write("es512.jwt", "ES512", "p521", ecdsa(p521, hashes.SHA512(), 66))
write("eddsa.jwt", "EdDSA", "ed25519", edwards.sign)
write("ed25519.jwt", "Ed25519", "ed25519", edwards.sign)
# What the names do not promise: another hash, another curve, another salt.
write("es384-with-sha256.jwt", "ES384", "p384", ecdsa(p384, hashes.SHA256(), 48))
write("es256-on-p384.jwt", "ES256", "p384", ecdsa(p384, hashes.SHA256(), 48))
write("ps384-with-salt-of-20.jwt", "PS384", "rsa", pss(hashes.SHA384(), 20))

n = rsa.public_key().public_numbers()
keys = [{"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(n.n, 256), "e": number(n.e, 3)}]
for kid, key, crv, length in (("p384", p384, "P-384", 48), ("p521", p521, "P-521", 66)):
    point = key.public_key().public_numbers()
    x, y = number(point.x, length), number(point.y, length)
    keys.append({"kty": "EC", "crv": crv, "kid": kid, "use": "sig", "x": x, "y": y})
raw = edwards.public_key().public_bytes_raw()
keys.append({"kty": "OKP", "crv": "Ed25519", "kid": "ed25519", "use": "sig", "x": b64(raw)})
Path("keys.json").write_text(json.dumps({"keys": keys}, indent=2) + "\n")
