//! `emulator start`: runs an emulator until a signal stops it.

use serde_json::json;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::flags::EmulatorStartFlags;
use crate::hosted::Hosted;
use crate::open_files;
use crate::output;
use crate::server::{self, Event, Next};
use crate::signals::Signals;
use crate::usage::Usage;

pub(super) async fn run(flags: &EmulatorStartFlags) -> Result<(), Failure> {
    if !flags.listen.ip().is_loopback() && !flags.listen_on_the_network_anyone_can_mint_tokens {
        return Err(Usage::NotLoopback(flags.listen).into());
    }
    if !flags.imds_listen.ip().is_loopback() {
        return Err(Usage::ImdsNotLoopback(flags.imds_listen).into());
    }
    let what = super::world::load(&flags.what)?;
    open_files::allow_all();
    // Signals are watched before the ready line is printed. The reader of that line may send a signal at once, and then
    // the private directory must be removed too.
    let signals = Signals::watch();
    let mut signals = signals.map_err(|error| Failure::of_system("signals cannot be received", &error))?;
    let hosted = Hosted::start(
        what,
        flags.listen,
        flags.imds_listen,
        flags.state.as_deref(),
        flags.server.stop_timeout,
    )
    .await?;
    let ready = json!({
        "ready": true,
        "proxy": hosted.server.proxy_url(),
        "imds": hosted.server.metadata_url(),
        "service_fabric": {
            "endpoint": hosted.server.service_fabric_url(),
            "thumbprint": hosted.emulator.service_fabric_thumbprint().to_string(),
        },
        "admin": hosted.server.admin_url(),
        "ca": hosted.ca(),
        "client_certificate": hosted.client_certificate(),
    });
    output::print(format!("{ready}\n").as_bytes())?;
    let serve = |stopped: oneshot::Receiver<()>| async move {
        let _ = stopped.await;
        hosted.stop().await;
    };
    server::run(&mut signals, serve, async |event| match event {
        Event::Hangup | Event::Stop => Next::Stop,
    })
    .await;
    Ok(())
}
