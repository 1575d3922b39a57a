//! The log lines for accepted unbound tokens. This test has its own binary, because it would also capture the log lines
//! of other tests.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "numbered/support.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::io;
use std::sync::{Arc, Mutex};

use certbound_verifier::{
    Algorithm, Authorization, BindingPolicy, Clock, Issuer, KeySet, PeerCertificate, Scheme, UnixTime,
    Verifier, VerifierBuilder,
};
use serde_json::json;

use crate::support::{AUDIENCE, CLIENT, KID, NOW, Token, client, code, issuer, keys, public_key, token};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Still;

impl Clock for Still {
    fn now(&self) -> UnixTime {
        NOW
    }
}

fn at_entra() -> VerifierBuilder {
    Verifier::builder().issuer_with_keys(issuer(), keys()).any_role(["Orders.Read"])
}

fn elsewhere(id: &str) -> (VerifierBuilder, Token) {
    let issuer = Issuer::oidc("https://idp.example", [Algorithm::Rs256]).unwrap();
    let keys = KeySet::new().with_key(&issuer, KID, public_key());
    let token = token().without("azp").claim("iss", json!("https://idp.example"));
    let token = token.claim("client_id", json!(id)).claim("sub", json!(id));
    (Verifier::builder().issuer_with_keys(issuer, keys).dangerous_any_caller(), token)
}

#[tokio::test]
async fn each_unbound_token_that_is_accepted_is_one_line() {
    let log = Log::begin();
    // This client id would write three lines and clear the screen if the log contained it unchanged.
    let (other, of_other) = elsewhere("job\n\u{1b}[2J\r\nforged=1");
    for (builder, token, policy, name) in [
        (at_entra(), token(), BindingPolicy::WhenBound, CLIENT),
        (other, of_other, BindingPolicy::Rfc8705WhenBound, r"job\n\u{1b}[2J\r\nforged=1"),
    ] {
        let builder = builder.audience(AUDIENCE).binding(policy).with_clock(Still).remember(16);
        let verifier = builder.build().unwrap();
        let plain = token.clone().without("cnf").sign();
        let under = async |scheme: Scheme, token: &str, peer: &PeerCertificate| {
            code(verifier.verify(&Authorization::new(scheme, token), peer).await)
        };

        // The verifier decides about the token once, and then uses the remembered decision twice.
        for _ in 0..3 {
            assert_eq!(under(Scheme::Bearer, &plain, &PeerCertificate::none()).await, "accepted");
            let lines = log.lines();
            let said: Vec<&String> =
                lines.iter().filter(|line| line.contains("unbound token accepted")).collect();
            assert_eq!((said.len(), lines.len()), (1, 1), "{lines:?}");
            assert!(said[0].contains(&name.escape_debug().to_string()), "{said:?}");
            assert!(!said[0].contains(char::is_control), "{said:?}");
            assert!(said[0].contains(token.claims["iss"].as_str().unwrap()), "{said:?}");
            for part in plain.split('.') {
                assert!(!said[0].contains(&part[..16]), "{said:?}");
            }
        }

        // Neither a bound token nor a refused token is logged.
        let bound = token.clone().sign();
        assert_eq!(under(Scheme::MtlsPop, &bound, &client()).await, "accepted");
        assert_eq!(under(Scheme::MtlsPop, &plain, &client()).await, "unbound_token_under_mtls_pop");
        let of_another = token.clone().without("cnf").claim("aud", json!("api://other")).sign();
        assert_eq!(under(Scheme::Bearer, &of_another, &client()).await, "audience_mismatch");
        assert_eq!(log.lines(), Vec::<String>::new());
    }
}
