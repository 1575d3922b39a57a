//! `verify --serve`: answers the requests of a proxy until a signal stops it. After SIGHUP it reads the configuration
//! again.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use certbound_otel::VerifierMetrics;
use certbound_verifier::{
    FetchError, ForwardAuth, HttpsFetch, KeyState, Limits, Load, Observer, Verifier, VerifyLayer,
};
use serde_json::json;
use tokio::task::JoinSet;

use super::policy;
use crate::commands::{Command, command, parse};
use crate::config;
use crate::failure::{Failure, USAGE};
use crate::flags::{ListenFlag, VerifyFlags};
use crate::open_files;
use crate::output;
use crate::server::{self, Admin, Event, Messages, Metrics, Next, Sockets, Status, Supervisor};
use crate::signals::Signals;
use crate::usage::Usage;

/// The time limit of a reload.
const RELOAD_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two checks whether the keys of the issuers are due for a fetch.
const REFRESH_EVERY: Duration = Duration::from_secs(10);

const RELOAD: Messages = Messages {
    done: "the configuration was read again",
    failed: "the reload failed; the earlier configuration stays in use",
};

pub(super) async fn serve(flags: &VerifyFlags, listen: &ListenFlag) -> Result<(), Failure> {
    let load = Load::default();
    let metrics = Metrics::new(load.clone());
    let observer = Arc::new(VerifierMetrics::new(metrics.meter()));
    let verifier = verifier(flags, None, observer.clone())?;
    open_files::allow_all();
    let signals = Signals::watch();
    let mut signals = signals.map_err(|error| Failure::of_system("signals cannot be received", &error))?;
    let mut sockets = Sockets::new(&flags.server, &[Some(listen), flags.server.admin_listen.as_ref()])?;
    let socket = sockets.bind(listen).await?;
    let trusts_peers = socket.trusts_peers()?;
    let layer = VerifyLayer::new(verifier).behind(policy::proxy(flags, trusts_peers)?);
    let auth = ForwardAuth::new(layer);
    let of_metrics = auth.clone();
    observer.watch_keys(move || of_metrics.layer().verifier().key_status());
    let of_status = auth.clone();
    let status = Arc::new(Status::new(metrics, move || readiness(of_status.layer().verifier())));
    let admin = Admin::start(&mut sockets, &flags.server, Arc::clone(&status)).await?;
    let mut ready = json!({ "ready": true, "listen": socket.shown() });
    if let Some(address) = admin.address() {
        ready["admin"] = json!(address);
    }
    output::print(format!("{ready}\n").as_bytes())?;

    let mut refreshing = JoinSet::new();
    refreshing.spawn(refresh_keys(auth.clone()));
    let serving = format!("listening on {}", socket.shown());
    let supervisor = Supervisor::ready(&serving);
    let mut limits = Limits::default();
    limits.stop = flags.server.stop_timeout;
    let served = auth.clone();
    let serve = |stopped| async move {
        served.serve_with_load(limits, load, socket, async { drop(stopped.await) }).await;
    };
    let ended = server::run(
        async || signals.next().await,
        serve,
        async |event| match event {
            Event::Stop => {
                status.stop();
                supervisor.stopping();
                Next::Stop
            }
            Event::Hangup => {
                supervisor.reloading();
                let reloaded = reload(&auth, &observer, trusts_peers).await;
                server::reloaded(reloaded, &RELOAD, (&status, &supervisor), &serving);
                Next::Continue
            }
        },
    )
    .await;
    admin.stop(ended).await;
    Ok(())
}

/// Builds the verifier of the flags. The function reads every file that the flags name.
fn verifier(
    flags: &VerifyFlags,
    earlier: Option<&Verifier>,
    observer: Arc<dyn Observer>,
) -> Result<Verifier, Failure> {
    let (mut builder, fixed) = policy::builder(flags)?;
    if fixed.is_none() {
        builder = builder.with_fetch(fetch()?);
    }
    if let Some(earlier) = earlier {
        builder = builder.with_keys_of(earlier);
    }
    Ok(builder.observe(observer).build()?)
}

/// Returns the client that fetches keys. The function checks the proxy and reads the trust store.
pub(super) fn fetch() -> Result<HttpsFetch, Failure> {
    let fetch = HttpsFetch::new();
    fetch.load().map_err(|error| match error {
        FetchError::NotFips(error) => Failure::from(error),
        FetchError::Proxy { .. } => Failure::new(
            USAGE,
            "invalid_proxy",
            "the keys of the issuers cannot be fetched",
            &error,
            "correct the variable, or unset it to use no proxy",
        ),
        // The function does no TLS handshake, so only the reason is shown.
        FetchError::Tls { reason } => Usage::TrustStore { reason }.into(),
        other => Usage::TrustStore { reason: other.to_string() }.into(),
    })?;
    Ok(fetch)
}

/// Builds a new verifier from the same command line, and replaces the old verifier by it. All files are read again,
/// including the configuration file. The sockets do not change.
///
/// If a mount hangs, a read can block its thread forever. That thread has no effect on the server.
async fn reload(
    auth: &ForwardAuth,
    observer: &Arc<VerifierMetrics>,
    trusts_peers: bool,
) -> Result<(), Failure> {
    let (earlier, observer) = (auth.layer(), Arc::clone(observer));
    let read = move || -> Result<Option<VerifyLayer>, Failure> {
        let args: Vec<OsString> = std::env::args_os().collect();
        let args = config::configured(command(), args)?.args;
        let cli = parse(&args).map_err(|error| Failure::of_command_line(&error, &command()))?;
        let Command::Verify(flags) = cli.command else { return Ok(None) };
        let verifier = verifier(&flags, Some(earlier.verifier()), observer)?;
        Ok(Some(VerifyLayer::new(verifier).behind(policy::proxy(&flags, trusts_peers)?)))
    };
    // The runtime still serves requests while files are read.
    let read = tokio::time::timeout(RELOAD_WITHIN, tokio::task::spawn_blocking(read)).await;
    let failed = |error: std::io::Error| Failure::of_system("the files could not be read", &error);
    let layer = match read {
        Ok(Ok(layer)) => layer?,
        Ok(Err(panic)) => return Err(failed(std::io::Error::other(panic))),
        Err(_) => return Err(failed(std::io::ErrorKind::TimedOut.into())),
    };
    if let Some(layer) = layer {
        auth.replace(layer);
        auth.layer().verifier().refresh_keys();
    }
    Ok(())
}

/// Fetches the keys before the first request needs them, and keeps them fresh.
async fn refresh_keys(auth: ForwardAuth) {
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    loop {
        ticks.tick().await;
        auth.layer().verifier().refresh_keys();
    }
}

/// Returns an error with the reason if tokens of an issuer cannot be accepted.
fn readiness(verifier: &Verifier) -> Result<(), String> {
    let status = verifier.key_status();
    let unusable = status.iter().find_map(|keys| match &keys.state {
        KeyState::Unavailable { reason } => {
            Some(format!("the keys of {} are not available: {reason}", keys.issuer))
        }
        _ => None,
    });
    unusable.map_or(Ok(()), Err)
}
