//! Tests of certificates in files that are replaced: used certificates and refused certificates. No request fails
//! because of a rotation.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certbound::cache::Source;
use certbound::certificate::{CertificateEvent, CertificateWatch, WatchError};
use certbound::credential::{ByAssertion, ByCertificate, leg1_fn};
use certbound::resource::CallFacts;
use certbound::retry::RetryPolicy;
use certbound::{
    Client, Cloud, Network, ResourceScope, Thumbprint, TokenCache, UnixTime, WatchedCertificate,
};
use certbound_testkit::Pair;
use certbound_testkit::emulator::journal::MAX_ENTRIES;
use certbound_testkit::emulator::serve::Server;
pub(crate) use certbound_testkit::emulator::world::builtin::APP;
use certbound_testkit::emulator::world::builtin::CLIENT_COMMON_NAME;
use certbound_testkit::emulator::{
    ClientIdentity, Condition, Emulator, Fault, FaultResult, IssueOptions, KeyKind, LegKind, World,
};

use crate::two_leg::vault;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The thread must not poll during a test. It reacts only to file events and to `reload`.
const NEVER: Duration = Duration::from_secs(100_000);

/// A volume as Kubernetes mounts it, whose files are links through `..data`.
struct Volume {
    folder: tempfile::TempDir,
    generation: usize,
}

impl Volume {
    fn new(identity: &ClientIdentity) -> Self {
        let mut volume = Self { folder: tempfile::tempdir().unwrap(), generation: 0 };
        volume.swap(identity);
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), volume.path().join(name)).unwrap();
        }
        volume
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces all files at once, by renaming a new link to the name of the current link.
    fn swap(&mut self, identity: &ClientIdentity) {
        self.generation += 1;
        let next = format!("..generation_{}", self.generation);
        let (folder, link) = (self.path().join(&next), self.path().join("..data_tmp"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tls.crt"), &identity.certificate_pem).unwrap();
        fs::write(folder.join("tls.key"), &identity.key_pem).unwrap();
        symlink(&next, &link).unwrap();
        fs::rename(&link, self.path().join("..data")).unwrap();
        if let Some(before) = self.generation.checked_sub(2).filter(|before| *before > 0) {
            fs::remove_dir_all(self.path().join(format!("..generation_{before}"))).unwrap();
        }
    }
}

/// A file behind a symbolic link. No file event reports its changes, so it is read only when the test calls `reload`.
pub(crate) struct Unseen {
    real: tempfile::TempDir,
    links: tempfile::TempDir,
}

impl Unseen {
    pub(crate) fn new(identity: &ClientIdentity) -> Self {
        let unseen = Self { real: tempfile::tempdir().unwrap(), links: tempfile::tempdir().unwrap() };
        unseen.write(identity.bundle_pem());
        symlink(unseen.file(), unseen.link()).unwrap();
        unseen
    }

    fn file(&self) -> PathBuf {
        self.real.path().join("app.pem")
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.links.path().join("app.pem")
    }

    pub(crate) fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.file(), text).unwrap();
    }

    fn remove(&self) {
        let file = self.file();
        if file.is_dir() {
            fs::remove_dir(file).unwrap()
        } else {
            let _ = fs::remove_file(file);
        }
    }
}

pub(crate) type Events = Arc<Mutex<Vec<CertificateEvent>>>;

pub(crate) fn watched(watch: CertificateWatch, pair: &Pair) -> (WatchedCertificate, Events) {
    let events = Events::default();
    let told = Arc::clone(&events);
    let watch = watch.with_clock(pair.clock().clone()).poll_every(NEVER);
    (watch.on_event(move |event| told.lock().unwrap().push(event.clone())).start().unwrap(), events)
}

pub(crate) fn issue(pair: &Pair) -> ClientIdentity {
    pair.emulator().issue_client_certificate(&IssueOptions::new(CLIENT_COMMON_NAME)).unwrap()
}

fn issued(pair: &Pair, options: &IssueOptions) -> ClientIdentity {
    pair.emulator().issue_client_certificate(options).unwrap()
}

fn thumbprint(identity: &ClientIdentity) -> String {
    certbound_testkit::certificate_of(identity).thumbprint().x5t_s256()
}

fn in_use(watched: &WatchedCertificate) -> String {
    watched.current().thumbprint().x5t_s256()
}

fn clients(
    pair: &Pair,
    watched: &WatchedCertificate,
    cache: &TokenCache,
) -> (Client<ByCertificate>, Client<ByAssertion>) {
    let builder = || pair.builder(APP).with_cache(cache.clone());
    let direct = builder().with_certificate(watched.clone()).build().unwrap();
    let leg1 = builder().with_certificate(watched.clone()).build().unwrap();
    (direct, builder().with_assertions(leg1).build().unwrap())
}

