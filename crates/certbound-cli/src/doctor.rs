//! `doctor`: checks a configuration of the two-leg flow, from the flags to the resource, and explains each problem.
//!
//! ```text
//!  configuration ─► certificate ─► network ─► exchange (both legs, as `exchange` runs them) ─► resource
//!        └──────────────┴────────────┴───────────────────┴─ one Line for each check ─► Report ─► text, JSON
//! ```

mod blame;
mod certificate;
mod configuration;
mod exchange;
mod federated;
mod issue;
mod leg1;
mod leg2;
mod network;
mod probe;
mod report;
mod resource;
mod text;
mod token;

use std::sync::Arc;

use certbound::clock::{Clock as _, SystemClock};
use certbound::{Authority, BindingCertificate, ManagedIdentity, Network, ResourceScope};
use http::Uri;

use self::blame::Origin;
use self::exchange::Assertions;
use self::federated::Registered;
use self::probe::Probe;
use self::report::Line;
pub(crate) use self::report::{Report, Status};
pub(crate) use self::text::draw;
use crate::config::ShownValue;
use crate::failure::Failure;
use crate::flags::{DoctorFlags, TwoLegFlags};
use crate::late::{self, CallTransport};
use crate::observers::Trace;
use crate::plan::{self, Kind, Leg1Source, Reach};
use crate::usage::Usage;

/// The input of the checks.
pub(crate) struct Asked {
    /// The scope that was given. Without it, the scope follows from the host of the resource.
    scope: Option<String>,
    flow: TwoLegFlags,
    registered: Option<Vec<Registered>>,
    resource: Option<Uri>,
    /// Whether Microsoft Graph may be asked for the federated credentials.
    asks_graph: bool,
}

impl Asked {
    /// Reads the file and the URL of the flags that only `doctor` has.
    ///
    /// # Errors
    /// The file of federated credentials or the URL of the resource cannot be used.
    pub(crate) fn new(flags: DoctorFlags) -> Result<Self, Usage> {
        let is_stdin = |path: &std::path::PathBuf| path.as_os_str() == "-";
        let file = flags.federated_credential.as_ref();
        if file.is_some_and(is_stdin) && flags.flow.leg1.assertion_file.as_ref().is_some_and(is_stdin) {
            return Err(Usage::StdinTwice { one: "--federated-credential -", other: "--assertion-file -" });
        }
        let registered = file.map(|path| federated::read(path)).transpose()?;
        let resource = flags.resource_url.as_deref().map(plan::url).transpose()?;
        let DoctorFlags { scope, flow, no_graph, .. } = flags;
        Ok(Self { scope, flow, registered, resource, asks_graph: !no_graph })
    }
}

/// The facts that the checks have found so far.
struct Context {
    asked: Asked,
    kind: Kind,
    clock: SystemClock,
    report: Report,
    network: Result<Network, Failure>,
    /// The authority of Leg 2. After the checks of the network it has the region.
    authority: Option<Authority>,
    scope: Option<ResourceScope>,
    /// The transport for the resource and for the token requests.
    transport: Option<CallTransport>,
    reach: Option<Reach<CallTransport>>,
    assertions: Arc<Assertions>,
    source: Option<Leg1Source>,
    /// The managed identity of Leg 1.
    machine: Option<ManagedIdentity>,
    /// The certificate of both legs.
    certificate: Option<BindingCertificate>,
    /// Whether a Bearer token is requested and the platform of the managed identity cannot bind tokens. No leg then has
    /// a certificate.
    is_unbound: bool,
    /// The probe of the resource's host.
    resource: Option<Probe>,
}

impl Context {
    fn new(asked: Asked, values: Vec<ShownValue>) -> Self {
        let TwoLegFlags { client, kind, .. } = &asked.flow;
        let network =
            plan::network(&client.run).and_then(|network| Ok((late::transport(&network)?, network)));
        let (transport, network) = match network {
            Ok((transport, network)) => (Some(transport), Ok(network)),
            Err(failure) => (None, Err(failure)),
        };
        let origin = match asked.flow.leg1.leg1_managed_identity {
            Some(_) => Origin::Platform,
            None => Origin::File,
        };
        let assertions = Arc::new(Assertions::default());
        let reach = transport.clone().map(|transport| {
            Reach::fresh(transport)
                .told_to(Trace::of_platform(client.run.trace))
                .seeing_bindings(kind.require_observed_binding)
                .watching_assertions(Arc::clone(&assertions) as _)
                .without_retries()
        });
        Self {
            kind: Kind::from(*kind),
            clock: SystemClock::new(),
            report: Report { values, origin, ..Report::default() },
            network,
            authority: None,
            scope: None,
            transport,
            reach,
            assertions,
            source: None,
            machine: None,
            certificate: None,
            is_unbound: false,
            resource: None,
            asked,
        }
    }

    fn is_dry(&self) -> bool {
        self.asked.flow.client.run.dry_run
    }

    /// Returns the reason for which a line cannot be checked: a needed line has failed, or `--dry-run` is given.
    fn obstacle(&self, needed: &[&str]) -> Option<String> {
        match self.report.first_failed(needed) {
            Some(line) => Some(format!("needs: {line}")),
            None => self.is_dry().then(|| "--dry-run sends no request".to_owned()),
        }
    }
}

/// The lines whose failure prevents the request for a token.
const BEFORE_LEG1: &[&str] = &[
    "configuration",
    "certificate.source",
    "certificate.key",
    "certificate.dates",
    "network.settings",
    "network.token_service",
];

/// Makes all checks. `checking` gets the name of the next step before it begins.
pub(crate) async fn run(
    asked: Asked,
    values: Vec<ShownValue>,
    checking: &(dyn Fn(&'static str) + Sync),
) -> Report {
    let mut context = Context::new(asked, values);
    let begin = context.clock.monotonic();
    checking("the configuration");
    configuration::check(&mut context);
    checking("the certificate");
    certificate::check(&mut context).await;
    checking("the network");
    network::check(&mut context).await;
    checking("both legs");
    let exchange = exchange::run(&mut context).await;
    leg1::check(&mut context, exchange.as_ref());
    leg2::check(&mut context, exchange.as_ref());
    token::check(&mut context, exchange.as_ref());
    checking("the resource");
    resource::check(&mut context, exchange.as_ref()).await;
    checking("the federated credentials");
    // This check can run the legs again, so it is the last check.
    federated::check(&mut context, exchange.as_ref()).await;
    let took = context.clock.monotonic().saturating_sub(begin);
    Report { milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX), ..context.report }
}
