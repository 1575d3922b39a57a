//! Tests of a store of the cache. The cache reads the store first and checks its entries, and failures of the store do
//! not affect callers.

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound::cache::{Source, StoreEntry, StoreError, StoreKey, TokenStore};
use certbound::clock::Clock as _;
use certbound::credential::BySecret;
use certbound::token::TokenHash;
use certbound::{Client, Cloud, ResourceScope, Secret, TokenCache};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, TokenForm};
use certbound_testkit::{ManualClock, Pair};

use crate::overlap::OneByOne;
use crate::refresh::{NOW, Service, builder, seconds, token};
use crate::two_leg::vault;

#[derive(Default)]
pub(crate) struct Shared {
    entries: Mutex<HashMap<StoreKey, StoreEntry>>,
    mood: Mutex<Mood>,
    /// Whether each write takes a second.
    slow_to_save: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mood {
    #[default]
    Well,
    Fails,
    Hangs,
    Panics,
}

impl Shared {
    async fn mood(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Fails => Err(StoreError::new("no disk")),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("a panic on demand"),
        }
    }

    fn only(&self) -> (StoreKey, StoreEntry) {
        let entries = self.entries.lock().unwrap();
        assert_eq!(entries.len(), 1);
        let (key, entry) = entries.iter().next().unwrap();
        (*key, entry.clone())
    }

    fn put(&self, key: StoreKey, bytes: &[u8]) {
        let entry = StoreEntry::new(bytes.to_vec(), NOW);
        self.entries.lock().unwrap().insert(key, entry);
    }
}

impl TokenStore for Shared {
    async fn load(&self, key: &StoreKey) -> Result<Option<StoreEntry>, StoreError> {
        self.mood().await?;
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }

    async fn save(&self, key: &StoreKey, entry: StoreEntry) -> Result<(), StoreError> {
        self.mood().await?;
        if self.slow_to_save.load(Ordering::SeqCst) {
            tokio::time::sleep(seconds(1)).await;
        }
        self.entries.lock().unwrap().insert(*key, entry);
        Ok(())
    }

    async fn remove(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.mood().await?;
        self.entries.lock().unwrap().remove(key);
        Ok(())
    }
}

/// Returns a client with an empty memory, like a new process.
fn process(clock: &ManualClock, service: &Service, store: &Arc<Shared>) -> (Client<BySecret>, TokenCache) {
    let cache = TokenCache::new().with_store(Arc::clone(store));
    (builder(clock, service.transport()).with_cache(cache.clone()).build().unwrap(), cache)
}

/// Returns a token after the store has received it completely.
async fn fetched(clock: &ManualClock, service: &Service, store: &Arc<Shared>) -> String {
    let (client, cache) = process(clock, service, store);
    let token = token(&client).await;
    cache.flush().await;
    token
}