#[tokio::test]
async fn a_new_certificate_is_used_from_then_on_and_each_token_keeps_its_own() {
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
    let (direct, leg2) = clients(&pair, &watched, &TokenCache::new());
    let by_function = {
        let leg1 = pair.builder(APP).with_certificate(watched.clone()).build().unwrap();
        leg1_fn(watched.clone(), move |_| {
            let leg1 = leg1.clone();
            async move { leg1.assertion().await.map(|it| certbound::Secret::new(it.secret().expose())) }
        })
    };
    let by_function = pair.builder(APP).with_assertions(by_function).build().unwrap();
    assert_eq!(in_use(&watched), thumbprint(&first));
    let old = [direct.bound_token(&vault()).await.unwrap(), leg2.bound_token(&vault()).await.unwrap()];

    assert!(!watched.reload().unwrap(), "nothing has changed");
    files.write(second.bundle_pem());
    assert!(watched.reload().unwrap());
    assert!(!watched.reload().unwrap());
    let rotated = CertificateEvent::Rotated {
        from: old[0].binding().thumbprint(),
        to: watched.current().thumbprint(),
        not_after: watched.current().chain().not_after(),
    };
    assert_eq!(*events.lock().unwrap(), [rotated]);
    assert_eq!(direct.binding().thumbprint().x5t_s256(), thumbprint(&second));
    let new = [
        direct.bound_token(&vault()).await.unwrap(),
        leg2.bound_token(&vault()).await.unwrap(),
        by_function.bound_token(&vault()).await.unwrap(),
    ];
    for token in &new {
        assert_eq!(token.details().source, Source::Service);
        assert_eq!(token.binding().thumbprint().x5t_s256(), thumbprint(&second));
    }
    for token in old.iter().chain(&new) {
        let request =
            http::Request::get("https://certbound-demo.vault.azure.net/secrets/demo?api-version=7.4");
        let answer = token.resource().call(request.body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200, "each token is sent with its own certificate");
    }
}

/// A Bearer token does not depend on the certificate that signed the assertion, unless TLS presented it too.
#[tokio::test]
async fn a_bearer_token_outlasts_a_rotation_and_belongs_to_the_client_all_the_same() {
    let pair = Pair::new();
    // Only RSA keys sign assertions.
    let options = || IssueOptions::new(CLIENT_COMMON_NAME).with_key(KeyKind::Rsa2048);
    let [first, second] = [issued(&pair, &options()), issued(&pair, &options())];
    let files = Unseen::new(&first);
    let (watched, _) = watched(WatchedCertificate::file(files.link()), &pair);
    let cache = TokenCache::new();
    let builder = || pair.builder(APP).with_cache(cache.clone());
    let client = builder().with_certificate(watched.clone()).build().unwrap();
    let over_mtls = builder().with_certificate(watched.clone()).bearer_over_mtls().build().unwrap();
    let token = client.bearer_token(&vault()).await.unwrap();
    assert_eq!(over_mtls.bearer_token(&vault()).await.unwrap().details().source, Source::Cache);
    client.bound_token(&vault()).await.unwrap();

    files.write(second.bundle_pem());
    assert!(watched.reload().unwrap());
    let again = client.bearer_token(&vault()).await.unwrap();
    assert_eq!((&again, again.details().source), (&token, Source::Cache));
    // The next two tokens depend on the certificate that TLS presents.
    assert_eq!(client.bound_token(&vault()).await.unwrap().details().source, Source::Service);
    // The manual clock can pass the two seconds of a miss before the assertion is signed. The client then returns the
    // older token and continues its request.
    let mut of_second = over_mtls.bearer_token(&vault()).await.unwrap();
    for _ in 0..100_000 {
        if of_second == token {
            tokio::task::yield_now().await;
            of_second = over_mtls.bearer_token(&vault()).await.unwrap();
        }
    }
    assert_ne!(of_second, token);

    // Clients that began with different certificates share no Bearer token, because the second client may have no right
    // to the first client's token.
    let other = builder().with_certificate(certbound_testkit::certificate_of(&second)).build().unwrap();
    let of_other = other.bearer_token(&vault()).await.unwrap();
    assert_ne!(of_other.secret().expose(), token.secret().expose());
    assert!(client.bearer_token(&vault()).forget().await.unwrap());
    assert_eq!(client.bearer_token(&vault()).await.unwrap().details().source, Source::Service);
}

/// The content that replaces the current certificate.
enum Put<'a> {
    Text(String),
    Directory,
    Loop,
    Nothing,
    Huge,
    Unfit(&'a IssueOptions),
}

