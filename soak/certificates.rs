//! The certificates of the clients, and their rotation.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use certbound::certificate::{CertificateSource as _, RotatingCertificate};
use certbound::{BindingCertificate, Thumbprint, WatchedCertificate};
use certbound_emulator::world::builtin::CLIENT_COMMON_NAME;
use certbound_emulator::{ClientIdentity, Emulator, IssueOptions, KeyKind};
use tempfile::TempDir;

use crate::chance::Chance;
use crate::clock::FastClock;
use crate::oracle::Oracle;
use crate::subjects::Subject;

/// The time limit between a change of watched files and the use of the new certificate.
const NOTICED: Duration = Duration::from_secs(8);

/// A certificate in use that the soak replaces.
pub(crate) enum Holder {
    /// A certificate that the application replaces.
    Rotating { certificate: RotatingCertificate, key: KeyKind },
    /// A certificate in files, as in a volume of Kubernetes.
    Watched { certificate: WatchedCertificate, folder: TempDir, generation: AtomicU64 },
}

impl Holder {
    /// Returns a P-256 certificate that the application replaces.
    pub(crate) fn rotating(emulator: &Emulator) -> Self {
        let first = certificate(&issue(emulator, KeyKind::P256));
        Self::Rotating { certificate: RotatingCertificate::new(first), key: KeyKind::P256 }
    }

    /// Returns an RSA certificate that the application replaces. All later certificates have the same key.
    pub(crate) fn rotating_rsa(emulator: &Emulator) -> Self {
        let first = issue(emulator, KeyKind::Rsa2048);
        let rotating = RotatingCertificate::new(certificate(&first));
        Self::Rotating { certificate: rotating, key: KeyKind::Existing(first.key_pem) }
    }

    /// Returns a P-256 certificate in watched files.
    pub(crate) fn watched(emulator: &Emulator, clock: FastClock) -> Self {
        let folder = TempDir::new().unwrap();
        write(&folder, 0, &issue(emulator, KeyKind::P256)).unwrap();
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), folder.path().join(name)).unwrap();
        }
        let watch = WatchedCertificate::directory(folder.path()).with_clock(clock);
        let certificate = watch.poll_every(Duration::from_secs(2)).start().unwrap();
        Self::Watched { certificate, folder, generation: AtomicU64::new(0) }
    }

    /// Returns the thumbprint of the certificate in use.
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        match self {
            Self::Rotating { certificate, .. } => certificate.current_thumbprint(),
            Self::Watched { certificate, .. } => certificate.current_thumbprint(),
        }
    }

    /// Replaces the certificate, and waits until the client uses the new certificate.
    ///
    /// # Errors
    /// A text if a watched certificate cannot be written, or is not in use in time.
    async fn replace(&self, emulator: &Emulator) -> Result<Thumbprint, String> {
        match self {
            Self::Rotating { certificate: rotating, key } => {
                let next = certificate(&issue(emulator, key.clone()));
                let thumbprint = next.thumbprint();
                rotating.rotate(next);
                Ok(thumbprint)
            }
            Self::Watched { folder, generation, .. } => {
                let next = issue(emulator, KeyKind::P256);
                let thumbprint = Thumbprint::of_der(next.leaf_der());
                let number = generation.fetch_add(1, Ordering::Relaxed) + 1;
                write(folder, number, &next)
                    .map_err(|error| format!("cannot write a certificate: {error}"))?;
                let noticed = async {
                    while self.thumbprint() != thumbprint {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                match tokio::time::timeout(NOTICED, noticed).await {
                    Ok(()) => Ok(thumbprint),
                    Err(_) => Err(format!("a watched certificate was not read within {NOTICED:?}")),
                }
            }
        }
    }
}

/// After each wait of one to three seconds, chooses a random client. If the client has a certificate that can be
/// rotated, the function replaces this certificate.
pub(crate) async fn rotate(
    mut chance: Chance,
    emulator: Arc<Emulator>,
    subjects: Arc<Vec<Subject>>,
    oracle: Arc<Oracle>,
) {
    loop {
        tokio::time::sleep(chance.milliseconds(1_000..3_000)).await;
        let at = usize::try_from(chance.among(0..subjects.len() as u64)).unwrap_or(0);
        let Some(holder) = &subjects[at].certificate else { continue };
        match holder.replace(&emulator).await {
            Ok(thumbprint) => oracle.rotated(at, thumbprint),
            Err(problem) => oracle.violated(format!("{}: {problem}", subjects[at].name)),
        }
    }
}

fn issue(emulator: &Emulator, key: KeyKind) -> ClientIdentity {
    emulator.issue_client_certificate(&IssueOptions::new(CLIENT_COMMON_NAME).with_key(key)).unwrap()
}

fn certificate(identity: &ClientIdentity) -> BindingCertificate {
    BindingCertificate::from_pem(identity.bundle_pem().as_bytes()).unwrap()
}

/// Writes a new generation of files and replaces the link to the previous generation in one step, as Kubernetes does.
fn write(folder: &TempDir, number: u64, identity: &ClientIdentity) -> io::Result<()> {
    let name = |number: u64| format!("..generation-{number}");
    let (path, generation) = (folder.path(), folder.path().join(name(number)));
    fs::create_dir(&generation)?;
    fs::write(generation.join("tls.crt"), &identity.certificate_pem)?;
    fs::write(generation.join("tls.key"), &identity.key_pem)?;
    symlink(name(number), path.join("..next"))?;
    fs::rename(path.join("..next"), path.join("..data"))?;
    match number.checked_sub(1) {
        Some(previous) => fs::remove_dir_all(path.join(name(previous))),
        None => Ok(()),
    }
}
