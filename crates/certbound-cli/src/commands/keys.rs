//! `keys`: keys in PKCS#11 tokens and in the TPM.

use certbound_core::shown::one_line;
use certbound_pkcs11::{KeyFacts, OpenToken, Pkcs11Uri, TokenFacts, list_tokens};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flags::{Format, KeysCommand, KeysCsrFlags, KeysGenerateFlags, KeysListFlags, TokenFlag};
use crate::output::{self, Terminal};
use crate::tpm::{self, KeyRow};
use crate::{plan, token_uri};

pub(super) fn run(command: &KeysCommand, terminal: Terminal) -> Result<(), Failure> {
    match command {
        KeysCommand::List(flags) => list(flags, terminal),
        KeysCommand::Generate(flags) => generate(flags, terminal),
        KeysCommand::Csr(flags) => csr(flags, terminal),
    }
}

fn list(flags: &KeysListFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    if token_uri::is_tpm(&flags.token.uri) {
        let keys = tpm::list(&flags.token.uri)?;
        return print(format, &keys, of_tpm_key, row_of_tpm_key);
    }
    let uri = token_uri::parse(&flags.token.uri)?;
    if !uri.names_a_token() {
        return tokens(&uri, format);
    }
    let keys = open(uri, &flags.token)?.keys()?;
    print(format, &keys, of_key, row_of_key)
}

/// Prints keys.
fn print<T>(
    format: Format,
    keys: &[T],
    value: impl Fn(&T) -> Value,
    row: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let keys: Vec<Value> = keys.iter().map(value).collect();
            output::print(&output::json(&json!({ "keys": keys }), 0)?)
        }
        _ if keys.is_empty() => output::print_text("no private keys\n"),
        _ => output::print_text(&keys.iter().map(row).collect::<String>()),
    }
}

fn tokens(uri: &Pkcs11Uri, format: Format) -> Result<(), Failure> {
    let tokens = list_tokens(uri)?;
    match format {
        Format::Json => {
            let tokens: Vec<Value> = tokens.iter().map(of_token).collect();
            output::print(&output::json(&json!({ "tokens": tokens }), 0)?)
        }
        _ if tokens.is_empty() => output::print_text("no tokens\n"),
        _ => output::print_text(&tokens.iter().map(row_of_token).collect::<String>()),
    }
}

fn generate(flags: &KeysGenerateFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    if token_uri::is_tpm(&flags.token.uri) {
        let key = tpm::generate(&flags.token.uri, flags.kind)?;
        return print_one(format, &key, of_tpm_key, row_of_tpm_key);
    }
    let key = open(token_uri::parse(&flags.token.uri)?, &flags.token)?.generate(flags.kind.into())?;
    print_one(format, &key, of_key, row_of_key)
}

fn print_one<T>(
    format: Format,
    key: &T,
    value: impl Fn(&T) -> Value,
    row: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Json => output::print(&output::json(&value(key), 0)?),
        _ => output::print_text(&row(key)),
    }
}

fn csr(flags: &KeysCsrFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table, Format::Raw])?;
    let request = match token_uri::is_tpm(&flags.token.uri) {
        true => tpm::request(&flags.token.uri, &flags.subject)?,
        false => {
            let key = open(token_uri::parse(&flags.token.uri)?, &flags.token)?.key()?;
            key.certificate_request(&flags.subject)?
        }
    };
    match format {
        Format::Json => output::print(&output::json(&json!({ "csr": request }), 0)?),
        _ => output::print_text(&request),
    }
}

fn open(uri: Pkcs11Uri, flags: &TokenFlag) -> Result<OpenToken, Failure> {
    Ok(OpenToken::open(uri, plan::token_options(flags.pin_env.as_deref())?)?)
}

fn of_token(token: &TokenFacts) -> Value {
    json!({
        "token": token.label,
        "manufacturer": token.manufacturer,
        "model": token.model,
        "serial": token.serial,
        "slotId": token.slot,
        "hardware": token.is_hardware,
    })
}

fn row_of_token(token: &TokenFacts) -> String {
    let place = if token.is_hardware { "hardware" } else { "not declared as hardware" };
    let TokenFacts { label, model, serial, slot, .. } = token;
    format!("{}\n", one_line(&format!("{label}  {model}  serial {serial}  slot {slot}  {place}")))
}

fn of_key(key: &KeyFacts) -> Value {
    json!({
        "label": key.label,
        "id": hex(&key.id),
        "type": key.kind,
        "extractable": key.leaves.is_some(),
        "certificate": key.has_certificate,
    })
}

fn row_of_key(key: &KeyFacts) -> String {
    let leaves = match key.leaves {
        Some(reason) => format!("can be copied: {reason}"),
        None => "never leaves the token".to_owned(),
    };
    let certificate = if key.has_certificate { "with certificate" } else { "without certificate" };
    let row = format!("{}  id {}  {}  {leaves}  {certificate}", key.label, hex(&key.id), key.kind);
    format!("{}\n", one_line(&row))
}

fn of_tpm_key(key: &KeyRow) -> Value {
    json!({
        "handle": key.handle,
        "type": key.kind,
        "extractable": key.leaves.is_some(),
        "usable": key.fault.is_none(),
    })
}

fn row_of_tpm_key(key: &KeyRow) -> String {
    let KeyRow { handle, kind, .. } = key;
    let fact = match (key.fault, key.leaves) {
        (Some(fault), _) => format!("cannot be used: {fault}"),
        (None, Some(reason)) => format!("can be copied: {reason}"),
        (None, None) => "never leaves the TPM".to_owned(),
    };
    format!("{}\n", one_line(&format!("{handle}  {kind}  {fact}")))
}

/// Returns an id in hexadecimal.
fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
