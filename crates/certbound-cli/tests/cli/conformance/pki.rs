//! The keys of the emulator and the client certificates, which are the same in each run.

use std::sync::{Arc, LazyLock};

use certbound::{BindingCertificate, Thumbprint, UnixTime};
use certbound_emulator::clock::{Clock as _, SystemClock};
use certbound_emulator::world::builtin;
use certbound_emulator::{ClientIdentity, Emulator, EmulatorKeys, IssueOptions, KeyKind, World};

use crate::support::root;

/// The seed of the emulator's keys. Anyone can compute these keys.
pub(super) const SEED: &str = "conformance";

/// The dates of the client certificates: the years 2026 to 2035.
const DATES: (UnixTime, UnixTime) = (UnixTime::from_secs(1_767_225_600), UnixTime::from_secs(2_082_758_400));

/// All emulators of these tests share one set of keys, because their generation takes long.
pub(super) static KEYS: LazyLock<EmulatorKeys> =
    LazyLock::new(|| EmulatorKeys::from_seed(&World::built_in(), SystemClock.now(), SEED).unwrap());

/// A client certificate that the page names by a letter.
pub(super) struct Named {
    pub(super) name: &'static str,
    /// The role of the certificate in the tests.
    pub(super) role: &'static str,
    pub(super) identity: ClientIdentity,
}

impl Named {
    pub(super) fn binding(&self) -> BindingCertificate {
        BindingCertificate::from_pem(self.identity.bundle_pem().as_bytes()).unwrap()
    }

    /// Returns the leaf with its key, without the issuers.
    pub(super) fn leaf_alone(&self) -> BindingCertificate {
        let end = "-----END CERTIFICATE-----\n";
        let leaf = self.identity.certificate_pem.split_inclusive(end).next().unwrap();
        BindingCertificate::from_pem_pair(leaf.as_bytes(), self.identity.key_pem.as_bytes()).unwrap()
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of_der(self.identity.leaf_der())
    }
}

static NAMED: LazyLock<[Named; 4]> = LazyLock::new(|| {
    let emulator = Emulator::with_keys(World::built_in(), KEYS.clone(), Arc::new(SystemClock)).unwrap();
    let own = emulator.client_identity().key_pem.clone();
    let other =
        |file: &str| std::fs::read_to_string(root().join("testdata/certificates").join(file)).unwrap();
    let options = |serial: u64, key: String| {
        let options = IssueOptions::new(builtin::CLIENT_COMMON_NAME).with_key(KeyKind::Existing(key));
        options.valid(DATES.0, DATES.1).with_serial(serial)
    };
    let issued = |serial, key| emulator.issue_client_certificate(&options(serial, key)).unwrap();
    [
        Named { name: "C", role: "the certificate of the application", identity: issued(1, own.clone()) },
        Named { name: "R", role: "C, renewed over the same key", identity: issued(2, own) },
        Named {
            name: "D",
            role: "a different certificate of the application",
            identity: issued(3, other("other.pkcs8.pem")),
        },
        Named {
            name: "S",
            role: "a self-signed certificate with the subject of C",
            // An RSA signature is the same each time. An ECDSA signature is not.
            identity: emulator.self_signed_client_certificate(&options(4, other("rsa.pkcs8.pem"))).unwrap(),
        },
    ]
});

/// All named certificates.
pub(super) fn all() -> &'static [Named] {
    &*NAMED
}

/// The certificate of the application.
pub(super) fn c() -> &'static Named {
    &NAMED[0]
}

/// C, renewed over the same key.
pub(super) fn renewed() -> &'static Named {
    &NAMED[1]
}

/// A different certificate of the application.
pub(super) fn d() -> &'static Named {
    &NAMED[2]
}

/// A certificate that no authority issued.
pub(super) fn self_signed() -> &'static Named {
    &NAMED[3]
}

/// The name of the certificate of a key that is new in each run. Its thumbprint never stands in the page.
pub(super) const NEW: &str = "T";

/// Returns the name and the thumbprint of a certificate.
///
/// # Panics
/// If the certificate is none of the named certificates. Its thumbprint would differ in each run.
pub(super) fn named(x5t_s256: &str) -> String {
    let known = all().iter().find(|known| known.thumbprint().x5t_s256() == x5t_s256);
    let known = known.unwrap_or_else(|| panic!("{x5t_s256} is not a certificate of the page"));
    format!("{} (SHA-256 {x5t_s256})", known.name)
}
