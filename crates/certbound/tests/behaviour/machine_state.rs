//! Tests of a machine's key and certificates in a folder. The next process uses them, and files may be damaged,
//! replaced or shared.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use certbound::ManagedIdentity;
use certbound::error::StateError;
use certbound::managed_identity::{IdentityId, MachineCertificates, SoftwareKeys};
use certbound::state::StateDirectory;
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;
use tempfile::TempDir;

use crate::managed_identity::past_the_cache;
use crate::two_leg::vault;

/// A change of the folder: its description and its code.
type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);

/// Returns the identity of a new process, which has nothing in memory.
fn process(pair: &Pair, folder: &Path) -> ManagedIdentity {
    let state = StateDirectory::open(folder).unwrap();
    pair.managed_identity(IdentityId::System)
        .with_certificates(MachineCertificates::kept_in(&state))
        .with_keys(SoftwareKeys::kept_in(&state))
        .build()
        .unwrap()
}

/// Returns the number of certificates issued since the last call.
fn issued(pair: &Pair) -> usize {
    let journal = pair.emulator().journal();
    pair.emulator().clear_journal();
    journal.iter().filter(|entry| entry.path.ends_with("/issuecredential")).count()
}

/// Returns the path of a folder that does not exist yet.
fn folder() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("state");
    (parent, path)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the path of the certificate's file.
fn certificate(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap()
}

#[tokio::test]
async fn the_next_process_finds_key_and_certificate() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    let first = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!(issued(&pair), 1);
    let second = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!((issued(&pair), second.binding()), (0, first.binding()));

    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    // Another identity with the same key has its own file.
    let user = IdentityId::client_id(builtin::USER_IDENTITY).unwrap();
    let state = StateDirectory::open(&folder).unwrap();
    let keys = SoftwareKeys::kept_in(&state);
    let user = pair.managed_identity(user).with_keys(keys);
    let user = user.with_certificates(MachineCertificates::kept_in(&state)).build().unwrap();
    let token = user.bound_token(&vault()).await.unwrap();
    assert_eq!(issued(&pair), 1);
    let key = |token: &certbound::BoundToken| token.binding().chain().public_key_info().to_vec();
    assert_eq!(key(&token), key(&first));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 6, "three files and their locks");
}

/// The file has the certificate that the caller no longer wants.
#[tokio::test]
async fn a_forced_refresh_as_the_first_call_of_a_process_does_not_use_the_certificate_of_the_file() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    let old = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!(issued(&pair), 1);
    let forced = process(&pair, &folder).bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(past_the_cache(&pair), [true], "the metadata service may return the old one");
    assert_eq!(issued(&pair), 1);
    assert_ne!(forced.binding(), old.binding());
    // The new certificate is in the file.
    let next = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!((issued(&pair), next.binding()), (0, forced.binding()));
    // A certificate that another process wrote meanwhile can be old too.
    let (one, other) = (process(&pair, &folder), process(&pair, &folder));
    one.bound_token(&vault()).await.unwrap();
    let others = other.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(issued(&pair), 1);
    let forced = one.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!((issued(&pair), forced.binding() == others.binding()), (1, false));
}

/// An identity has one certificate under all its names, so the first call by a further name finds it.
#[tokio::test]
async fn a_forced_refresh_by_a_further_name_of_the_identity_replaces_its_certificate() {
    let (pair, certificates) = (Pair::new(), MachineCertificates::new());
    let of = |id| pair.managed_identity(id).with_certificates(certificates.clone()).build().unwrap();
    let old = of(IdentityId::client_id(builtin::USER_IDENTITY).unwrap()).bound_token(&vault()).await.unwrap();
    assert_eq!(issued(&pair), 1);
    let by_object = of(IdentityId::object_id(builtin::USER_IDENTITY_PRINCIPAL).unwrap());
    let forced = by_object.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!((issued(&pair), forced.binding() == old.binding()), (1, false));
}

#[tokio::test]
async fn no_private_key_is_written_unless_it_was_asked_for() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    let state = StateDirectory::open(&folder).unwrap();
    let certificates = MachineCertificates::kept_in(&state);
    let identity = pair.managed_identity(IdentityId::System).with_certificates(certificates);
    identity.with_keys(SoftwareKeys::new()).build().unwrap().bound_token(&vault()).await.unwrap();
    let names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("certificate-")), "{names:?}");
    // A certificate without its key is unusable and is replaced.
    issued(&pair);
    process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!(issued(&pair), 1);
    process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!(issued(&pair), 0);
}