fn hour() -> (ManualClock, Service, Arc<Shared>) {
    (ManualClock::at(NOW), Service::new(r#""expires_in":3600,"refresh_in":1800,"more":"x""#), Arc::default())
}

#[tokio::test]
async fn what_one_process_fetched_the_next_one_finds() {
    let (clock, service, store) = hour();
    let (first, cache) = process(&clock, &service, &store);
    let fetched = first.bearer_token(&vault()).await.unwrap();
    cache.flush().await;
    let (second, cache) = process(&clock, &service, &store);
    let found = second.bearer_token(&vault()).await.unwrap();
    assert_eq!((found.secret().expose(), service.asked()), (fetched.secret().expose(), 1));
    assert_eq!(found.expires_at(), fetched.expires_at());
    let (mut fetched, found) = (fetched.details(), found.details());
    assert_eq!((fetched.source, found.source), (Source::Service, Source::Store));
    // Everything except the source is the same. A store does not contain the region outcome.
    (fetched.source, fetched.legs, fetched.region_outcome) = (Source::Store, Vec::new(), None);
    fetched.in_http = found.in_http;
    assert_eq!(fetched, found);
    assert_eq!(found.additional.get("more").unwrap(), "x");
    // The token is now in memory.
    assert_eq!(second.bearer_token(&vault()).await.unwrap().details().source, Source::Cache);
    let statistics = cache.statistics();
    assert_eq!((statistics.from_store, statistics.misses, statistics.hits), (1, 1, 1));
    // The debug output of the entry and of its name contains no secret.
    let (key, entry) = store.only();
    // The times in it contain `T1` too.
    assert!(!format!("{entry:?} {key:?}").contains("\"T1\"") && format!("{entry:?}").contains("<redacted"));
}

#[tokio::test]
async fn a_bound_token_comes_back_with_its_certificate_and_for_no_other() {
    let pair = Pair::new();
    let store = Arc::<Shared>::default();
    let fetch = async |certificate| {
        let cache = TokenCache::new().with_store(Arc::clone(&store));
        let client = pair.builder(builtin::APP).with_cache(cache.clone());
        let client = client.with_certificate(certificate).build().unwrap();
        let token = client.bound_token(&vault()).await.unwrap();
        cache.flush().await;
        token
    };
    let first = fetch(pair.certificate()).await;
    let again = fetch(pair.certificate()).await;
    assert_eq!((again.secret().expose(), again.binding()), (first.secret().expose(), first.binding()));
    assert!(again.details().source == Source::Store && again.details().binding_observed);
    let other = fetch(pair.other_certificate()).await;
    assert_eq!(other.details().source, Source::Service);

    // Here the entry of one certificate has the name of the other certificate. The content shows the difference, even
    // if the name in the content is changed too.
    let entries = store.entries.lock().unwrap().clone();
    let [(one, entry), (two, _)] = entries.iter().collect::<Vec<_>>()[..] else { panic!("{entries:?}") };
    let renamed =
        String::from_utf8(entry.expose().to_vec()).unwrap().replace(&one.to_string(), &two.to_string());
    for forged in [entry.expose(), renamed.as_bytes()] {
        store.entries.lock().unwrap().clear();
        store.put(*two, forged);
        for certificate in [pair.certificate(), pair.other_certificate()] {
            let token = fetch(certificate).await;
            assert_eq!(token.details().source, Source::Service);
        }
    }
}

/// A stored token is checked like an answer of the service. A JWT must name the certificate, and an unreadable token is
/// not returned to a client that requires an observed binding.
#[tokio::test]
async fn a_kept_token_whose_binding_is_not_seen_is_no_better_than_a_fetched_one() {
    let pair = Pair::new();
    let store = Arc::<Shared>::default();
    let fetch = async |demands: bool, form: Option<TokenForm>| {
        if let Some(form) = form {
            pair.emulator().add_fault(Fault::once(Condition::any(), FaultResult::TokenForm(form)));
        }
        let cache = TokenCache::new().with_store(Arc::clone(&store));
        let mut builder = pair.builder(builtin::APP).with_cache(cache.clone());
        if demands {
            builder = builder.require_observed_binding();
        }
        let client = builder.with_certificate(pair.certificate()).build().unwrap();
        let details = client.bound_token(&vault()).await.unwrap().details();
        cache.flush().await;
        pair.emulator().clear_faults();
        (details.source, details.binding_observed)
    };
    fetch(true, None).await;
    let (demanding, seen) = store.only();
    store.entries.lock().unwrap().clear();
    assert_eq!(fetch(false, Some(TokenForm::Opaque)).await, (Source::Service, false));
    let (other, unseen) = store.only();
    assert_ne!(demanding, other, "a client that requires an observed binding has its own entries");
    assert_eq!(fetch(false, None).await, (Source::Store, false));

    let renamed = |entry: &StoreEntry, from: &StoreKey, to: &StoreKey| {
        let text = String::from_utf8(entry.expose().to_vec()).unwrap();
        store.entries.lock().unwrap().clear();
        store.put(*to, text.replace(&from.to_string(), &to.to_string()).as_bytes());
    };
    renamed(&unseen, &other, &demanding);
    assert_eq!(fetch(true, None).await, (Source::Service, true));
    renamed(&seen, &demanding, &other);
    assert_eq!(fetch(false, None).await, (Source::Store, true));

    // This token has no `cnf`, and its entry has the correct name.
    let text = String::from_utf8(seen.expose().to_vec()).unwrap();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    let token = read["token"].as_str().unwrap();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let mut claims: serde_json::Map<_, _> = serde_json::from_slice(&payload).unwrap();
    claims.remove("cnf").unwrap();
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_string(&claims).unwrap());
    store.put(demanding, text.replace(token, &format!("{header}.{payload}.{signature}")).as_bytes());
    assert_eq!(fetch(true, None).await, (Source::Service, true));
}

/// Each entry is ignored and replaced by the service's answer.
#[tokio::test]
async fn a_damaged_or_foreign_entry_is_not_used() {
    let (clock, service, store) = hour();
    fetched(&clock, &service, &store).await;
    let (key, entry) = store.only();
    let text = String::from_utf8(entry.expose().to_vec()).unwrap();
    let change = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        text.replace(from, to)
    };
    let mut bad: Vec<Vec<u8>> = (0..text.len()).map(|length| text.as_bytes()[..length].to_vec()).collect();
    bad.extend([
        change(r#""version":2"#, r#""version":1"#).into_bytes(),
        change(r#""version":2"#, r#""version":2,"new":true"#).into_bytes(),
        change(r#""T1""#, r#""""#).into_bytes(),
        change(r#""T1""#, "null").into_bytes(),
        change(r#""T1""#, r#""T\n1""#).into_bytes(),
        change(r#""T1""#, r#""T\u001b[2J""#).into_bytes(),
        change(r#""Bearer""#, r#""mtls_pop""#).into_bytes(),
        change(r#""expires_at":1785003600"#, r#""expires_at":1784999999"#).into_bytes(),
        change(r#""expires_at":1785003600"#, r#""expires_at":-1"#).into_bytes(),
        change(r#""from":1785000000"#, r#""from":1785000301"#).into_bytes(),
        change(&key.to_string(), &key.to_string().to_uppercase()).into_bytes(),
        [text.as_bytes(), b"x"].concat(),
        vec![0xFF; 100],
    ]);
    for (number, bytes) in bad.into_iter().enumerate() {
        store.put(key, &bytes);
        let asked = service.asked();
        let (client, cache) = process(&clock, &service, &store);
        let found = client.bearer_token(&vault()).await.unwrap();
        assert_eq!((found.details().source, service.asked()), (Source::Service, asked + 1), "{number}");
        cache.flush().await;
    }
    // The unchanged entry is used.
    store.put(key, text.as_bytes());
    let found = process(&clock, &service, &store).0.bearer_token(&vault()).await.unwrap();
    assert_eq!((found.details().source, found.secret().expose()), (Source::Store, "T1"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_hangs_or_panics_is_passed_by() {
    for mood in [Mood::Fails, Mood::Hangs, Mood::Panics] {
        let (clock, service, store) = hour();
        let (client, cache) = process(&clock, &service, &store);
        *store.mood.lock().unwrap() = mood;
        assert_eq!(
            (token(&client).await, token(&client).await),
            ("T1".to_owned(), "T1".to_owned()),
            "{mood:?}"
        );
        cache.flush().await;
        assert_eq!((cache.statistics().store_failures, service.asked()), (2, 1), "{mood:?}");
        assert!(store.entries.lock().unwrap().is_empty());
    }
}

/// However many tokens wait for a slow store, one task writes them.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_collects_no_tasks() {
    let (clock, service, store) = hour();
    let (client, _cache) = process(&clock, &service, &store);
    *store.mood.lock().unwrap() = Mood::Hangs;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for path in 0..50 {
        client.bearer_token(&vault()).fmi_path(path.to_string()).force_refresh().await.unwrap();
    }
    assert!(alive() < before + 5, "{} tasks, and {before} before", alive());
}

/// A runtime that does not run its task does not prevent another runtime from writing.
#[test]
fn a_store_is_written_by_each_runtime_that_runs() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (still, running) = (runtime(), runtime());
    let (clock, service, store) = hour();
    let (client, cache) = process(&clock, &service, &store);
    running.block_on(async { client.bearer_token(&vault()).await.unwrap() });
    running.block_on(cache.flush());
    {
        // The task that removes the token belongs to a runtime that never runs.
        let _entered = still.enter();
        let scope = vault();
        let mut forget = pin!(client.bearer_token(&scope).forget());
        assert!(forget.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    assert_eq!(store.entries.lock().unwrap().len(), 1);
    running.block_on(async {
        client.bearer_token(&vault()).fmi_path("other").await.unwrap();
        client.bearer_token(&vault()).fmi_path("one more").await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(
        store.entries.lock().unwrap().len(),
        2,
        "one token was removed, and the two other tokens are saved"
    );
}

/// A caller that waits for a token does not wait for a disk.
#[tokio::test(start_paused = true)]
async fn a_token_is_served_before_it_is_saved_and_saved_in_order() {
    let (clock, service, store) = hour();
    let (client, cache) = process(&clock, &service, &store);
    store.slow_to_save.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    for number in 1..=5 {
        let token = client.bearer_token(&vault()).force_refresh().await.unwrap();
        assert_eq!(token.secret().expose(), format!("T{number}"));
        tokio::task::yield_now().await;
    }
    assert_eq!(began.elapsed(), seconds(0));
    assert!(store.entries.lock().unwrap().is_empty());
    // The client may be dropped. The store gets its last token, and the tokens in between are skipped.
    drop(client);
    cache.flush().await;
    assert_eq!(began.elapsed(), seconds(2), "only the first token and the last token are saved");
    assert_eq!(fetched(&clock, &service, &store).await, "T5");
    // Without `flush` the result is the same.
    let (client, cache) = process(&clock, &service, &store);
    client.bearer_token(&vault()).force_refresh().await.unwrap();
    drop((client, cache));
    tokio::time::sleep(seconds(2)).await;
    assert_eq!((fetched(&clock, &service, &store).await.as_str(), service.asked()), ("T6", 6));
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_given_up_loses_nothing_and_one_of_a_store_that_hangs_ends() {
    let (clock, service, store) = hour();
    let (client, cache) = process(&clock, &service, &store);
    store.slow_to_save.store(true, Ordering::SeqCst);
    token(&client).await;
    assert!(tokio::time::timeout(seconds(0), cache.flush()).await.is_err());
    assert!(store.entries.lock().unwrap().is_empty());
    cache.flush().await;
    assert_eq!(fetched(&clock, &service, &store).await, "T1");
    *store.mood.lock().unwrap() = Mood::Hangs;
    for path in 0..20 {
        client.bearer_token(&vault()).fmi_path(path.to_string()).force_refresh().await.unwrap();
    }
    let began = tokio::time::Instant::now();
    cache.flush().await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

/// A forgotten token is not found, neither before the store has removed it nor if the removal fails.
#[tokio::test(start_paused = true)]
async fn a_forgotten_token_is_not_taken_from_a_store_that_fails_to_drop_it() {
    let (clock, service, store) = hour();
    fetched(&clock, &service, &store).await;
    let (client, cache) = process(&clock, &service, &store);
    assert_eq!(client.bearer_token(&vault()).await.unwrap().details().source, Source::Store);
    *store.mood.lock().unwrap() = Mood::Fails;
    assert!(client.bearer_token(&vault()).forget().await.unwrap());
    cache.flush().await;
    *store.mood.lock().unwrap() = Mood::Well;
    store.slow_to_save.store(true, Ordering::SeqCst);
    assert_eq!(store.entries.lock().unwrap().len(), 1);
    clock.advance(seconds(1));
    assert_eq!((token(&client).await.as_str(), service.asked()), ("T2", 2));
    cache.flush().await;
    // If more tokens are forgotten than the limit, older entries of the store are not used. Newer entries are used.
    for path in 0..10_002 {
        client.bearer_token(&vault()).fmi_path(path.to_string()).forget().await.unwrap();
    }
    cache.flush().await;
    let old = process(&clock, &service, &store).0;
    assert_eq!(old.bearer_token(&vault()).await.unwrap().details().source, Source::Store);
    cache.clear();
    assert_eq!(client.bearer_token(&vault()).await.unwrap().details().source, Source::Service);
    cache.flush().await;
    cache.clear();
    clock.advance(seconds(1));
    client.bearer_token(&vault()).force_refresh().await.unwrap();
    cache.flush().await;
    cache.clear();
    assert_eq!(client.bearer_token(&vault()).await.unwrap().details().source, Source::Store);
}

#[tokio::test]
async fn who_wants_a_new_token_is_not_given_the_store_s() {
    let (clock, service, store) = hour();
    assert_eq!(fetched(&clock, &service, &store).await, "T1");
    let (client, cache) = process(&clock, &service, &store);
    let claims = r#"{"access_token":{"acrs":{"value":"c1"}}}"#;
    let forced = client.bearer_token(&vault()).force_refresh().await.unwrap();
    let challenged = client.bearer_token(&vault()).claims(claims).await.unwrap();
    assert_eq!((forced.secret().expose(), challenged.secret().expose()), ("T2", "T3"));
    cache.flush().await;
    // A stored token that was rejected is not returned again. A newer token of another process is returned.
    let (client, cache) = process(&clock, &service, &store);
    let third = TokenHash::of(&Secret::new("T3"));
    assert_eq!(client.bearer_token(&vault()).rejected(third).await.unwrap().secret().expose(), "T4");
    cache.flush().await;
    let (client, cache) = process(&clock, &service, &store);
    let fourth = client.bearer_token(&vault()).rejected(third).await.unwrap();
    assert_eq!((fourth.secret().expose(), fourth.details().source), ("T4", Source::Store));
    // `forget` removes the token from the store too.
    assert!(client.bearer_token(&vault()).forget().await.unwrap());
    cache.flush().await;
    assert!(store.entries.lock().unwrap().is_empty());
    assert_eq!(token(&client).await, "T5");
    let graph = ResourceScope::graph(Cloud::Public);
    assert!(!client.bearer_token(&graph).forget().await.unwrap());
}

#[tokio::test]
async fn a_token_in_its_last_minutes_is_kept_for_an_outage() {
    let (clock, service, store) = hour();
    assert_eq!(fetched(&clock, &service, &store).await, "T1");
    clock.advance(seconds(3_400));
    service.away.store(true, Ordering::SeqCst);
    let (client, _) = process(&clock, &service, &store);
    assert_eq!((token(&client).await, service.asked()), ("T1".to_owned(), 2));
    clock.advance(seconds(200));
    assert!(process(&clock, &service, &store).0.bearer_token(&vault()).await.unwrap_err().is_transient());
    service.away.store(false, Ordering::SeqCst);
    assert_eq!(fetched(&clock, &service, &store).await, "T4");
}

/// The older token is in the store only, and the service does not answer.
#[tokio::test(start_paused = true)]
async fn a_token_of_the_store_in_its_last_minutes_is_returned_after_two_seconds() {
    let (clock, service, store) = hour();
    assert_eq!(fetched(&clock, &service, &store).await, "T1");
    clock.advance(seconds(3_400));
    let began = clock.now();
    // This service never answers.
    let cache = TokenCache::new().with_store(Arc::clone(&store));
    let client = builder(&clock, OneByOne::default()).with_cache(cache).build().unwrap();
    let returned = tokio::time::timeout(seconds(60), token(&client)).await;
    assert_eq!(returned.expect("the caller does not wait for the service"), "T1");
    assert_eq!(clock.now(), began.plus(seconds(2)));
}

#[tokio::test]
async fn without_memory_each_acquisition_asks_the_store() {
    let (clock, service, store) = hour();
    let cache = TokenCache::none().with_store(Arc::clone(&store));
    let client = builder(&clock, service.transport()).with_cache(cache.clone()).build().unwrap();
    for source in [Source::Service, Source::Store, Source::Store] {
        assert_eq!(client.bearer_token(&vault()).await.unwrap().details().source, source);
    }
    assert!(cache.is_empty() && service.asked() == 1);
}

/// A caller that rejects a token must not get an older token; the store may be out of date.
#[tokio::test]
async fn a_token_of_the_store_that_is_older_than_the_rejected_one_is_not_used() {
    let (clock, service, store) = hour();
    let (client, cache) = process(&clock, &service, &store);
    token(&client).await;
    cache.flush().await;
    let (key, first) = store.only();
    clock.advance(seconds(10));
    assert_eq!(client.bearer_token(&vault()).force_refresh().await.unwrap().secret().expose(), "T2");
    cache.flush().await;
    store.put(key, first.expose());
    let second = TokenHash::of(&Secret::new("T2"));
    assert_eq!(client.bearer_token(&vault()).rejected(second).await.unwrap().secret().expose(), "T3");
    // A newer token of another process is used and cached.
    clock.advance(seconds(10));
    cache.flush().await;
    let (other, others) = process(&clock, &service, &store);
    assert_eq!(other.bearer_token(&vault()).force_refresh().await.unwrap().secret().expose(), "T4");
    others.flush().await;
    let third = TokenHash::of(&Secret::new("T3"));
    let found = client.bearer_token(&vault()).rejected(third).await.unwrap();
    assert_eq!((found.secret().expose(), found.details().source), ("T4", Source::Store));
    assert_eq!((token(&client).await.as_str(), service.asked()), ("T4", 4));
}

/// Every user of a store can see the names of entries, and a short secret can be guessed from its hash.
#[tokio::test]
async fn what_another_secret_got_is_not_used_though_its_name_does_not_tell() {
    let (clock, service, store) = hour();
    let by = async |secret: &str| {
        let cache = TokenCache::new().with_store(Arc::clone(&store));
        let builder = Client::builder(Pair::new().authority(), builtin::APP).with_clock(clock.clone());
        let builder = builder.with_transport(service.transport()).with_cache(cache.clone());
        let client = builder.with_secret(Secret::new(secret)).build().unwrap();
        let token = client.bearer_token(&vault()).await.unwrap();
        cache.flush().await;
        token.secret().expose().to_owned()
    };
    assert_eq!((by("one").await, by("one").await), ("T1".to_owned(), "T1".to_owned()));
    let (name, _) = store.only();
    assert_eq!((by("other").await, by("other").await), ("T2".to_owned(), "T2".to_owned()));
    assert_eq!(store.only().0, name);
    assert_eq!(by("one").await, "T3");
    // A wrong secret does not remove the entry.
    service.away.store(true, Ordering::SeqCst);
    let cache = TokenCache::new().with_store(Arc::clone(&store));
    let builder = Client::builder(Pair::new().authority(), builtin::APP).with_clock(clock.clone());
    let builder = builder.with_transport(service.transport()).with_cache(cache.clone());
    let wrong = builder.with_secret(Secret::new("wrong")).build().unwrap();
    assert!(wrong.bearer_token(&vault()).await.is_err());
    cache.flush().await;
    assert_eq!(by("one").await, "T3");
}

/// No later process can find this token.
#[tokio::test]
async fn a_token_of_nobody_knows_whom_is_not_written_down() {
    let (clock, service, store) = hour();
    let by = async |app: &str| {
        let cache = TokenCache::new().with_store(Arc::clone(&store));
        let builder = Client::builder(Pair::new().authority(), app).with_clock(clock.clone());
        let builder = builder.with_transport(service.transport()).with_cache(cache.clone());
        let provider =
            certbound::credential::unbound_fn(|_| async { Ok::<_, StoreError>(Secret::new("J.J.J")) });
        let client = builder.with_unbound_assertions(provider).build().unwrap();
        client.bearer_token(&vault()).await.unwrap();
        assert_eq!(client.bearer_token(&vault()).await.unwrap().details().source, Source::Cache);
        cache.flush().await;
    };
    by("urn:microsoft:identity:fmi").await;
    assert!(store.entries.lock().unwrap().is_empty());
    by(builtin::APP).await;
    store.only();
}

/// A token of another secret is not used either while it is being written and memory is empty.
#[tokio::test(start_paused = true)]
async fn what_another_secret_got_is_not_used_while_it_is_being_written() {
    let (clock, service, store) = hour();
    store.slow_to_save.store(true, Ordering::SeqCst);
    let cache = TokenCache::none().with_store(Arc::clone(&store));
    let by = async |secret: &str| {
        let builder = Client::builder(Pair::new().authority(), builtin::APP).with_clock(clock.clone());
        let builder = builder.with_transport(service.transport()).with_cache(cache.clone());
        let client = builder.with_secret(Secret::new(secret)).build().unwrap();
        client.bearer_token(&vault()).await.unwrap().secret().expose().to_owned()
    };
    assert_eq!((by("one").await, by("one").await), ("T1".to_owned(), "T1".to_owned()));
    assert_eq!(by("other").await, "T2");
}
