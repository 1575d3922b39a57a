//! `certbound verify` as the resource of `oidc-provider`: the bound tokens that it accepts, and their clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::Provider;
use crate::support::{certbound, json, refusal, stderr, stdout};

const ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];
const BY_AUTHORITY: &str = "tls_client_auth";
const SELF_SIGNED: &str = "self_signed_tls_client_auth";

/// A client of the provider: its id, the file with its certificate and key, and the algorithm of its tokens.
struct Registered {
    id: String,
    certificate: PathBuf,
    algorithm: &'static str,
}

/// A provider with one client for every kind of certificate and every algorithm.
struct Resource {
    provider: Provider,
    clients: Vec<Registered>,
}

impl Resource {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path());
        let mut clients = Vec::new();
        let mut described = Vec::new();
        let mut add = |id: &str, method: &str, certificate: &str, algorithm| {
            described.push(
                json!({ "id": id, "method": method, "certificate": certificate, "algorithm": algorithm }),
            );
            let certificate = folder.path().join(certificate);
            clients.push(Registered { id: id.to_owned(), certificate, algorithm });
        };
        for (key, of) in [("rsa", &rcgen::PKCS_RSA_SHA256), ("p256", &rcgen::PKCS_ECDSA_P256_SHA256)] {
            for (method, issued) in [(BY_AUTHORITY, true), (SELF_SIGNED, false)] {
                let name = format!("{key}-{method}.pem");
                pki.write(&name, &KeyPair::generate_for(of).unwrap(), issued);
                for algorithm in ALGORITHMS {
                    add(&format!("{key}-{method}-{algorithm}"), method, &name, algorithm);
                }
            }
        }
        // Two clients whose ids differ only in case. In OAuth they are different clients (RFC 6749, section 1.9).
        for (id, name) in [("ss-rsa", "small.pem"), ("SS-RSA", "capital.pem")] {
            pki.write(name, &KeyPair::generate().unwrap(), false);
            add(id, SELF_SIGNED, name, "RS256");
        }
        pki.write("stranger.pem", &KeyPair::generate().unwrap(), false);
        pki.write_as(&format!("rsa-{BY_AUTHORITY}.pem"), "alike.pem", &KeyPair::generate().unwrap(), false);
        let authority = pki.authority.pem();
        Self { provider: Provider::start_in(folder, "nothing", &described, &authority), clients }
    }

    fn of_each_kind(&self) -> &[Registered] {
        self.clients.split_last_chunk::<2>().unwrap().0
    }

    fn file(&self, name: &str) -> PathBuf {
        self.provider.folder.path().join(name)
    }

    fn certbound(&self) -> Command {
        let mut command = certbound();
        command.env("SSL_CERT_FILE", self.file("tls.pem"));
        command
    }

    fn ask(&self, client: &Registered, certificate: &Path) -> Output {
        let mut command = self.certbound();
        command.args(["token", "-o", "json", "--issuer", self.provider.issuer(), "--scope", "read"]);
        command.args(["--client-id", &client.id, "--certificate"]).arg(certificate).output().unwrap()
    }

    fn token(&self, client: &Registered) -> String {
        let answer = json(&self.ask(client, &client.certificate));
        answer["accessToken"].as_str().unwrap().to_owned()
    }

    /// Returns the flags that accept this client's tokens, without the certificate.
    fn policy(&self, client: &Registered) -> Vec<String> {
        let flags = ["--issuer", self.provider.issuer(), "--algorithm", client.algorithm, "--audience"];
        let more = ["urn:orders", "--allow-client", &client.id, "--binding", "rfc8705"];
        [flags.as_slice(), &more].concat().into_iter().map(str::to_owned).collect()
    }

    /// Returns `accepted`, or the code of the refusal.
    fn verify(&self, token: &str, policy: &[String], certificate: Option<&Path>) -> String {
        let mut command = self.certbound();
        command.args(["verify", token, "--scheme", "bearer", "-o", "json"]).args(policy);
        if let Some(certificate) = certificate {
            command.arg("--certificate").arg(certificate);
        }
        let output = command.output().unwrap();
        let decision = json(&output);
        if decision["accepted"] == true {
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            return "accepted".to_owned();
        }
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        decision["refusal"]["code"].as_str().unwrap().to_owned()
    }
}