#[tokio::test]
async fn what_is_no_good_is_told_once_and_the_present_certificate_stays() {
    let pair = Pair::new();
    let [first, other, next] = [issue(&pair), issue(&pair), issue(&pair)];
    let now = UnixTime::from_secs(1_785_000_000).max(certbound::clock::Clock::now(pair.clock()));
    let over = IssueOptions::new(CLIENT_COMMON_NAME).valid(now.minus(DAY), now.minus(DAY / 2));
    let early = IssueOptions::new(CLIENT_COMMON_NAME).valid(now.plus(DAY / 24), now.plus(DAY));
    let somebody = IssueOptions::new("somebody-else");
    let half = next.bundle_pem()[..next.bundle_pem().len() / 2].to_owned();
    let rows = [
        ("half-written", Put::Text(half), "certificate_pem_invalid"),
        ("empty", Put::Text(String::new()), "certificate_missing"),
        ("without its key", Put::Text(next.certificate_pem.clone()), "cert_without_private_key"),
        (
            "another's key",
            Put::Text(format!("{}{}", next.certificate_pem, other.key_pem)),
            "certificate_key_mismatch",
        ),
        (
            "the current certificate with another key",
            Put::Text(format!("{}{}", first.certificate_pem, other.key_pem)),
            "certificate_key_mismatch",
        ),
        ("the other's key only", Put::Text(other.key_pem.clone()), "certificate_missing"),
        // Root can read every file, but not a link that points to itself.
        ("made unreadable", Put::Loop, "certificate_file_unreadable"),
        ("a directory", Put::Directory, "certificate_file_unreadable"),
        ("deleted", Put::Nothing, "certificate_file_unreadable"),
        ("too large", Put::Huge, "certificate_file_unreadable"),
        ("over", Put::Unfit(&over), "certificate_not_valid_now"),
        ("not yet valid", Put::Unfit(&early), "certificate_not_valid_now"),
        ("somebody else's", Put::Unfit(&somebody), "certificate_other_subject"),
    ];
    for (what, put, code) in rows {
        let files = Unseen::new(&first);
        let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
        let (direct, _) = clients(&pair, &watched, &TokenCache::new());
        files.remove();
        match put {
            Put::Text(text) => files.write(text),
            Put::Directory => fs::create_dir(files.file()).unwrap(),
            Put::Loop => symlink(files.file(), files.file()).unwrap(),
            Put::Nothing => {}
            Put::Huge => files.write(vec![b'-'; 2 * 1024 * 1024]),
            Put::Unfit(options) => files.write(issued(&pair, options).bundle_pem()),
        }
        let error = watched.reload().unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(!format!("{error} {error:?} {}", error.fix()).contains("PRIVATE KEY"), "{what}");
        assert_eq!(watched.reload().as_ref(), Err(&error), "{what}");
        let told = events.lock().unwrap().clone();
        let stays = watched.current().thumbprint();
        assert_eq!(told, [CertificateEvent::Refused { error, in_use: stays }], "{what}: once");
        assert_eq!(in_use(&watched), thumbprint(&first), "{what}");
        direct.bound_token(&vault()).await.unwrap_or_else(|error| panic!("{what}: {error}"));

        files.remove();
        files.write(next.bundle_pem());
        assert!(watched.reload().unwrap(), "{what}: the next valid certificate is used");
        assert_eq!(in_use(&watched), thumbprint(&next), "{what}");
    }
}

#[tokio::test]
async fn a_certificate_whose_time_has_not_come_is_used_when_it_has() {
    let pair = Pair::new();
    let files = Unseen::new(&issue(&pair));
    let (watched, _) = watched(WatchedCertificate::file(files.link()), &pair);
    let now = certbound::clock::Clock::now(pair.clock());
    let early = issued(&pair, &IssueOptions::new(CLIENT_COMMON_NAME).valid(now.plus(DAY), now.plus(2 * DAY)));
    files.write(early.bundle_pem());
    assert!(matches!(watched.reload(), Err(WatchError::NotValid(error)) if !error.is_expired()));
    pair.clock().advance(DAY);
    assert!(watched.reload().unwrap());
    assert_eq!(in_use(&watched), thumbprint(&early));
}

/// The file is read before the issuers are written to it.
#[tokio::test]
async fn a_chain_that_is_completed_is_used_and_no_token_is_lost() {
    let pair = Pair::new();
    let first = issue(&pair);
    // The file begins with the leaf.
    let leaf = first.certificate_pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    let files = Unseen::new(&first);
    files.write(format!("{leaf}{}", first.key_pem));
    let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
    let (direct, leg2) = clients(&pair, &watched, &TokenCache::new());
    let length = |token: &certbound::BoundToken| token.binding().chain().ders().len();
    let kept = direct.bound_token(&vault()).await.unwrap();
    assert_eq!(length(&kept), 1);

    // The service needs the issuers and refuses the certificate.
    files.write(first.bundle_pem());
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), blamed_by(700_027)));
    assert_eq!(length(&leg2.bound_token(&vault()).await.unwrap()), 2);
    let certificate = watched.current().thumbprint();
    let changed = CertificateEvent::IssuersChanged { certificate, issuers: 1 };
    assert_eq!(*events.lock().unwrap(), [changed]);
    let again = direct.bound_token(&vault()).await.unwrap();
    assert_eq!((&again, again.details().source), (&kept, Source::Cache));
    let new = direct.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!((length(&new), new.binding()), (2, kept.binding()));

    // A file that ends after the leaf removes no issuer.
    files.write(format!("{leaf}{}", first.key_pem));
    assert!(!watched.reload().unwrap());
    assert_eq!(watched.current().chain().ders().len(), 2);
    assert_eq!(events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_clock_that_jumps_and_comes_back_costs_no_certificate() {
    let pair = Pair::new();
    let files = Unseen::new(&issue(&pair));
    let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
    let now = certbound::clock::Clock::now(pair.clock());
    let next = issued(&pair, &IssueOptions::new(CLIENT_COMMON_NAME).valid(now, now.plus(DAY)));
    files.write(next.bundle_pem());
    pair.clock().advance(2 * DAY);
    for _ in 0..2 {
        assert!(matches!(watched.reload(), Err(WatchError::NotValid(error)) if error.is_expired()));
    }
    assert_eq!(events.lock().unwrap().len(), 1, "one event");
    pair.clock().set(now);
    assert!(watched.reload().unwrap());
    assert_eq!(in_use(&watched), thumbprint(&next));
}

#[tokio::test]
async fn another_subject_is_used_where_that_is_allowed() {
    let pair = Pair::new();
    let files = Unseen::new(&issue(&pair));
    let (watched, _) = watched(WatchedCertificate::file(files.link()).allow_other_subjects(), &pair);
    files.write(issued(&pair, &IssueOptions::new("renamed")).bundle_pem());
    assert!(watched.reload().unwrap());
}

#[test]
fn there_must_be_a_good_one_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    for watch in [
        WatchedCertificate::file(folder.path().join("none.pem")),
        WatchedCertificate::files(folder.path().join("a"), folder.path().join("b")),
        WatchedCertificate::directory(folder.path()),
    ] {
        assert_eq!(watch.start().unwrap_err().code(), "certificate_file_unreadable");
    }
}

