#!/bin/sh
# Makes signed-by/: one client certificate three times, signed by one authority with SHA-256, SHA-1 and MD5.
# Only certificates are kept. Run it here; each run makes other keys.
set -eu
out=$(pwd)/signed-by
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
cd "$work"
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -sha256 -subj "/CN=certbound test authority" -days 27000 \
  -out ca.pem -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign 2>/dev/null
openssl req -new -newkey rsa:2048 -nodes -keyout leaf.key -subj "/CN=certbound-demo-app" -out leaf.csr 2>/dev/null
cat > ca.conf <<'CONF'
[ca]
default_ca = a
[a]
database = index.txt
new_certs_dir = .
serial = serial
policy = p
unique_subject = no
x509_extensions = x
[p]
commonName = supplied
[x]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
CONF
: > index.txt
echo 01 > serial
cp ca.pem "$out/authority.pem"
for digest in sha256 sha1 md5; do
  openssl ca -batch -config ca.conf -cert ca.pem -keyfile ca.key -md "$digest" -in leaf.csr -notext \
    -startdate 20200101000000Z -enddate 20991231235959Z -out "$out/$digest.pem" 2>/dev/null
done
