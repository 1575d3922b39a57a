//! Tests of tokens in a sealed file that processes share, and of damaged files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use certbound::cache::{SealedStore, SealingKey, StoreEntry, StoreKey, TokenStore};
use certbound::state::StateDirectory;
use certbound::{TokenCache, UnixTime};
use certbound_testkit::ManualClock;

use crate::refresh::{NOW, Service, builder, seconds, token};

struct Place {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: ManualClock::at(NOW) }
    }

    fn state(&self) -> StateDirectory {
        StateDirectory::open(self.folder.path().join("tokens")).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("tokens").join(name)
    }

    fn store(&self) -> SealedStore {
        SealedStore::with_key_file(&self.state()).unwrap()
    }
}

fn name(number: u8) -> StoreKey {
    StoreKey::from_bytes([number; 32])
}

fn entry(text: &str, lasts: u64) -> StoreEntry {
    StoreEntry::new(text.as_bytes().to_vec(), NOW.plus(seconds(lasts)))
}

async fn found(store: &SealedStore, number: u8) -> Option<String> {
    let entry = store.load(&name(number)).await.unwrap()?;
    Some(String::from_utf8(entry.expose().to_vec()).unwrap())
}

#[tokio::test]
async fn a_token_is_found_by_the_next_process_and_by_nobody_else() {
    let place = Place::new();
    let service = Service::new(r#""expires_in":3600"#);
    for _ in 0..3 {
        let cache = TokenCache::new().with_store(place.store());
        let client = builder(&place.clock, service.transport()).with_cache(cache.clone()).build().unwrap();
        assert_eq!((token(&client).await.as_str(), service.asked()), ("T1", 1));
        cache.flush().await;
    }
    // Within another namespace the same key has another entry.
    let cache = TokenCache::new().with_store(place.store().within(b"behind a proxy"));
    let client = builder(&place.clock, service.transport()).with_cache(cache).build().unwrap();
    assert_eq!(token(&client).await, "T2");
    for name in ["tokens.sealed", "tokens.key"] {
        let path = place.file(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        let content = fs::read(path).unwrap();
        for secret in [&b"T1"[..], b"Bearer", b"contoso"] {
            // Only the names of the two file formats are readable.
            let visible = content.windows(secret.len()).any(|window| window == secret);
            assert!(!visible || secret.len() < 3, "{name}: {}", String::from_utf8_lossy(secret));
        }
    }
    assert!(!format!("{:?}", place.store()).contains("T1"));
}

/// The caller of the first write may be cancelled; the write continues.
#[tokio::test]
async fn what_was_decided_last_is_what_stays_however_long_the_first_takes() {
    let place = Place::new();
    let store = place.store();
    store.save(&name(0), entry("any", 100)).await.unwrap();
    for round in 1..20 {
        let lock = fs::File::open(place.file("tokens.sealed.lock")).unwrap();
        lock.lock().unwrap();
        let first = tokio::spawn({
            let store = store.clone();
            async move { store.save(&name(round), entry("first", 100)).await }
        });
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        // In most cases this time is enough for the thread to reach the lock.
        for _ in 0..10 {
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
        lock.unlock().unwrap();
        store.save(&name(round), entry("last", 100)).await.unwrap();
    }
    // The late first writes have ended by now, except perhaps the first write of the last round.
    for round in 1..20 {
        assert_eq!(found(&store, round).await.as_deref(), Some("last"), "{round}");
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_changed_anywhere_or_somebody_elses_is_replaced() {
    let place = Place::new();
    let store = place.store();
    store.save(&name(1), entry("one", 100)).await.unwrap();
    let whole = fs::read(place.file("tokens.sealed")).unwrap();
    let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    bad.extend((0..whole.len()).map(|at| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    }));
    bad.push([whole.as_slice(), b"x"].concat());
    bad.push(b"{}".to_vec());
    // This file has the next version.
    bad.push([b"certbound tokens 2\n", &whole[19..]].concat());
    for (number, content) in bad.iter().enumerate() {
        fs::write(place.file("tokens.sealed"), content).unwrap();
        assert_eq!(found(&store, 1).await, None, "{number}");
    }
    // The next write replaces the file.
    store.save(&name(2), entry("two", 100)).await.unwrap();
    assert_eq!((found(&store, 1).await, found(&store, 2).await.as_deref()), (None, Some("two")));
    // A file that was sealed by another key, and an invalid key file, have the same effect.
    for key in [&[7; 32][..], &[7; 31], b""] {
        fs::write(place.file("tokens.key"), key).unwrap();
        let store = place.store();
        assert_eq!(found(&store, 2).await, None);
        store.save(&name(3), entry("three", 100)).await.unwrap();
        assert_eq!(found(&place.store(), 3).await.as_deref(), Some("three"));
    }
    // A key that is kept elsewhere has its own file.
    let own = || SealedStore::with_key(&place.state(), SealingKey::from_bytes([9; 32].into()));
    own().save(&name(4), entry("four", 100)).await.unwrap();
    assert_eq!((found(&own(), 4).await.as_deref(), found(&place.store(), 4).await), (Some("four"), None));
    assert_eq!(found(&place.store(), 3).await.as_deref(), Some("three"));
}

#[tokio::test]
async fn it_is_bounded_and_those_that_end_soonest_go() {
    let place = Place::new();
    let store = place.store();
    for number in 0..200 {
        store.save(&name(number), entry("t", 100 + u64::from(number))).await.unwrap();
    }
    let mut kept = 0;
    for number in 0..200 {
        let is_kept = found(&store, number).await.is_some();
        assert_eq!(is_kept, number >= 72, "{number}: the tokens that expire first are removed first");
        kept += usize::from(is_kept);
    }
    assert_eq!(kept, 128);
    let large = "l".repeat(100 * 1024);
    store.save(&name(201), entry(&large, 9_000)).await.unwrap();
    store.save(&name(202), entry(&large, 9_001)).await.unwrap();
    assert_eq!((found(&store, 201).await.is_some(), found(&store, 202).await.is_some()), (false, true));
    store.remove(&name(202)).await.unwrap();
    assert_eq!(found(&store, 202).await, None);
    store.remove(&name(202)).await.unwrap();
}

/// Expired tokens are not removed early. Otherwise a clock that is wrong for a moment would remove all tokens.
#[tokio::test]
async fn what_seems_to_be_over_stays_until_there_is_no_room() {
    let place = Place::new();
    let store = place.store();
    store.save(&name(1), StoreEntry::new(b"one".to_vec(), UnixTime::from_secs(1))).await.unwrap();
    store.save(&name(2), entry("two", 100)).await.unwrap();
    assert_eq!(found(&store, 1).await.as_deref(), Some("one"));
    for number in 3..=129 {
        store.save(&name(number), entry("t", 200)).await.unwrap();
    }
    assert_eq!((found(&store, 1).await, found(&store, 2).await.as_deref()), (None, Some("two")));
}

/// The failure is reported and counted.
#[tokio::test]
async fn what_could_not_be_written_is_an_error() {
    let place = Place::new();
    let cache = TokenCache::new().with_store(place.store());
    // A folder has the name of the temporary file.
    fs::create_dir(place.file("tokens.sealed.new")).unwrap();
    let error = place.store().save(&name(1), entry("one", 100)).await.unwrap_err();
    assert!(error.to_string().contains("tokens.sealed was not written"), "{error}");
    let service = Service::new(r#""expires_in":3600"#);
    let client = builder(&place.clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    assert_eq!(token(&client).await, "T1");
    cache.flush().await;
    assert_eq!(cache.statistics().store_failures, 1);
}

#[tokio::test]
async fn a_folder_that_was_swapped_is_written_to_no_more() {
    let place = Place::new();
    let store = place.store();
    store.save(&name(1), entry("one", 100)).await.unwrap();
    fs::rename(place.file(""), place.folder.path().join("moved")).unwrap();
    drop(place.state());
    let error = store.save(&name(2), entry("two", 100)).await.unwrap_err();
    assert!(error.to_string().contains("replaced"), "{error}");
    assert!(!place.file("tokens.sealed").exists());
}
