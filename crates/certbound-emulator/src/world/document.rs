//! The world as a TOML document that users read and edit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::builtin::SECRET;
use super::{Application, World, WorldError};

const HEAD: &str = "\
# The world of the certbound emulator: its tenants, applications and resources.
# Edit this file, then start the emulator with
#   certbound emulator start --world FILE
# docs/world.md explains each key. Write GUIDs and host names in lower case.
";
const TENANTS: &str = "\
# ---- Tenants: the directories, each with its verified domain names.
";
const APPLICATIONS: &str = "\
# ---- Applications. `principals` has the object id of the service principal in each tenant. Credentials:
#   secrets                  client secrets; only the secret of the built-in world is printed
#   expired_secrets          client secrets that are refused with 7000222; they are never printed
#   trusted_subjects         certificates by subject name and issuer (SN/I), for mutual TLS and for assertions
#   registered_certificates  single certificates, PEM, for assertions
#   federated_credentials    tokens of a different issuer, at most 20
# `roles` are the application's permissions, by the app_id of the resource.
";
const RESOURCES: &str = "\
# ---- Resources. `bound_tokens` is refused, allowed or required; `style` graph, vault or custom; `token_version` v1 or
# v2. In a host `*.NAME`, the star stands for exactly one label. Leg 1 needs the resource api://AzureADTokenExchange.
# In a vault, `items` are the first secrets, `keys` are rsa2048 or p256, and `certificates` are issued by the emulator.
";
const ISSUERS: &str = "\
# ---- Token issuers other than Entra. The emulator gets their public keys in one of three ways: `keys` contains them
# (JSON Web Keys), the emulator itself is the issuer (`served`), or the emulator fetches them.
";

const IDENTITIES: &str = "\
# ---- The managed identities of the machine. Each identity is also an application with the same client id. An identity
# without a resource_id is the machine's own identity.
";

const MACHINE: &str = "\
# ---- The machine and its metadata service.
";

/// The keys at the top level of the document that are neither tables nor lists of tables.
#[derive(Serialize)]
struct Settings<'w> {
    session_resumption: bool,
    propagation_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_lifetime_seconds: Option<u64>,
    one_time_assertions: bool,
    trusted_authorities: &'w [String],
}

/// An application with the secrets that may be printed.
#[derive(Serialize)]
struct Shown<'w> {
    #[serde(flatten)]
    application: &'w Application,
    secrets: Vec<&'w str>,
}

impl World {
    /// Reads a world from TOML. Refuses unknown keys.
    ///
    /// # Errors
    /// [`WorldError`] with line and column if the text is not TOML or does not have the form of a world. Otherwise
    /// [`WorldError`] with all mistakes that [`World::check`] finds.
    pub fn from_toml(text: &str) -> Result<World, WorldError> {
        let world: World = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            WorldError::one(place(text, offset), without_value(error.message()))
        })?;
        world.check()?;
        Ok(world)
    }

    /// Writes the world as TOML with comments. A user can edit the text, and [`World::from_toml`] reads it again.
    ///
    /// Omits all secrets except that of the built-in world, which every copy of this program contains.
    ///
    /// # Errors
    /// [`WorldError`] if a JSON Web Key has a value without a form in TOML, such as `null`.
    pub fn to_toml(&self) -> Result<String, WorldError> {
        let World {
            tenants,
            applications,
            resources,
            trusted_authorities,
            external_issuers,
            session_resumption,
            propagation_seconds,
            token_lifetime_seconds,
            one_time_assertions,
            managed_identities,
            machine,
        } = self;
        let settings = Settings {
            session_resumption: *session_resumption,
            propagation_seconds: *propagation_seconds,
            token_lifetime_seconds: *token_lifetime_seconds,
            one_time_assertions: *one_time_assertions,
            trusted_authorities,
        };
        let applications: Vec<Shown<'_>> = applications.iter().map(Shown::of).collect();
        Ok([
            format!("{HEAD}\n{}", write(&settings, "settings")?),
            list(TENANTS, "tenants", tenants)?,
            list(APPLICATIONS, "applications", &applications)?,
            list(RESOURCES, "resources", resources)?,
            list(ISSUERS, "external_issuers", external_issuers)?,
            list(IDENTITIES, "managed_identities", managed_identities)?,
            format!("\n{MACHINE}\n{}", write(&BTreeMap::from([("machine", machine)]), "machine")?),
        ]
        .concat())
    }
}

