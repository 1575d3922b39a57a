#!/usr/bin/env python3
"""Makes the golden certificate requests in this folder: DER by hand, from the protocol's description, and the public key
of ../certificates/rsa.pem as openssl writes it. Run in this folder. What is written is the CertificationRequestInfo
(RFC 2986) of two machines, and the signature algorithm."""

import json
import subprocess
from pathlib import Path

CLIENT = "11111111-2222-3333-4444-555555555555"
TENANT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
VM = "01234567-89ab-cdef-0123-456789abcdef"
VMSS = "fedcba98-7654-3210-fedc-ba9876543210"

DOMAIN_COMPONENT = "060a0992268993f22c640119"
COMMON_NAME = "0603550403"
COMPUTE_UNIT = "060a2b0601040182375a020a"
RSASSA_PSS = "06092a864886f70d01010a"
MGF1 = "06092a864886f70d010108"
SHA256 = "0609608648016503040201"


def tlv(tag, *contents):
    content = b"".join(bytes.fromhex(part) if isinstance(part, str) else part for part in contents)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def sequence(*contents):
    return tlv(0x30, *contents)


def name():
    ia5_string, printable_string = 0x16, 0x13
    domain = tlv(0x31, sequence(DOMAIN_COMPONENT, tlv(ia5_string, TENANT.encode())))
    common = tlv(0x31, sequence(COMMON_NAME, tlv(printable_string, CLIENT.encode())))
    return sequence(domain, common)


def attributes(unit):
    utf8_string = 0x0C
    text = json.dumps(unit, separators=(",", ":")).encode()
    return tlv(0xA0, sequence(COMPUTE_UNIT, tlv(0x31, tlv(utf8_string, text))))


def algorithm():
    hashed = tlv(0xA0, sequence(SHA256))
    masked = tlv(0xA1, sequence(MGF1, sequence(SHA256)))
    salted = tlv(0xA2, tlv(0x02, "20"))
    return sequence(RSASSA_PSS, sequence(hashed, masked, salted))


def main():
    pem = subprocess.check_output(["openssl", "x509", "-in", "../certificates/rsa.pem", "-noout", "-pubkey"])
    spki = subprocess.check_output(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem)
    # The vectors of the protocol's description.
    assert len(name()) == 103 and len(attributes({"vmId": VM})) == 67 and len(algorithm()) == 63
    for file, unit in [("vm", {"vmId": VM}), ("vm-vmss", {"vmId": VM, "vmssId": VMSS})]:
        Path(f"{file}.info.der").write_bytes(sequence("020100", name(), spki, attributes(unit)))
    Path("algorithm.der").write_bytes(algorithm())


main()
