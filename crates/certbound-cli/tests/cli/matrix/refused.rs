//! The rows that the command line refuses.

use std::path::Path;

use crate::support::{APP, TENANT, VAULT, certbound, refusal, root};

/// Returns the exit code and the error code of a row's command. There is no network, so nothing can be sent.
pub(super) fn code(row: u8) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (blank, jwt) = (file("blank", " \n"), file("jwt", "J.J.J"));
    let certificate = |name: &str| {
        let path = root().join("testdata/certificates").join(name);
        assert!(Path::new(&path).is_file());
        path.into_os_string().into_string().unwrap()
    };
    let whole = certificate("rsa.bundle.pem");
    let (alone, short, short_key) =
        (certificate("rsa.pem"), certificate("rsa1024.pem"), certificate("rsa1024.pkcs8.pem"));
    let args: Vec<&str> = match row {
        2 => vec!["token", "--client-secret-env", "SECRET"],
        6 => vec!["token", "--bearer", "--assertion-file", &blank],
        7 => vec!["token", "--assertion-file", &jwt],
        12 => vec!["exchange", "--assertion-file", &blank, "--certificate", &whole],
        19 => vec!["token", "--certificate", &alone],
        20 => vec!["token", "--certificate", &short, "--certificate-key", &short_key],
        23 => vec!["token", "--bearer", "--bearer-over-mtls", "--client-secret-env", "SECRET"],
        24 => vec!["token"],
        25 => {
            vec!["token", "--certificate", &whole, "--authority", "https://login.microsoftonline.com/common"]
        }
        26 => vec!["token", "--certificate", &whole, "--authority", "https://sts.windows.net"],
        other => panic!("no command for row {other}"),
    };
    let mut command = certbound();
    command.env("HTTPS_PROXY", crate::support::NOWHERE).env("SECRET", "S");
    command.args(args).args(["-o", "json", "--scope", VAULT, "--client-id", APP]);
    if row != 25 {
        command.args(["--tenant", TENANT]);
    }
    refusal(&command.output().unwrap())
}