impl<'w> Shown<'w> {
    fn of(application: &'w Application) -> Self {
        let public = application.secrets.iter().map(String::as_str).filter(|secret| *secret == SECRET);
        Self { application, secrets: public.collect() }
    }
}

/// Returns the elements of a list as tables with this name, after a comment. Returns an empty text for an empty list.
fn list<T: Serialize>(comment: &str, name: &str, elements: &[T]) -> Result<String, WorldError> {
    let mut text = if elements.is_empty() { String::new() } else { format!("\n{comment}") };
    for (index, element) in elements.iter().enumerate() {
        text.push('\n');
        text.push_str(&write(&BTreeMap::from([(name, [element])]), &format!("{name}[{index}]"))?);
    }
    Ok(text)
}

fn write(value: &impl Serialize, at: &str) -> Result<String, WorldError> {
    toml::to_string_pretty(value).map_err(|error| WorldError::one(at, error))
}

/// Returns line and column of a byte. Both begin at 1, and the column counts characters.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

/// Returns the parser's message without a found string or number. The value may be a secret in the wrong place.
fn without_value(message: &str) -> String {
    if let (Some((before, _)), Some((_, after))) =
        (message.split_once(" string \""), message.rsplit_once("\", "))
    {
        return format!("{before} string, {after}");
    }
    let of_value = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match (message.split_once(" `"), message.rsplit_once("`, expected ")) {
        (Some((before, _)), Some((_, expected))) if of_value => format!("{before}, expected {expected}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::builtin::{APP, SECRET_APP};

    #[test]
    fn the_built_in_world_comes_back_whole() {
        let text = World::built_in().to_toml().unwrap();
        assert_eq!(World::from_toml(&text).unwrap(), World::built_in(), "{text}");
        assert!(text.starts_with("# The world"));
    }

    #[test]
    fn other_secrets_are_not_written_out() {
        let mut world = World::built_in();
        world.application_mut(SECRET_APP).unwrap().secrets.push("hunter2".to_owned());
        world.application_mut(SECRET_APP).unwrap().expired_secrets.push("hunter2 of old".to_owned());
        let text = world.to_toml().unwrap();
        assert!(text.contains(SECRET) && !text.contains("hunter2"));
        assert!(!serde_json::to_string(&world).unwrap().contains("hunter2"));
    }

    #[test]
    fn text_that_looks_like_toml_stays_text() {
        let mut world = World::built_in();
        let odd = "\"\"\"\n[[tenants]]\nid = 'x'\n# \u{e9}";
        world.resources[3].items.insert("a.b \"c\"".to_owned(), odd.to_owned());
        assert_eq!(World::from_toml(&world.to_toml().unwrap()).unwrap(), world);
    }

    #[test]
    fn what_is_no_world_is_named_by_line_and_column() {
        for (text, expected) in [
            ("tenants = [", "line 1, column 12: unclosed array, expected `]`"),
            ("\n\ntenant = []", "line 3, column 1: unknown field `tenant`"),
            ("[[tenants]]\nid = 'a'\n\u{e9} = 1", "line 3, column 1: "),
            ("[[tenants]]\ndomains = []", "line 1, column 1: missing field `id`"),
            (
                "[[applications]]\nid = 'a'\nsecrets = 'x\", y'",
                "line 3, column 11: invalid type: string, expected a sequence",
            ),
            (
                "[[applications]]\nid = 'a'\nsecrets = 12345678",
                "line 3, column 11: invalid type: integer, expected a sequence",
            ),
            (
                "[[applications]]\nid = 'a'\nsecrets = [12345678]",
                "line 3, column 12: invalid type: integer, expected a string",
            ),
        ] {
            let error = World::from_toml(text).unwrap_err();
            assert_eq!(error.mistakes().len(), 1);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_a_world() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/world.md");
        let text = std::fs::read_to_string(file).unwrap();
        let example = text.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        let mut world = World::from_toml(example).unwrap();
        assert!(world.application_mut(APP).unwrap().mutual_tls_enabled, "the default");
        assert_eq!(world.resources[1].items["1001"], "two lamps");
    }
}
