//! The keychain of a session: GNOME Keyring, on its own bus.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Emulator, VAULT, json, refusal, stderr};

/// Runs an exchange in a session. `password` unlocks the keychain; without a password the keychain is not changed.
fn in_session(emulator: &Emulator, home: &Path, password: Option<&str>, key: &str) -> Output {
    let daemon = match password {
        Some(password) => {
            format!(
                "printf %s {password} | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1"
            )
        }
        None => "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1".to_owned(),
    };
    let ours = emulator.certbound();
    let mut command = Command::new("dbus-run-session");
    command.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("CERTBOUND_NO_CACHE").env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
    command.args(["--", "sh", "-c", &format!("{daemon}\nexec \"$@\""), "sh"]);
    command.args([env!("CARGO_BIN_EXE_certbound"), "exchange", "--scope", VAULT, "-o", "json"]);
    command.args(["--leg1-certificate", emulator.certificate(), "--cache-key", key]).output().unwrap()
}

#[test]
fn an_unlocked_keychain_keeps_the_key_and_a_locked_one_asks_nobody() {
    let (emulator, home) = (Emulator::start(), tempfile::tempdir().unwrap());
    let home = home.path();
    std::fs::create_dir(home.join("run")).unwrap();
    let cache = home.join(".cache/certbound");
    let run = |password, key| {
        let output = in_session(&emulator, home, password, key);
        assert_eq!(output.status.code(), Some(0), "{key}: {}", stderr(&output));
        json(&output)["fromCache"].as_bool().unwrap()
    };
    assert!(!run(Some("one"), "auto"));
    assert!(cache.join("tokens-by-other-key.sealed").exists() && !cache.join("tokens.key").exists());
    // The next command runs in the next session.
    assert!(run(Some("one"), "auto"));
    assert!(run(Some("one"), "keychain"));
    assert!(!cache.join("tokens.key").exists());

    // If the keychain is locked, the key is in a file, or the command fails.
    let refused = in_session(&emulator, home, None, "keychain");
    assert_eq!(refusal(&refused), (2, "cache_unusable".to_owned()));
    assert!(stderr(&refused).contains("the keychain is locked"), "{}", stderr(&refused));
    assert!(!run(None, "auto"), "the file's key does not decrypt the keychain's tokens");
    assert!(cache.join("tokens.key").exists());
    assert!(run(None, "auto"));
    assert!(run(Some("one"), "keychain"));

    // A new keychain has a new key, which does not decrypt the old file. This is not an error.
    std::fs::remove_dir_all(home.join(".local/share/keyrings")).unwrap();
    assert!(!run(Some("two"), "keychain"));
    assert!(run(Some("two"), "keychain"));
}