#[tokio::test]
async fn what_is_damaged_or_foreign_is_ignored_and_replaced() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    process(&pair, &folder).bound_token(&vault()).await.unwrap();
    let (file, key) = (certificate(&folder), folder.join("software-key.der"));
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut content = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut content);
        fs::write(&file, content.to_string()).unwrap();
    };
    let truncate = |path: &Path, to: usize| {
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..to.min(content.len() - 1)]).unwrap();
    };
    let become_pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap();
        assert!(made.success() && fs::symlink_metadata(path).unwrap().file_type().is_fifo());
    };
    let become_link = |path: &Path| {
        fs::rename(path, folder.join("elsewhere")).unwrap();
        symlink(folder.join("elsewhere"), path).unwrap();
    };
    let stolen = |name: &str| serde_json::json!(format!("{name}0000-0000-4000-8000-000000000000"));
    let damages: Vec<Change<'_>> = vec![
        ("gone", Box::new(|| fs::remove_file(&file).unwrap())),
        ("empty", Box::new(|| truncate(&file, 0))),
        ("half", Box::new(|| truncate(&file, 300))),
        ("all but the last byte", Box::new(|| truncate(&file, usize::MAX))),
        ("not JSON", Box::new(|| fs::write(&file, [0xff; 40]).unwrap())),
        ("too large", Box::new(|| fs::write(&file, vec![b' '; 70_000]).unwrap())),
        ("a later version", Box::new(|| edit(&|content| content["version"] = 2.into()))),
        ("an unknown member", Box::new(|| edit(&|content| content["more"] = 1.into()))),
        ("another machine", Box::new(|| edit(&|content| content["compute_unit"] = "{}".into()))),
        ("attested", Box::new(|| edit(&|content| content["attested"] = true.into()))),
        ("another client", Box::new(|| edit(&|content| content["credential"]["client_id"] = stolen("aaaa")))),
        ("another tenant", Box::new(|| edit(&|content| content["credential"]["tenant_id"] = stolen("bbbb")))),
        (
            "no certificate",
            Box::new(|| edit(&|content| content["credential"]["certificate"] = "AAAA".into())),
        ),
        (
            "a plain endpoint",
            Box::new(|| {
                edit(&|content| {
                    content["credential"]["mtls_authentication_endpoint"] = "http://x.example".into()
                });
            }),
        ),
        ("read by others", Box::new(|| set_mode(&file, 0o640))),
        ("a link", Box::new(|| become_link(&file))),
        ("a pipe", Box::new(|| become_pipe(&file))),
        ("no key", Box::new(|| fs::remove_file(&key).unwrap())),
        ("half a key", Box::new(|| truncate(&key, 600))),
        ("no key at all", Box::new(|| fs::write(&key, "key").unwrap())),
        ("a key that others read", Box::new(|| set_mode(&key, 0o604))),
        ("a link to a key", Box::new(|| become_link(&key))),
        ("a pipe for a key", Box::new(|| become_pipe(&key))),
    ];
    for (damage, cause) in damages {
        issued(&pair);
        cause();
        let token = process(&pair, &folder).bound_token(&vault()).await.unwrap();
        assert_eq!(issued(&pair), 1, "{damage}");
        let again = process(&pair, &folder).bound_token(&vault()).await.unwrap();
        assert_eq!((issued(&pair), again.binding()), (0, token.binding()), "replaced: {damage}");
        assert_eq!((mode(&file), mode(&key)), (0o600, 0o600), "{damage}");
    }
    // A directory with the name of the file cannot be replaced, so the certificate is in memory only.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    for _ in 0..2 {
        process(&pair, &folder).bound_token(&vault()).await.unwrap();
        assert_eq!(issued(&pair), 1);
    }
}