/// Waits for another thread; one minute is far more than it needs.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("this condition was never true: {what}");
}

#[test]
fn changes_are_noticed_of_files_pairs_volumes_and_by_the_poll() {
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let noticed =
        |watched: &WatchedCertificate, what: &str| until(what, || in_use(watched) == thumbprint(&second));

    let mut volume = Volume::new(&first);
    let (by_volume, _) = watched(WatchedCertificate::directory(volume.path()), &pair);
    volume.swap(&second);
    noticed(&by_volume, "a volume");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("chain.pem"), &first.certificate_pem).unwrap();
    fs::write(path("key.pem"), &first.key_pem).unwrap();
    let (by_pair, _) = watched(WatchedCertificate::files(path("chain.pem"), path("key.pem")), &pair);
    fs::write(path("chain.pem"), &second.certificate_pem).unwrap();
    fs::write(path("key.pem"), &second.key_pem).unwrap();
    noticed(&by_pair, "two files");

    fs::write(path("one.pem"), first.bundle_pem()).unwrap();
    let (by_file, _) = watched(WatchedCertificate::file(path("one.pem")), &pair);
    fs::write(path("new.pem"), second.bundle_pem()).unwrap();
    fs::rename(path("new.pem"), path("one.pem")).unwrap();
    noticed(&by_file, "a file, by renaming");

    let unseen = Unseen::new(&first);
    let watch = WatchedCertificate::file(unseen.link()).with_clock(pair.clock().clone());
    let by_poll = watch.poll_every(Duration::ZERO).start().unwrap();
    unseen.write(second.bundle_pem());
    noticed(&by_poll, "a change without a file event");
}

/// A clock that blocks one thread until the test releases it, so that the work of that thread is slow.
#[derive(Clone)]
struct Slow {
    clock: certbound_testkit::ManualClock,
    held: Arc<Mutex<Option<std::thread::ThreadId>>>,
    waits: Arc<AtomicBool>,
}

impl Slow {
    fn of(pair: &Pair) -> Self {
        Self { clock: pair.clock().clone(), held: Arc::default(), waits: Arc::default() }
    }

    fn hold(&self, thread: Option<std::thread::ThreadId>) {
        *self.held.lock().unwrap() = thread;
    }
}