/// A certificate authority of the test, and the files that it writes.
struct Pki<'a> {
    folder: &'a Path,
    authority: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Pki<'a> {
    fn new(folder: &'a Path) -> Self {
        let mut params = params("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { folder, authority: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// Writes a certificate and its key. The authority or the certificate's own key signs it. `name` is the subject.
    fn write(&self, name: &str, key: &KeyPair, issued: bool) {
        self.write_as(name, name, key, issued);
    }

    fn write_as(&self, subject: &str, name: &str, key: &KeyPair, issued: bool) {
        let params = params(subject);
        let certificate =
            if issued { params.signed_by(key, &self.issuer) } else { params.self_signed(key) }.unwrap();
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        std::fs::write(self.folder.join(name), both).unwrap();
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[test]
fn tokens_of_every_kind_are_accepted_from_their_client_alone() {
    let resource = Resource::start();
    let (stranger, plain) = (resource.file("stranger.pem"), resource.file("tls.pem"));
    for client in resource.of_each_kind() {
        let token = resource.token(client);
        let policy = resource.policy(client);
        let with = |flag: &str, value: &str| {
            let mut changed = policy.clone();
            let at = changed.iter().position(|known| known == flag).unwrap();
            changed[at + 1] = value.to_owned();
            changed
        };
        let own = Some(client.certificate.as_path());
        let other = if client.algorithm == "ES256" { "RS256" } else { "ES256" };
        for (policy, certificate, expected) in [
            (policy.clone(), own, "accepted"),
            (policy.clone(), Some(&*stranger), "client_certificate_mismatch"),
            (policy.clone(), Some(&*plain), "client_certificate_mismatch"),
            (policy.clone(), None, "client_certificate_missing"),
            (with("--audience", "urn:invoices"), own, "audience_mismatch"),
            (with("--allow-client", "somebody-else"), own, "client_not_allowed"),
            (with("--algorithm", other), own, "algorithm_not_accepted"),
        ] {
            assert_eq!(
                resource.verify(&token, &policy, certificate),
                expected,
                "{} {policy:?} {certificate:?}",
                client.id
            );
        }
    }
}

/// The provider accepts a subject's name only from its authority. The token is bound to the client's certificate.
#[test]
fn a_look_alike_gets_no_token() {
    let resource = Resource::start();
    for client in resource.of_each_kind() {
        let refused = refusal(&resource.ask(client, &resource.file("alike.pem")));
        assert_eq!(refused, (1, "invalid_client".to_owned()), "{}", client.id);
    }
}

#[test]
fn clients_whose_ids_differ_in_case_only_are_two() {
    let resource = Resource::start();
    let [.., small, capital] = resource.clients.as_slice() else { unreachable!() };
    for (allowed, refused) in [(small, capital), (capital, small)] {
        let (token, of_refused) = (resource.token(allowed), resource.token(refused));
        let policy = resource.policy(allowed);
        assert_eq!(resource.verify(&token, &policy, Some(&allowed.certificate)), "accepted");
        assert_eq!(
            resource.verify(&of_refused, &policy, Some(&refused.certificate)),
            "client_not_allowed",
            "{} where {} is allowed",
            refused.id,
            allowed.id
        );
    }
}

#[test]
fn the_decider_of_a_proxy_tells_the_clients_apart() {
    let resource = Resource::start();
    let is_allowed = |client: &Registered| client.id != resource.clients[0].id && client.id != "SS-RSA";
    let decider = Decider::start(&resource, resource.clients.iter().filter(|client| is_allowed(client)));
    let stranger = std::fs::read_to_string(resource.file("stranger.pem")).unwrap();
    for client in &resource.clients {
        let token = resource.token(client);
        let own = std::fs::read_to_string(&client.certificate).unwrap();
        let (status, answer) = decider.ask(&token, Some(&own));
        let expected = if is_allowed(client) { 200 } else { 403 };
        assert_eq!(status, expected, "{}: {answer}", client.id);
        let told = format!("x-certbound-client-id: {}\r\n", client.id);
        assert_eq!(answer.contains(&told), is_allowed(client), "{}: {answer}", client.id);
        for certificate in [None, Some(&*stranger)] {
            let (status, answer) = decider.ask(&token, certificate);
            assert_eq!(status, 401, "{}: {answer}", client.id);
        }
    }
}

/// `certbound verify --serve`, which trusts nginx's certificate header.
struct Decider {
    child: Child,
    address: String,
}

impl Drop for Decider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Decider {
    fn start<'a>(resource: &Resource, allowed: impl Iterator<Item = &'a Registered>) -> Self {
        let mut command = resource.certbound();
        command.args(["verify", "--serve", "127.0.0.1:0", "--issuer", resource.provider.issuer()]);
        command.args(["--audience", "urn:orders", "--binding", "rfc8705", "--trust-proxy", "127.0.0.1/32"]);
        command.args(["--certificate-header", "nginx"]);
        for algorithm in ALGORITHMS {
            command.args(["--algorithm", algorithm]);
        }
        for client in allowed {
            command.args(["--allow-client", &client.id]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let address = ready["listen"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, address }
    }

    /// Sends a request as a proxy whose client presented this certificate. Returns the status and the whole answer.
    fn ask(&self, token: &str, certificate: Option<&str>) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        if let Some(pem) = certificate {
            // nginx escapes every reserved character. A PEM contains only spaces, line ends and `+` of them.
            let leaf = pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
            let escaped = leaf.replace(' ', "%20").replace("\r", "").replace('\n', "%0A").replace('+', "%2B");
            head.push_str(&format!("X-SSL-Client-Cert: {escaped}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{answer}")), answer)
    }
}
