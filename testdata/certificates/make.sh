#!/bin/sh
# Makes this folder's files with openssl; run it here to make them anew. Nothing trusts them.
set -eu
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key.pem -out ca.pem -days 36500 -subj "/CN=certbound test CA" 2>/dev/null
printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n' > v3.ext
leaf() { # name, algorithm options of `openssl genpkey`
    name=$1; shift
    openssl genpkey "$@" -out "$name.pkcs8.pem" 2>/dev/null
    openssl req -new -key "$name.pkcs8.pem" -subj "/CN=$name/O=certbound tests" -out "$name.csr" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key.pem -days 36500 -extfile v3.ext -set_serial "$((0x$(printf %s "$name" | cksum | cut -c1-6)))" -out "$name.pem" 2>/dev/null
    rm "$name.csr"
}
leaf rsa -algorithm RSA -pkeyopt rsa_keygen_bits:2048
leaf rsa1024 -algorithm RSA -pkeyopt rsa_keygen_bits:1024
leaf p256 -algorithm EC -pkeyopt ec_paramgen_curve:P-256
leaf p384 -algorithm EC -pkeyopt ec_paramgen_curve:P-384
leaf other -algorithm RSA -pkeyopt rsa_keygen_bits:2048
openssl req -new -key rsa.pkcs8.pem -subj "/CN=rsa/O=certbound tests" -out v1.csr
openssl x509 -req -in v1.csr -CA ca.pem -CAkey ca.key.pem -days 36500 -set_serial 1 -out v1.pem 2>/dev/null
openssl rsa -in rsa.pkcs8.pem -traditional -out rsa.pkcs1.pem 2>/dev/null
openssl ec -in p256.pkcs8.pem -out p256.sec1.pem 2>/dev/null
openssl pkcs8 -topk8 -in rsa.pkcs8.pem -passout pass:right -out rsa.encrypted.pem
openssl pkcs8 -topk8 -in p256.pkcs8.pem -scrypt -passout pass:right -out p256.encrypted-scrypt.pem
openssl pkcs8 -topk8 -in rsa.pkcs8.pem -v2 des3 -v2prf hmacWithSHA1 -passout pass:right -out rsa.encrypted-3des.pem
openssl rsa -in rsa.pkcs8.pem -traditional -aes256 -passout pass:right -out rsa.encrypted-traditional.pem 2>/dev/null
cat rsa.pem rsa.encrypted.pem > rsa.encrypted-bundle.pem
cat rsa.pem ca.pem rsa.pkcs8.pem > rsa.bundle.pem
cat p256.pkcs8.pem p256.pem > p256.bundle.pem
openssl pkcs12 -export -in rsa.pem -certfile ca.pem -inkey rsa.pkcs8.pem -passout pass:right -out rsa.pfx
openssl pkcs12 -export -in p256.pem -inkey p256.pkcs8.pem -passout pass:right -out p256.pfx
openssl pkcs12 -export -in p256.pem -inkey p256.pkcs8.pem -passout pass: -out p256.empty-password.pfx
openssl pkcs12 -export -legacy -in rsa.pem -inkey rsa.pkcs8.pem -passout pass:right -out rsa.legacy.pfx
openssl pkcs12 -export -nokeys -in rsa.pem -passout pass:right -out no-key.pfx
openssl pkcs12 -export -nocerts -inkey rsa.pkcs8.pem -passout pass:right -out no-certificate.pfx
for name in rsa p256 p384; do
    openssl x509 -in "$name.pem" -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f > "$name.sha256"
    openssl x509 -in "$name.pem" -outform der | openssl dgst -sha256 -binary | base64 | tr '+/' '-_' | tr -d '=\n' > "$name.x5t-s256"
done
# Three compact JWS over one text, signed by openssl.
b64() { base64 | tr -d '\n' | tr '+/' '-_' | tr -d '='; }
raw() { python3 -c 'import sys
der = sys.stdin.buffer.read(); at = 4 if der[1] < 128 else 5
r = der[at:at + der[at - 1]]; rest = der[at + der[at - 1]:]; s = rest[2:2 + rest[1]]
sys.stdout.buffer.write(b"".join(n.lstrip(b"\0").rjust(32, b"\0") for n in (r, s)))'; }
payload=$(printf %s '{"iss":"https://login.microsoftonline.com/t/v2.0","aud":"x","exp":1785000000}' | b64)
sign() { # file, alg, openssl options
    input="$(printf '{"alg":"%s","typ":"JWT","kid":"k"}' "$2" | b64).$payload"; file=$1; shift 2
    printf '%s.%s' "$input" "$(printf %s "$input" | "$@" | b64)" > "../jws/$file"
}
sign rs256.jwt RS256 openssl dgst -sha256 -sign rsa.pkcs8.pem
sign ps256.jwt PS256 openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign rsa.pkcs8.pem
es256() { openssl dgst -sha256 -sign p256.pkcs8.pem | raw; }
sign es256.jwt ES256 es256
sign none.jwt none true
rsa_as_secret() { openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(openssl x509 -in rsa.pem -noout -pubkey | od -An -tx1 | tr -d ' \n')" -binary; }
sign hs256-with-rsa-key.jwt HS256 rsa_as_secret
rm ca.key.pem v3.ext v1.csr
