//! PINs: wrong ones, missing ones, and those in files.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use certbound::Secret;
use certbound_pkcs11::{
    KeySpec, OpenToken, Pkcs11Error, Pkcs11Uri, TokenCertificate, TokenKeys, TokenOptions,
};

use crate::hsm::{PIN, isolated};

fn refused(uri: Pkcs11Uri, options: TokenOptions) -> Pkcs11Error {
    OpenToken::open(uri, options).unwrap_err()
}

#[test]
fn a_wrong_pin_is_tried_once_and_never_again() {
    isolated(|hsm| {
        hsm.add_token("other");
        let wrong = || hsm.uri_with("token=app;object=key", "&pin-value=9999-wrong");
        for _ in 0..3 {
            let error = refused(wrong(), TokenOptions::default());
            assert_eq!(error.code(), "pkcs11_pin_refused");
            assert!(!error.is_transient());
            assert!(!format!("{error} {error:?} {:?}", wrong()).contains("9999"), "{error:?}");
        }
        let error = TokenCertificate::open(wrong(), TokenOptions::default()).unwrap_err();
        assert_eq!(error.code(), "pkcs11_pin_refused");
        let error = TokenKeys::open(wrong(), TokenOptions::default()).unwrap_err();
        assert_eq!(error.code(), "pkcs11_pin_refused");
        assert_eq!(hsm.count('L'), 1, "one attempt in the whole process");
        // The same PIN for another token is another attempt, and another PIN for this token too.
        let elsewhere = hsm.uri_with("token=other", "&pin-value=9999-wrong");
        assert_eq!(refused(elsewhere, TokenOptions::default()).code(), "pkcs11_pin_refused");
        assert_eq!(hsm.count('L'), 2);
        OpenToken::open(hsm.uri("token=app"), TokenOptions::default()).unwrap();
        assert_eq!(hsm.count('L'), 3);
    });
}

#[test]
fn many_clients_at_once_send_a_wrong_pin_once() {
    isolated(|hsm| {
        hsm.fault("hang-login", true);
        let codes: Vec<_> = std::thread::scope(|scope| {
            let client = || {
                let wrong = hsm.uri_with("token=app;object=key", "&pin-value=9999-wrong");
                refused(wrong, TokenOptions::default().limit(Duration::from_secs(60))).code()
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
            // Each client has a session, and the login of one of them is under way.
            while hsm.count('O') < 8 || hsm.count('L') == 0 {
                std::thread::yield_now();
            }
            hsm.fault("hang-login", false);
            all.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(codes, ["pkcs11_pin_refused"; 8]);
        assert_eq!(hsm.count('L'), 1);
    });
}

#[test]
fn another_path_of_the_module_does_not_send_the_pin_again() {
    isolated(|hsm| {
        let wrong = "&pin-value=9999-wrong";
        assert_eq!(
            refused(hsm.uri_with("token=app", wrong), TokenOptions::default()).code(),
            "pkcs11_pin_refused"
        );
        let link = hsm.path("link.so");
        std::os::unix::fs::symlink(std::env::var("CERTBOUND_SHIM_MODULE").unwrap(), &link).unwrap();
        let uri =
            Pkcs11Uri::parse(&format!("pkcs11:token=app?module-path={}{wrong}", link.display())).unwrap();
        assert_eq!(refused(uri, TokenOptions::default()).code(), "pkcs11_pin_refused");
        assert_eq!(hsm.count('L'), 1);
    });
}

#[test]
fn a_login_with_an_unknown_result_is_repeated_only_after_a_removal() {
    isolated(|hsm| {
        let error = || refused(hsm.uri("token=app"), TokenOptions::default());
        hsm.fault("login-fails", true);
        let first = error();
        assert_eq!((first.code(), first.is_transient()), ("pkcs11_call_failed", false));
        assert!(first.to_string().contains("FunctionFailed"), "{first}");
        hsm.fault("login-fails", false);
        assert_eq!((error(), hsm.count('L')), (first, 1), "the PIN is not sent again");
        hsm.fault("removed", true);
        assert_eq!(error().code(), "pkcs11_token_not_found");
        hsm.fault("removed", false);
        OpenToken::open(hsm.uri("token=app"), TokenOptions::default()).unwrap();
        assert_eq!(hsm.count('L'), 2);
    });
}

/// A token logs its user out when the last session is closed.
#[test]
fn a_key_that_is_not_found_costs_no_further_login() {
    isolated(|hsm| {
        let options = TokenOptions::default().sessions(1);
        let token = OpenToken::open(hsm.uri("token=app;object=none"), options).unwrap();
        for _ in 0..3 {
            assert_eq!(token.key().unwrap_err().code(), "pkcs11_key_not_found");
        }
        assert_eq!((hsm.count('L'), hsm.count('O')), (1, 1));
    });
}

#[test]
fn the_last_attempt_is_left_to_the_user() {
    isolated(|hsm| {
        hsm.fault("final-try", true);
        let error = refused(hsm.uri("token=app"), TokenOptions::default());
        assert_eq!(error.code(), "pkcs11_pin_locked");
        assert_eq!(hsm.count('L'), 0, "no PIN was tried");
        hsm.fault("final-try", false);
        OpenToken::open(hsm.uri("token=app"), TokenOptions::default()).unwrap();
    });
}

#[test]
fn a_pin_comes_from_the_uri_or_from_a_file_or_from_the_program() {
    isolated(|hsm| {
        let error = refused(hsm.uri_with("token=app", ""), TokenOptions::default());
        assert_eq!((error.code(), hsm.count('L')), ("pkcs11_pin_missing", 0));
        let file = hsm.path("pin");
        let from_file = || hsm.uri_with("token=app", &format!("&pin-source=file:{}", file.display()));
        let mode =
            |mode: u32| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let code = || refused(from_file(), TokenOptions::default()).to_string();
        assert!(code().contains("No such file"), "{}", code());
        std::fs::write(&file, format!("{PIN}\n")).unwrap();
        for open in [0o644, 0o604, 0o660, 0o602] {
            mode(open);
            assert!(code().contains(&format!("{open:03o}")), "{}", code());
        }
        for closed in [0o600, 0o400, 0o440] {
            mode(closed);
            OpenToken::open(from_file(), TokenOptions::default()).unwrap();
        }
        mode(0o600);
        for (content, words) in [(&b"\n"[..], "empty"), (b"\xff", "UTF-8"), (&[b'1'; 5000], "larger")] {
            std::fs::write(&file, content).unwrap();
            assert!(code().contains(words), "{}", code());
        }
        assert!(
            refused(hsm.uri_with("token=app", "&pin-source=/dev/zero"), TokenOptions::default())
                .to_string()
                .contains("regular file")
        );
        let options = TokenOptions::default().pin(Secret::new(PIN));
        OpenToken::open(hsm.uri_with("token=app;object=a", ""), options)
            .unwrap()
            .generate(KeySpec::P256)
            .unwrap();
    });
}
