//! `emulator start`: runs an emulator until a signal stops it.

use std::io::IsTerminal as _;
use std::sync::Arc;

use certbound_emulator::serve::{Load, Port, check_metadata_address};
use serde_json::json;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::flags::{EmulatorStartFlags, Format};
use crate::hosted::{Hosted, Listening};
use crate::open_files;
use crate::output::{self, Terminal};
use crate::server::{self, Admin, Event, Messages, Metrics, Next, Sockets, Status, Supervisor};
use crate::signals::Signals;
use crate::usage::Usage;

const RELOAD: Messages = Messages {
    done: "the world was read again; journal, faults and changes are gone",
    failed: "the reload failed; the earlier world stays in use",
};

pub(super) async fn run(flags: &EmulatorStartFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_or_json(&[Format::Json, Format::Shell])?;
    let wanted = [Some(flags.listen.as_listen()), Some(flags.imds_listen.as_listen())];
    let wanted: Vec<_> = wanted.into_iter().chain([flags.server.admin_listen.as_ref()]).collect();
    let mut sockets = Sockets::new(&flags.server, &wanted)?;
    let (proxy, machine) = (sockets.port(&flags.listen)?, sockets.port(&flags.imds_listen)?);
    let at_real_address = check_ports(&proxy, &machine, flags.listen_on_the_network_anyone_can_mint_tokens)?;
    let what = super::world::load(&flags.what)?;
    open_files::allow_all();
    // On a terminal, SIGHUP means that the terminal was closed.
    let on_terminal = std::io::stdin().is_terminal();
    // Signals are watched before the ready line is printed. The reader of that line may send a signal at once, and then
    // the private directory must be removed too.
    let signals = Signals::watch();
    let mut signals = signals.map_err(|error| Failure::of_system("signals cannot be received", &error))?;
    let listening = Listening { proxy, machine, stop: flags.server.stop_timeout, load: Load::default() };
    let metrics = Metrics::new(listening.load.clone());
    let hosted = Hosted::start(what, listening, flags.state.as_deref()).await?;
    metrics.watch_emulator(&hosted.emulator);
    metrics.watch_certificate("emulator_ca", hosted.emulator.ca_der());
    let status = Arc::new(Status::new(metrics, || Ok(())));
    let admin = Admin::start(&mut sockets, &flags.server, Arc::clone(&status)).await?;
    let mut ready = json!({
        "ready": true,
        "proxy": hosted.server.proxy_url(),
        "imds": hosted.server.metadata_url(),
        "imds_at_real_address": at_real_address,
        "service_fabric": {
            "endpoint": hosted.server.service_fabric_url(),
            "thumbprint": hosted.emulator.service_fabric_thumbprint().to_string(),
        },
        "admin": hosted.server.admin_url(),
        "ca": hosted.ca(),
        "client_certificate": hosted.client_certificate(),
    });
    if let Some(address) = admin.address() {
        // The name is not `admin`: that member is the interface by which tests control the emulator.
        ready["health"] = json!(address);
    }
    match format {
        Format::Shell => output::print(&super::variables::for_shell(&hosted))?,
        _ => output::print(format!("{ready}\n").as_bytes())?,
    }
    if at_real_address {
        tracing::info!(
            "the metadata service is at its real address, so all programs in this network get tokens of the emulator; \
             DefaultAzureCredential of .NET and the Azure SDK for Rust look only there; afterwards remove the address: \
             ip addr del 169.254.169.254/32 dev lo"
        );
    }
    let listening = format!("listening on {}", hosted.server.proxy_url());
    let supervisor = Supervisor::ready(&listening);
    let current = hosted.server.current();
    let serve = |stopped: oneshot::Receiver<()>| async move {
        let _ = stopped.await;
        hosted.stop().await;
    };
    let ended = server::run(
        async || signals.next().await,
        serve,
        async |event| match event {
            Event::Hangup if !on_terminal => {
                // A service manager that requests a reload waits for these messages.
                supervisor.reloading();
                let Some(file) = &flags.what.world else {
                    tracing::info!(
                        "SIGHUP is ignored: the emulator has the built-in world, not a world file"
                    );
                    supervisor.reloaded(&listening);
                    return Next::Continue;
                };
                let reloaded = super::world::reload(file, &current).await;
                server::reloaded(reloaded, &RELOAD, (&status, &supervisor), &listening);
                Next::Continue
            }
            Event::Hangup | Event::Stop => {
                status.stop();
                supervisor.stopping();
                Next::Stop
            }
        },
    )
    .await;
    admin.stop(ended).await;
    Ok(())
}

/// Checks that only the intended clients can reach the ports. Returns whether the emulated metadata service is at the
/// address of the real metadata service.
fn check_ports(proxy: &Port, machine: &Port, for_the_network: bool) -> Result<bool, Usage> {
    let passed = |error: std::io::Error| Usage::Passed { reason: error.to_string() };
    let address = |port: &Port| match port {
        Port::Address(address) => Ok(*address),
        Port::Socket(listener) => listener.local_addr().map_err(passed),
    };
    let (proxy, imds) = (address(proxy)?, address(machine)?);
    if !proxy.ip().is_loopback() && !for_the_network {
        return Err(Usage::NotLoopback(proxy));
    }
    match machine {
        Port::Address(_) => check_metadata_address(imds).map_err(Usage::MetadataAddress)?,
        Port::Socket(_) if imds.ip().is_loopback() => {}
        Port::Socket(_) => {
            let why = "the metadata service needs a loopback address, such as 127.0.0.1, because it gives tokens to every client";
            return Err(Usage::Passed { reason: format!("it listens at {imds}; {why}") });
        }
    }
    Ok(!imds.ip().is_loopback())
}
