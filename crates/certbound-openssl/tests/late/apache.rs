//! Debian's Apache, which requests the certificate by a renegotiation if only a `<Location>` requires it.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use certbound::BindingCertificate;
use certbound::error::TransportError;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Pki, call, certificate, transport};

const MODULES: [&str; 4] = ["mpm_event", "authz_core", "headers", "ssl"];

struct Apache {
    _child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Apache {
    /// Starts Apache. It cannot choose a free port. If another process took the free port in the meantime, the next port
    /// is tried.
    async fn start(pki: &Pki) -> Self {
        for _ in 0..16 {
            let folder = tempfile::tempdir().unwrap();
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let configuration = configuration(pki, folder.path(), address);
            let program =
                ["/usr/sbin/apache2", "/usr/bin/apache2"].into_iter().find(|path| fs::exists(path).unwrap());
            let mut child =
                Command::new(program.expect("Apache is needed: run the tests by `cargo xtask test`"))
                    // Apache runs as one process, because child processes would outlive a killed parent.
                    .args(["-X", "-f", configuration.to_str().unwrap()])
                    .stdin(Stdio::null())
                    .stderr(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()
                    .unwrap();
            let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("start_threads") {
                    // The log must be read on, because Apache would wait for room in the pipe.
                    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
                    return Self { _child: child, address, _folder: folder };
                }
            }
        }
        panic!("no port is free, or Apache does not start");
    }
}

fn configuration(pki: &Pki, folder: &std::path::Path, address: SocketAddr) -> std::path::PathBuf {
    let (chain, key) = pki.issue("localhost");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::create_dir(folder.join("secrets")).unwrap();
    for (name, text) in [
        ("server.pem", &chain[..]),
        ("server.key", &key[..]),
        ("ca.pem", &pki.ca_pem[..]),
        ("secrets/demo", "the secret of Apache"),
    ] {
        write(name, text);
    }
    // If root starts Apache, its threads have the user of `User`.
    for path in ["", "secrets"] {
        fs::set_permissions(folder.join(path), Permissions::from_mode(0o755)).unwrap();
    }
    let modules =
        MODULES.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let path = folder.display();
    write(
        "apache.conf",
        &format!(
            "ServerName localhost\nServerRoot {path}\nPidFile {path}/apache.pid\nMutex file:{path}\n\
             ErrorLog /dev/stderr\nLogLevel warn mpm_event:debug\nUser www-data\nGroup www-data\n\
             Listen {address}\n{}DocumentRoot {path}\n\
             SSLEngine on\nSSLProtocol -all +TLSv1.2\nSSLSessionCache none\nSSLSessionTickets off\n\
             SSLCertificateFile {path}/server.pem\nSSLCertificateKeyFile {path}/server.key\n\
             SSLCACertificateFile {path}/ca.pem\n\
             <Location /secrets>\nSSLVerifyClient require\nRequire all granted\n\
             Header always set X-Subject \"%{{SSL_CLIENT_S_DN}}s\"\n</Location>\n",
            modules.concat()
        ),
    );
    folder.join("apache.conf")
}

#[tokio::test]
async fn apache_gets_the_certificate_late_and_refuses_a_certificate_that_it_does_not_trust() {
    let pki = Pki::new();
    let apache = Apache::start(&pki).await;
    let (chain, key) = pki.issue("the-client");
    let trusted = BindingCertificate::from_pem_pair(chain.as_bytes(), key.as_bytes()).unwrap();
    let answer = call(&transport(&pki), apache.address, &trusted).await.unwrap();
    assert_eq!(answer.response.status(), 200);
    assert_eq!(answer.response.body(), "the secret of Apache");
    let subject = answer.response.headers()["x-subject"].to_str().unwrap();
    assert!(subject.contains("CN=rcgen self signed cert"), "{subject}");
    assert_eq!(answer.tls.presented, Some(trusted.thumbprint()));

    let error = call(&transport(&pki), apache.address, &certificate()).await.unwrap_err();
    let error = error.or_certificate_refused();
    assert!(matches!(error, TransportError::CertificateRefused { .. }), "{error:?}");
}