#[tokio::test]
async fn a_certificate_near_its_end_or_refused_is_replaced_in_the_file() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    let day = Duration::from_secs(24 * 3600);
    let first = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    let old = process(&pair, &folder);
    old.bound_token(&vault()).await.unwrap();
    pair.clock().advance(6 * day + Duration::from_secs(60));
    issued(&pair);
    let second = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_ne!(second.binding(), first.binding());
    assert_eq!(issued(&pair), 1);
    // A process with the old certificate in memory uses the certificate that the other process stored.
    let found = old.bound_token(&vault()).await.unwrap();
    assert_eq!((found.binding(), issued(&pair)), (second.binding(), 0));
    crate::managed_identity::refuse_once(&pair, 1_000_901);
    let third = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_ne!(third.binding(), second.binding());
    let next = process(&pair, &folder).bound_token(&vault()).await.unwrap();
    assert_eq!((next.binding(), issued(&pair)), (third.binding(), 1));
}

#[tokio::test]
async fn a_hundred_tasks_of_many_processes_make_one_certificate() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    let processes: Vec<ManagedIdentity> = (0..5).map(|_| process(&pair, &folder)).collect();
    let vault = vault();
    let all = (0..100).map(|n| {
        let identity = &processes[n % processes.len()];
        async { identity.bound_token(&vault).await.unwrap() }
    });
    let tokens = futures_util::future::join_all(all).await;
    assert!(tokens.windows(2).all(|pair| pair[0].binding() == pair[1].binding()));
    assert_eq!(issued(&pair), 1);
}

#[test]
fn a_folder_that_is_not_ones_own_is_refused() {
    let (_parent, folder) = folder();
    let refused = |path: &Path| {
        let error = StateDirectory::open(path).unwrap_err();
        assert!(error.to_string().contains("state") && error.fix().len() > 10, "{error}");
        error
    };
    let below = folder.join("below");
    assert!(matches!(refused(&below), StateError::Unusable { .. }));
    fs::write(&folder, "").unwrap();
    assert!(matches!(refused(&folder), StateError::NotAFolder { .. }));
    fs::remove_file(&folder).unwrap();
    let own = folder.with_file_name("state-elsewhere");
    StateDirectory::open(&own).unwrap();
    symlink(&own, &folder).unwrap();
    for link in [&folder, &folder.join(""), &folder.join(".")] {
        assert!(matches!(refused(link), StateError::NotAFolder { .. }), "{link:?}");
    }
    for open_to in [0o755, 0o770, 0o701, 0o500] {
        set_mode(&own, open_to);
        match refused(&own) {
            StateError::Mode { mode, .. } => assert_eq!(mode, open_to),
            // The folder cannot be opened at all, except by root.
            StateError::Unusable { .. } => {}
            error => panic!("{error}"),
        }
    }
    set_mode(&own, 0o700);
    // The owner of `/proc` depends on the user who runs the test, but `/proc` never has mode 0700 and this user as
    // owner.
    assert!(matches!(refused(Path::new("/proc")), StateError::Foreign { .. } | StateError::Mode { .. }));
}

#[tokio::test]
async fn a_folder_that_is_swapped_meanwhile_gets_nothing() {
    let (pair, (_parent, folder)) = (Pair::new(), folder());
    let aside = folder.with_file_name("aside");
    let swaps: [Change<'_>; 4] = [
        ("removed", Box::new(|| fs::rename(&folder, &aside).unwrap())),
        (
            "another",
            Box::new(|| {
                fs::rename(&folder, &aside).unwrap();
                StateDirectory::open(&folder).unwrap();
            }),
        ),
        (
            "a link to it",
            Box::new(|| {
                fs::rename(&folder, &aside).unwrap();
                symlink(&aside, &folder).unwrap();
            }),
        ),
        ("opened to others", Box::new(|| set_mode(&folder, 0o755))),
    ];
    for (swap, cause) in swaps {
        let identity = process(&pair, &folder);
        cause();
        issued(&pair);
        let error = identity.bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), "state_directory_unusable", "{swap}: {error}");
        assert_eq!(issued(&pair), 0, "{swap}");
        if swap == "opened to others" {
            set_mode(&folder, 0o700);
        } else {
            assert!(!folder.exists() || fs::read_dir(&folder).unwrap().count() == 0, "{swap}");
            let _ = fs::remove_file(&folder);
            let _ = fs::remove_dir(&folder);
            fs::rename(&aside, &folder).unwrap();
        }
        identity.bound_token(&vault()).await.unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
