//! `oidc-provider` for Node: a token service of other authors that implements RFC 8705, with a resource that checks its
//! tokens by `jose`.

mod decisions;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use certbound::credential::NoCredential;
use certbound::transport::Via;
use certbound::{
    Authority, BindingCertificate, Client, ClientBuilder, Network, ResourceScope, Secret, Transport as _,
};
use certbound_core::jws::Algorithm;
use certbound_verifier::{
    Authorization, BindingPolicy, Fetch, FetchError, Issuer, PeerCertificate, Verifier,
};
use serde_json::Value;

use super::node;
use crate::support::{certbound, stderr, stdout};

struct Provider {
    child: Child,
    ready: Value,
    folder: tempfile::TempDir,
}

impl Provider {
    /// Starts the provider; `lacks` turns off the named features.
    fn start(lacks: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), lacks, &[], "")
    }

    /// Starts the provider with more clients, whose certificates are in the folder, and with another authority that
    /// issued some of them.
    fn start_in(folder: tempfile::TempDir, lacks: &str, clients: &[Value], authority: &str) -> Self {
        let server = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        write("tls.pem", server.cert.pem().as_bytes());
        write("tls.key.pem", server.signing_key.serialize_pem().as_bytes());
        write("client.pem", &std::fs::read(certificates("rsa.pem")).unwrap());
        let ours = std::fs::read_to_string(certificates("ca.pem")).unwrap();
        write("ca.pem", format!("{ours}{authority}").as_bytes());
        write("clients.json", &serde_json::to_vec(clients).unwrap());
        let mut child = Command::new(node::interpreter())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/oidc_provider.mjs"))
            .args([folder.path(), &node::packages()])
            .arg(lacks)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, ready, folder }
    }

    fn network(&self) -> Network {
        let roots = std::fs::read(self.folder.path().join("tls.pem")).unwrap();
        Network::builder().no_proxy().only_roots_pem(roots).build().unwrap()
    }

    fn issuer(&self) -> &str {
        self.ready["issuer"].as_str().unwrap()
    }

    fn client(&self, id: &str) -> ClientBuilder<NoCredential> {
        Client::builder(Authority::oidc(self.issuer()).unwrap(), id).with_network(&self.network())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certificates(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates").join(name)
}

fn certificate(name: &str) -> BindingCertificate {
    let key = certificates(&format!("{name}.pkcs8.pem"));
    BindingCertificate::from_pem_files(certificates(&format!("{name}.pem")), key).unwrap()
}

fn read() -> ResourceScope {
    ResourceScope::of_other_authority("read").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_binds_a_token_to_our_certificate_and_its_resource_accepts_it() {
    let provider = Provider::start("nothing");
    let orders = provider.ready["resource"].as_str().unwrap();
    for id in ["by-name", "self-signed"] {
        let client = provider.client(id).with_certificate(certificate("rsa")).build().unwrap();
        let scope = read();
        let token = client.bound_token(&scope).await.unwrap();
        assert!(token.details().binding_observed);
        assert_eq!(token.scheme().to_string(), "Bearer");
        // The client used the alias for mutual TLS, whose port differs from the issuer's port.
        assert!(!token.details().endpoint.starts_with(provider.issuer()), "{:?}", token.details());

        let get = || http::Request::get(orders).body(Bytes::new()).unwrap();
        let answer = client.resource(&scope).call(get()).await.unwrap();
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert_eq!((answer.status().as_u16(), text), (200, format!("orders of {id}")));

        // A thief has no certificate or a different certificate.
        let other = certificate("other");
        for via in [Via::Tls, Via::Resource(&other)] {
            let mut stolen = get();
            let header = format!("Bearer {}", token.secret().expose()).parse().unwrap();
            stolen.headers_mut().insert(http::header::AUTHORIZATION, header);
            let answer = provider.network().transport().send(stolen, via).await.unwrap();
            let text = String::from_utf8_lossy(answer.response.body()).into_owned();
            assert_eq!((answer.response.status().as_u16(), text.as_str()), (401, "not bound"));
        }

        // Our own verifier accepts the token, with the keys that the issuer publishes.
        let verifier = Verifier::builder()
            .issuer(Issuer::oidc(provider.issuer(), [Algorithm::Rs256]).unwrap())
            .audience("urn:orders")
            .binding(BindingPolicy::Rfc8705)
            .only_clients([id])
            .with_fetch(ByNetwork(provider.network()))
            .build()
            .unwrap();
        let header = format!("Bearer {}", token.secret().expose());
        let authorization = Authorization::parse(header.as_bytes()).unwrap();
        let peer =
            |binding: &BindingCertificate| PeerCertificate::from_der(binding.chain().leaf_der()).unwrap();
        verifier.verify(&authorization, &peer(token.binding())).await.unwrap();
        let refused = verifier.verify(&authorization, &peer(&other)).await.unwrap_err();
        assert_eq!(refused.code(), "client_certificate_mismatch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_bind_is_no_bound_token() {
    let provider = Provider::start("nothing");
    let scope = read();
    let by = |id: &str, name: &str| provider.client(id).with_certificate(certificate(name)).build().unwrap();
    // The provider issues Bearer tokens to this client, over the same connections and with the same token type.
    let refused = by("unbound", "rsa").bound_token(&scope).await.unwrap_err();
    assert_eq!(refused.code(), "token_not_bound", "{refused}");
    // No client of the provider has this certificate.
    let refused = by("self-signed", "other").bound_token(&scope).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_client", "{refused}");
    let refused = by("by-name", "other").bound_token(&scope).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_client", "{refused}");

    let provider = Provider::start("no-certificates");
    let client = provider.client("secret").with_certificate(certificate("rsa")).build().unwrap();
    let refused = client.bound_token(&scope).await.unwrap_err();
    assert!(refused.to_string().contains("tls_client_auth"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_bearer_tokens_for_a_secret_and_a_signed_assertion() {
    let provider = Provider::start("nothing");
    let scope = read();
    let secret = provider.client("secret").with_secret(Secret::new("correct horse battery staple"));
    assert!(secret.build().unwrap().bearer_token(&scope).await.unwrap().scopes().eq(["read"]));
    let signed = provider.client("signed").with_certificate(certificate("rsa")).build().unwrap();
    assert!(signed.bearer_token(&scope).await.unwrap().scopes().eq(["read"]));

    let wrong = provider.client("secret").with_secret(Secret::new("wrong")).build().unwrap();
    assert_eq!(wrong.bearer_token(&scope).await.unwrap_err().code(), "invalid_client");
    // The certificate belongs to another client.
    let other = provider.client("signed").with_certificate(certificate("other")).build().unwrap();
    assert_eq!(other.bearer_token(&scope).await.unwrap_err().code(), "invalid_client");
}

/// The same with the command line, with an issuer instead of a tenant.
#[test]
fn the_command_line_calls_its_resource_with_a_bound_token() {
    let provider = Provider::start("nothing");
    let mut command = certbound();
    command
        .env("SSL_CERT_FILE", provider.folder.path().join("tls.pem"))
        .env("AZURE_TENANT_ID", "contoso.com");
    command.args(["call", provider.ready["resource"].as_str().unwrap(), "--issuer", provider.issuer()]);
    command.args(["--scope", "read", "--client-id", "by-name", "--certificate"]).arg(certificates("rsa.pem"));
    let output = command.arg("--certificate-key").arg(certificates("rsa.pkcs8.pem")).output().unwrap();
    assert_eq!(stdout(&output), "orders of by-name", "{}", stderr(&output));
}

/// `call` sends exactly what is printed for other programs.
#[test]
fn the_command_line_prints_the_scheme_that_it_calls_with() {
    let provider = Provider::start("nothing");
    let run = |arguments: &[&str]| {
        let mut command = certbound();
        command.env("SSL_CERT_FILE", provider.folder.path().join("tls.pem")).args(arguments);
        command.args(["--issuer", provider.issuer(), "--scope", "read", "--client-id", "by-name"]);
        command.arg("--certificate").arg(certificates("rsa.pem"));
        command.arg("--certificate-key").arg(certificates("rsa.pkcs8.pem")).output().unwrap()
    };
    let header = run(&["token", "-o", "header"]);
    assert!(stdout(&header).starts_with("Authorization: Bearer ey"), "{}", stderr(&header));
    let result: Value = serde_json::from_str(&stdout(&run(&["token", "-o", "json"]))).unwrap();
    assert_eq!((result["scheme"].as_str(), result["tokenType"].as_str()), (Some("Bearer"), Some("Bearer")));
    assert!(result["bindingCertificate"]["x5tS256"].is_string(), "it is bound all the same");
    let called = run(&["call", provider.ready["resource"].as_str().unwrap(), "--trace"]);
    assert!(stderr(&called).contains("authorization: Bearer <redacted>"), "{}", stderr(&called));
    assert_eq!(stdout(&called), "orders of by-name");
}

/// Fetches metadata and keys over the network of the test, because only that network trusts the server's certificate.
struct ByNetwork(Network);

impl Fetch for ByNetwork {
    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let request = http::Request::get(url).body(Bytes::new()).unwrap();
        let answer = self.0.transport().send(request, Via::Tls).await.unwrap();
        assert_eq!(answer.response.status(), 200, "{url}");
        Ok(answer.response.body().to_vec())
    }
}