impl certbound::clock::Clock for Slow {
    fn now(&self) -> UnixTime {
        while *self.held.lock().unwrap() == Some(std::thread::current().id()) {
            self.waits.store(true, Ordering::SeqCst);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// Runs code that must not block, in a separate thread.
fn at_once<T: Send + 'static>(what: &str, does: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(does);
    until(what, || thread.is_finished());
    thread.join().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn files_that_take_long_to_read_hold_up_no_acquisition() {
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let slow = Slow::of(&pair);
    let watch = WatchedCertificate::file(files.link()).with_clock(slow.clone()).poll_every(NEVER);
    let watched = watch.start().unwrap();
    let (direct, _) = clients(&pair, &watched, &TokenCache::new());
    files.write(second.bundle_pem());
    let reading = {
        let (watched, slow) = (watched.clone(), slow.clone());
        std::thread::spawn(move || {
            slow.hold(Some(std::thread::current().id()));
            watched.reload()
        })
    };
    until("the files are being read", || slow.waits.load(Ordering::SeqCst));
    // One caller requests a token, and another caller looks for a token of an earlier certificate.
    let away =
        FaultResult::Status { status: 503, body: String::new(), retry_after: None, headers: [].into() };
    pair.emulator().add_fault(Fault { condition: Condition::any(), result: away, count: Some(2) });
    let error = at_once("the error is returned", {
        let direct = direct.clone();
        move || block_on(async { direct.bound_token(&vault()).await }).unwrap_err()
    });
    assert!(error.is_transient(), "{error}");
    let token =
        at_once("the token is returned", move || block_on(async { direct.bound_token(&vault()).await }));
    assert_eq!(token.unwrap().binding().thumbprint().x5t_s256(), thumbprint(&first));
    slow.hold(None);
    assert!(reading.join().unwrap().unwrap());
    assert_eq!(in_use(&watched), thumbprint(&second));
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_up_nobody() {
    let pair = Pair::new();
    let first = issue(&pair);
    let files = Unseen::new(&first);
    let (watched, _) = watched(WatchedCertificate::file(files.link()), &pair);
    files.remove();
    assert!(std::process::Command::new("mkfifo").arg(files.file()).status().unwrap().success());
    let (read, start) = (watched.clone(), WatchedCertificate::file(files.link()));
    let error = at_once("the pipe is refused", move || read.reload().unwrap_err());
    assert_eq!(error.code(), "certificate_file_unreadable");
    let error = at_once("the pipe is refused at the start too", move || start.start().unwrap_err());
    assert_eq!(error.code(), "certificate_file_unreadable");
    assert_eq!(in_use(&watched), thumbprint(&first));
}

/// openssl creates the files.
#[test]
fn a_pfx_is_watched_with_its_password() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.pfx");
    fs::copy(certificates.join("rsa.pfx"), &path).unwrap();
    let password = || certbound::Secret::new("right");
    let valid = certbound::BindingCertificate::from_pfx_file(&path, Some(&password())).unwrap();
    let clock = certbound_testkit::ManualClock::at(valid.chain().not_before());
    let watch = || {
        WatchedCertificate::pem_or_pfx_file(&path)
            .with_clock(clock.clone())
            .poll_every(NEVER)
            .allow_other_subjects()
    };
    let watched = watch().password(password()).start().unwrap();
    assert_eq!(watched.current().thumbprint(), valid.thumbprint());
    assert_eq!(watch().start().unwrap_err().code(), "certificate_key_encrypted");
    let wrong = watch().password(certbound::Secret::new("wrong"));
    assert_eq!(wrong.start().unwrap_err().code(), "certificate_password_wrong");
    let as_pem = WatchedCertificate::file(&path).with_clock(clock.clone()).password(password());
    assert_eq!(as_pem.start().unwrap_err().code(), "certificate_pfx_unexpected");

    fs::copy(certificates.join("rsa.legacy.pfx"), &path).unwrap();
    assert!(!watched.reload().unwrap(), "the same certificate in another PFX");
    fs::copy(certificates.join("no-key.pfx"), &path).unwrap();
    assert_eq!(watched.reload().unwrap_err().code(), "cert_without_private_key");
    let next = fs::read(certificates.join("p256.pfx")).unwrap();
    for half in [1, 2, 100, 500, next.len() / 2, next.len() - 1] {
        fs::write(&path, &next[..half]).unwrap();
        assert_eq!(watched.reload().unwrap_err().code(), "certificate_pfx_invalid", "{half}");
        assert_eq!(watched.current().thumbprint(), valid.thumbprint());
    }
    clock.advance(DAY);
    fs::write(&path, &next).unwrap();
    let _ = watched.reload();
    let text = fs::read_to_string(certificates.join("p256.x5t-s256")).unwrap();
    assert_eq!(in_use(&watched), text.trim());
}

#[tokio::test]
async fn while_the_service_is_away_a_token_of_the_certificate_before_is_served_with_that() {
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let (watched, _) = watched(WatchedCertificate::file(files.link()), &pair);
    let (direct, leg2) = clients(&pair, &watched, &TokenCache::new());
    let graph = ResourceScope::graph(Cloud::Public);
    let old = [direct.bound_token(&vault()).await.unwrap(), leg2.bound_token(&graph).await.unwrap()];
    files.write(second.bundle_pem());
    assert!(watched.reload().unwrap());
    let away =
        FaultResult::Status { status: 503, body: String::new(), retry_after: None, headers: [].into() };
    pair.emulator().add_fault(Fault::always(Condition::any(), away));
    for (served, kept) in
        [(direct.bound_token(&vault()).await, &old[0]), (leg2.bound_token(&graph).await, &old[1])]
    {
        let served = served.unwrap();
        assert_eq!(&served, kept);
        assert_eq!(served.binding().thumbprint().x5t_s256(), thumbprint(&first));
        assert_eq!(served.details().source, Source::Cache);
    }
    direct.bound_token(&vault()).force_refresh().await.unwrap_err();
    direct.bound_token(&graph).await.unwrap_err();
    pair.clock().set(old[0].expires_at());
    direct.bound_token(&vault()).await.unwrap_err();
    pair.emulator().clear_faults();
    let new = direct.bound_token(&vault()).await.unwrap();
    assert_eq!(new.binding().thumbprint().x5t_s256(), thumbprint(&second));
}

fn blamed_by(aadsts: u32) -> FaultResult {
    FaultResult::Refusal { aadsts, error: None, status: None, suberror: None, claims: None }
}

/// The registration of a new certificate takes some time at the service.
#[tokio::test]
async fn while_the_new_certificate_is_blamed_a_token_of_the_one_before_is_served_with_that() {
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let (watched, _) = watched(WatchedCertificate::file(files.link()), &pair);
    let (direct, leg2) = clients(&pair, &watched, &TokenCache::new());
    let graph = ResourceScope::graph(Cloud::Public);
    let old = [direct.bound_token(&vault()).await.unwrap(), leg2.bound_token(&graph).await.unwrap()];
    files.write(second.bundle_pem());
    assert!(watched.reload().unwrap());
    pair.emulator().add_fault(Fault::always(Condition::any(), blamed_by(700_027)));
    assert_eq!(direct.bound_token(&vault()).await.unwrap(), old[0]);
    assert_eq!(leg2.bound_token(&graph).await.unwrap(), old[1]);
    for refused in [
        direct.bound_token(&vault()).force_refresh().await,
        direct.bound_token(&vault()).claims("{}").await,
        direct.bound_token(&graph).await,
    ] {
        assert_eq!(
            refused.unwrap_err().aadsts(),
            Some(700_027),
            "without an earlier token, or for a new token, the caller gets the refusal"
        );
    }
    pair.clock().set(old[0].expires_at());
    assert_eq!(direct.bound_token(&vault()).await.unwrap_err().aadsts(), Some(700_027));
    pair.emulator().clear_faults();
    let new = direct.bound_token(&vault()).await.unwrap();
    assert_eq!(new.binding().thumbprint().x5t_s256(), thumbprint(&second));

    // If the refused certificate is the only certificate, its token is not returned in its last minutes: the service
    // may be revoking the certificate.
    pair.emulator().add_fault(Fault::always(Condition::any(), blamed_by(700_027)));
    pair.clock().set(new.expires_at().minus(Duration::from_secs(60)));
    assert_eq!(direct.bound_token(&vault()).await.unwrap_err().aadsts(), Some(700_027));
}

fn certificates_asked_with(pair: &Pair) -> Vec<String> {
    let journal = pair.emulator().journal();
    pair.emulator().clear_journal();
    journal.iter().filter_map(|entry| entry.client_certificate.clone()).collect()
}

#[tokio::test]
async fn a_certificate_that_is_blamed_is_looked_for_anew_once() {
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
    let (direct, leg2) = clients(&pair, &watched, &TokenCache::none());
    // There is no other certificate: each call sends one request and returns the refusal.
    pair.emulator().add_fault(Fault::always(Condition::any(), blamed_by(700_027)));
    for _ in 0..2 {
        assert_eq!(direct.bound_token(&vault()).await.unwrap_err().aadsts(), Some(700_027));
        assert_eq!(leg2.bound_token(&vault()).await.unwrap_err().aadsts(), Some(700_027));
        assert_eq!(leg2_leg1(&pair, &watched).await.unwrap_err().aadsts(), Some(700_027));
        assert_eq!(certificates_asked_with(&pair), vec![thumbprint(&first); 3]);
    }
    pair.emulator().clear_faults();
    assert!(events.lock().unwrap().is_empty());
    // A refusal for another reason does not cause the files to be read.
    files.write(second.bundle_pem());
    pair.emulator().add_fault(Fault::once(Condition::any(), blamed_by(700_016)));
    direct.bound_token(&vault()).await.unwrap_err();
    assert_eq!(in_use(&watched), thumbprint(&first));
}

async fn leg2_leg1(pair: &Pair, watched: &WatchedCertificate) -> Result<(), certbound::Error> {
    let leg1 = pair.builder(APP).with_certificate(watched.clone()).build().unwrap();
    leg1.assertion().await.map(drop)
}

#[tokio::test]
async fn a_blamed_certificate_that_has_a_successor_is_replaced_within_the_call() {
    for leg in [LegKind::Direct, LegKind::Leg1, LegKind::Leg2] {
        for aadsts in [700_027, 700_030, 392_189, 392_204] {
            let pair = Pair::new();
            let [first, second] = [issue(&pair), issue(&pair)];
            let files = Unseen::new(&first);
            let (watched, _) = watched(WatchedCertificate::file(files.link()), &pair);
            let (direct, leg2) = clients(&pair, &watched, &TokenCache::new());
            files.write(second.bundle_pem());
            pair.emulator().add_fault(Fault::once(Condition::leg(leg), blamed_by(aadsts)));
            let token = match leg {
                LegKind::Direct => direct.bound_token(&vault()).await,
                _ => leg2.bound_token(&vault()).await,
            };
            assert_eq!(
                token.unwrap().binding().thumbprint().x5t_s256(),
                thumbprint(&second),
                "{leg:?} {aadsts}"
            );
        }
    }
}

/// All callers are refused before one caller reads the files. The other callers wait for the end of the read and then
/// use the new certificate.
#[tokio::test]
async fn however_many_are_refused_at_once_all_go_on_with_the_successor() {
    const CALLERS: u32 = 8;
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let files = Unseen::new(&first);
    let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
    let callers: Vec<_> = (0..CALLERS).map(|_| clients(&pair, &watched, &TokenCache::new())).collect();
    let (scope, blame) = (vault(), blamed_by(700_027));
    pair.emulator().add_fault(Fault { count: Some(CALLERS), ..Fault::once(Condition::any(), blame.clone()) });
    let all = |callers: Vec<_>| {
        let scope = &scope;
        async move {
            let calls = callers.iter().enumerate().map(
                |(at, (direct, leg2)): (_, &(Client<_>, Client<_>))| async move {
                    match at % 2 {
                        0 => direct.bound_token(scope).force_refresh().await,
                        _ => leg2.bound_token(scope).force_refresh().await,
                    }
                },
            );
            futures_util::future::join_all(calls).await
        }
    };
    files.write(second.bundle_pem());
    for token in all(callers.clone()).await {
        assert_eq!(token.unwrap().binding().thumbprint().x5t_s256(), thumbprint(&second));
    }
    assert_eq!(events.lock().unwrap().len(), 1, "{events:?}");

    // If there is no new certificate, all callers get the refusal.
    pair.emulator().clear_faults();
    pair.emulator().add_fault(Fault::always(Condition::any(), blame));
    pair.emulator().clear_journal();
    for token in all(callers).await {
        assert_eq!(token.unwrap_err().aadsts(), Some(700_027));
    }
    assert_eq!(
        certificates_asked_with(&pair),
        vec![thumbprint(&second); CALLERS as usize],
        "each caller sent one request"
    );
}

#[test]
fn a_listener_that_panics_hears_of_the_next_certificate_too() {
    let pair = Pair::new();
    let [first, second, third] = [issue(&pair), issue(&pair), issue(&pair)];
    let mut volume = Volume::new(&first);
    let heard = Arc::new(Mutex::new(0));
    let listener = {
        let heard = Arc::clone(&heard);
        move |_: &CertificateEvent| {
            *heard.lock().unwrap() += 1;
            panic!("a listener panics on purpose")
        }
    };
    let watch = WatchedCertificate::directory(volume.path()).with_clock(pair.clock().clone());
    let watched = watch.poll_every(NEVER).on_event(listener).start().unwrap();
    for next in [second, third] {
        volume.swap(&next);
        until("the next certificate is used", || in_use(&watched) == thumbprint(&next));
    }
    until("both events reached the listener", || *heard.lock().unwrap() == 2);
}

/// A panic in the thread, here of the clock, does not end it.
#[test]
fn a_panic_while_the_files_are_looked_at_does_not_end_the_watching() {
    struct Panics(certbound_testkit::ManualClock, AtomicBool);
    impl certbound::clock::Clock for Panics {
        fn now(&self) -> UnixTime {
            let in_the_thread = std::thread::current().name() == Some("certbound-certificate");
            assert!(!in_the_thread || self.1.swap(true, Ordering::SeqCst), "once, on purpose");
            self.0.now()
        }

        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
    }
    let pair = Pair::new();
    let [first, second] = [issue(&pair), issue(&pair)];
    let unseen = Unseen::new(&first);
    let clock = Panics(pair.clock().clone(), AtomicBool::new(false));
    let watch = WatchedCertificate::file(unseen.link()).with_clock(clock).poll_every(Duration::ZERO);
    let watched = watch.start().unwrap();
    unseen.write(second.bundle_pem());
    until("the files are read again", || in_use(&watched) == thumbprint(&second));
}

/// The function's own client may read a new certificate earlier or later than the exchange.
#[tokio::test]
async fn a_function_that_delivers_for_the_next_certificate_is_called_again_with_it() {
    for noticed in [true, false] {
        let pair = Pair::new();
        let [first, second, third] = [issue(&pair), issue(&pair), issue(&pair)];
        let files = Unseen::new(&first);
        let (watched, events) = watched(WatchedCertificate::file(files.link()), &pair);
        let by = |identity| {
            let certificate = certbound_testkit::certificate_of(identity);
            pair.builder(APP).with_certificate(certificate).build().unwrap()
        };
        let leg2 = |leg1: Client<ByCertificate>, calls: Arc<Mutex<Vec<String>>>| {
            let of = watched.clone();
            let leg1 = leg1_fn(watched.clone(), move |_| {
                calls.lock().unwrap().push(in_use(&of));
                if noticed {
                    // The new certificate was in the files, but they had not been read.
                    let _ = of.reload();
                }
                let leg1 = leg1.clone();
                async move { leg1.assertion().await.map(|it| certbound::Secret::new(it.secret().expose())) }
            });
            pair.builder(APP).with_assertions(leg1).build().unwrap()
        };
        let calls = Arc::<Mutex<Vec<String>>>::default();
        files.write(second.bundle_pem());
        let token = leg2(by(&second), Arc::clone(&calls)).bound_token(&vault()).await.unwrap();
        assert_eq!(token.binding().thumbprint().x5t_s256(), thumbprint(&second), "{noticed}");
        assert_eq!(*calls.lock().unwrap(), [thumbprint(&first), thumbprint(&second)], "{noticed}");
        assert_eq!(events.lock().unwrap().len(), 1);

        // A certificate that no file contains is an error at once.
        calls.lock().unwrap().clear();
        let error = leg2(by(&third), Arc::clone(&calls)).bound_token(&vault()).await.unwrap_err();
        assert_eq!(error.code(), "bound_to_another", "{error}");
        assert_eq!(calls.lock().unwrap().len(), 1);
    }
}

#[test]
fn watching_ends_with_the_last_handle() {
    let pair = Pair::new();
    let files = Unseen::new(&issue(&pair));
    let held = Arc::new(());
    let alive = Arc::downgrade(&held);
    let watch = WatchedCertificate::file(files.link()).with_clock(pair.clock().clone()).poll_every(NEVER);
    let watched = watch.on_event(move |_| drop(Arc::clone(&held))).start().unwrap();
    let client = pair.builder(APP).with_certificate(watched.clone()).build().unwrap();
    drop(watched);
    assert!(alive.upgrade().is_some(), "the client still uses the certificate");
    drop(client);
    until("the listener and the thread are dropped", || alive.upgrade().is_none());
}

/// Calls of two resources by several tasks. The test sets the number of calls, and each call reports its end.
struct Load {
    allowed: Arc<tokio::sync::Semaphore>,
    done: tokio::sync::mpsc::UnboundedReceiver<Result<Thumbprint, String>>,
    /// Whether the token service is unavailable. No call then forces a refresh.
    away: Arc<AtomicBool>,
    calls: usize,
}

impl Load {
    const TASKS: usize = 4;

    fn of(client: &Client<ByAssertion>) -> Self {
        let (tell, done) = tokio::sync::mpsc::unbounded_channel();
        let allowed = Arc::new(tokio::sync::Semaphore::new(0));
        let (away, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..Self::TASKS {
            let (client, tell, allowed) = (client.clone(), tell.clone(), Arc::clone(&allowed));
            let (away, number) = (Arc::clone(&away), Arc::clone(&number));
            tokio::spawn(async move {
                while let Ok(permit) = allowed.acquire().await {
                    permit.forget();
                    let number = number.fetch_add(1, Ordering::SeqCst);
                    let forced = number % 5 == 0 && !away.load(Ordering::SeqCst);
                    tell.send(call(&client, number % 2, forced).await).unwrap();
                }
            });
        }
        Self { allowed, done, away, calls: 0 }
    }

    /// Lets the tasks make `calls` calls and waits for them. Returns the presented certificates.
    async fn run(&mut self, calls: usize, meanwhile: impl Future<Output = ()>) -> Vec<Thumbprint> {
        self.calls += calls;
        self.allowed.add_permits(calls);
        meanwhile.await;
        let mut presented = Vec::new();
        for _ in 0..calls {
            let done = tokio::time::timeout(Duration::from_secs(60), self.done.recv()).await;
            presented.push(done.unwrap().unwrap().unwrap());
        }
        presented
    }
}

/// Makes one call of one of two resources, and returns the certificate that was presented.
async fn call(client: &Client<ByAssertion>, which: usize, forced: bool) -> Result<Thumbprint, String> {
    let (scope, url) = match which {
        0 => (vault(), "https://certbound-demo.vault.azure.net/secrets/demo?api-version=7.4"),
        _ => (
            ResourceScope::graph(Cloud::Public),
            "https://mtlstb.graph.microsoft.com/v1.0/applications?$top=1",
        ),
    };
    if forced {
        client.bound_token(&scope).force_refresh().await.map_err(|error| error.to_string())?;
    }
    let request = http::Request::get(url).body(Bytes::new()).unwrap();
    let answer = client.resource(&scope).call(request).await.map_err(|error| error.to_string())?;
    let presented = answer.extensions().get::<CallFacts>().and_then(|facts| facts.0.presented);
    match (answer.status().as_u16(), presented) {
        (200, Some(presented)) => Ok(presented),
        _ => Err(format!("{answer:?}")),
    }
}

/// Replaces the certificate repeatedly while tokens are requested and resources called over real sockets, once while
/// the token service is unavailable. No request fails, and every token is sent with its own certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_under_load_loses_no_request_and_mixes_no_binding() {
    const GENERATIONS: usize = 12;
    const OUTAGE: usize = 6;
    const CALLS: usize = 40;

    let emulator = Arc::new(Emulator::new(World::built_in()).unwrap());
    let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(Arc::clone(&emulator), listen).await.unwrap();
    let network = Network::builder().proxy(server.proxy_url()).only_roots_pem(emulator.ca_pem().to_owned());
    let network = network.build().unwrap();
    let issue = || emulator.issue_client_certificate(&IssueOptions::new(CLIENT_COMMON_NAME)).unwrap();
    let mut volume = Volume::new(&issue());
    let (tell, mut events) = tokio::sync::mpsc::unbounded_channel();
    let certificate = WatchedCertificate::directory(volume.path())
        .on_event(move |event| tell.send(event.clone()).unwrap())
        .start()
        .unwrap();
    let builder = || {
        let builder = Client::builder(Pair::new().authority(), APP).with_network(&network);
        builder.with_retry_policy(RetryPolicy::default().without_retries())
    };
    let leg1 = builder().with_certificate(certificate.clone()).build().unwrap();
    let leg2 = builder().with_assertions(leg1).build().unwrap();
    let mut load = Load::of(&leg2);

    let mut before = certificate.current().thumbprint();
    assert_eq!(load.run(CALLS, async {}).await, [before; CALLS]);
    for generation in 1..GENERATIONS {
        let away = generation == OUTAGE;
        load.away.store(away, Ordering::SeqCst);
        for leg in [LegKind::Leg1, LegKind::Leg2].into_iter().filter(|_| away) {
            let gone = FaultResult::Status {
                status: 503,
                body: String::new(),
                retry_after: None,
                headers: [].into(),
            };
            emulator.add_fault(Fault::always(Condition::leg(leg), gone));
        }
        let next = issue();
        let name = certbound_testkit::certificate_of(&next).thumbprint();
        volume.swap(&next);
        let noticed = async {
            let event = tokio::time::timeout(Duration::from_secs(60), events.recv()).await;
            let event = event.unwrap().unwrap();
            assert!(
                matches!(event, CertificateEvent::Rotated { from, to, .. } if (from, to) == (before, name)),
                "{event}"
            );
        };
        for presented in load.run(CALLS, noticed).await {
            assert!([before, name].contains(&presented));
        }
        if away {
            assert_eq!(load.run(CALLS, async {}).await, [before; CALLS], "the cached tokens are used");
            emulator.clear_faults();
            load.away.store(false, Ordering::SeqCst);
            // The client would try again after 30 s; the test does not wait.
            for scope in [vault(), ResourceScope::graph(Cloud::Public)] {
                leg2.bound_token(&scope).force_refresh().await.unwrap();
            }
        }
        assert_eq!(load.run(CALLS, async {}).await, [name; CALLS]);
        before = name;
    }
    load.allowed.close();

    let journal = emulator.journal();
    assert!(journal.len() < MAX_ENTRIES, "the journal is complete");
    let failed: Vec<_> =
        journal.iter().filter(|entry| entry.status != 200 && entry.fault.is_none()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(journal.iter().any(|entry| entry.fault.is_some()), "the service was unavailable");
    let resource: Vec<_> = journal.iter().filter(|entry| entry.authorization_token.is_some()).collect();
    assert_eq!(resource.len(), load.calls, "each call arrived once");
    // The resource compares the token's `cnf` with the certificate of the connection, so status 200 proves that they
    // are equal. No token is used with two certificates.
    let mut seen = std::collections::HashMap::new();
    let mut certificates = std::collections::HashSet::new();
    for entry in &resource {
        let certificate = entry.client_certificate.as_ref().unwrap();
        let token = entry.authorization_token.as_ref().unwrap();
        assert_eq!(seen.entry(token).or_insert(certificate), &certificate);
        certificates.insert(certificate);
    }
    assert_eq!(certificates.len(), GENERATIONS);
    server.shutdown().await;
}
