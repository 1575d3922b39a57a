//! The credential matrix: for each credential the kind of token, the request, and the refusals.
//!
//! Each row is tested exactly once: by a golden request, by a program that does not compile, or by a refusal of the
//! command line with MSAL's error code.

mod golden;
mod refused;

use std::collections::BTreeSet;

use self::Held::{Golden, Misuse, Refused};
use crate::support::root;

/// The test of a row.
enum Held {
    /// `testdata/wire/matrix/{row}.txt` is the request.
    Golden,
    /// A program in the library's `tests/misuse` does not compile.
    Misuse(&'static str),
    /// The command line refuses with this code before a request is sent.
    Refused(&'static str),
}

/// Credential, kind of token, condition. Rows 21 and 22 were about an option that no longer exists.
const TABLE: [(u8, &str, Held); 24] = [
    (1, "secret, Bearer", Golden),
    (2, "secret, bound", Refused("mtls_certificate_not_provided")),
    (3, "assertion, Bearer", Golden),
    (4, "assertion, bound", Misuse("bound_token_by_an_unbound_assertion")),
    (5, "function, Bearer", Golden),
    (6, "assertion that is blank, Bearer", Refused("invalid_client_assertion")),
    (7, "assertion file, bound", Refused("mtls_certificate_not_provided")),
    (8, "assertion file without certificate, Bearer", Golden),
    (9, "assertion with certificate, Bearer", Golden),
    (10, "assertion with certificate, bound", Golden),
    (11, "assertion without certificate, bound", Misuse("assertion_without_certificate")),
    (12, "assertion that is blank, with certificate", Refused("invalid_client_assertion")),
    (13, "certificate, Bearer", Golden),
    (14, "certificate, bound", Golden),
    (15, "certificate, Bearer over mutual TLS", Golden),
    (16, "certificate, bound, Bearer over mutual TLS set", Golden),
    (17, "certificate that may be missing, Bearer", Misuse("certificate_that_may_be_missing")),
    (18, "no certificate, Bearer over mutual TLS", Misuse("bearer_over_mtls_without_a_certificate")),
    (19, "certificate without key", Refused("cert_without_private_key")),
    (20, "key that cannot be used", Refused("cryptographic_error")),
    (23, "secret, Bearer over mutual TLS", Refused("invalid_credential_material")),
    (24, "no credential", Refused("Client_Credentials_Required_In_Confidential_Client_Application")),
    (25, "certificate, bound, no tenant but `common`", Refused("missing_tenanted_authority")),
    (26, "certificate, bound, host without mutual TLS", Refused("mtls_pop_not_supported_for_environment")),
];

#[tokio::test]
async fn every_row_is_held_once() {
    let rows: BTreeSet<u8> = TABLE.iter().map(|(row, ..)| *row).collect();
    let expected: BTreeSet<u8> = (1..=26).filter(|row| !matches!(row, 21 | 22)).collect();
    assert_eq!((rows, TABLE.len()), (expected, 24));
    let mut goldens = 0;
    for (row, what, held) in &TABLE {
        match held {
            Golden => {
                goldens += 1;
                let file = root().join(format!("testdata/wire/matrix/{row:02}.txt"));
                golden::compare(*row, what, &std::fs::read_to_string(file).unwrap()).await;
            }
            // The library's own test checks the compiler's message.
            Misuse(file) => {
                for end in ["rs", "stderr"] {
                    let file = root().join(format!("crates/certbound/tests/misuse/{file}.{end}"));
                    assert!(file.is_file(), "{row} {what}: {}", file.display());
                }
            }
            Refused(code) => assert_eq!(refused::code(*row), (2, (*code).to_owned()), "{row} {what}"),
        }
    }
    let files = std::fs::read_dir(root().join("testdata/wire/matrix")).unwrap().count();
    assert_eq!(files, goldens, "a golden request that no row names");
}
