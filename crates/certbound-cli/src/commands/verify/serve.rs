//! `verify --serve`: answers the requests of a proxy until a signal stops it.

use certbound_verifier::{ForwardAuth, Limits, Verifier, VerifyLayer};
use serde_json::json;

use super::policy;
use crate::failure::Failure;
use crate::flags::{ListenFlag, VerifyFlags};
use crate::open_files;
use crate::output;
use crate::server::{self, Event, Next, Socket};
use crate::signals::Signals;

pub(super) async fn serve(
    flags: &VerifyFlags,
    verifier: Verifier,
    listen: &ListenFlag,
) -> Result<(), Failure> {
    open_files::allow_all();
    let signals = Signals::watch();
    let mut signals = signals.map_err(|error| Failure::of_system("signals cannot be received", &error))?;
    let socket = Socket::bind(listen, &flags.server).await?;
    let layer = VerifyLayer::new(verifier).behind(policy::proxy(flags, socket.is_unix())?);
    let ready = json!({ "ready": true, "listen": socket.shown() });
    output::print(format!("{ready}\n").as_bytes())?;
    let mut limits = Limits::default();
    limits.stop = flags.server.stop_timeout;
    let auth = ForwardAuth::new(layer);
    let serve = |stopped| async move {
        auth.serve_within(limits, socket, async { drop(stopped.await) }).await;
    };
    server::run(&mut signals, serve, async |event| match event {
        Event::Hangup | Event::Stop => Next::Stop,
    })
    .await;
    Ok(())
}
