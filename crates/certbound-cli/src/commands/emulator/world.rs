//! `emulator world`, and the world file of --world.

use std::path::Path;
use std::time::Duration;

use certbound_emulator::World;
use certbound_emulator::serve::CurrentEmulator;

use crate::failure::{Failure, REFUSED};
use crate::flags::WhatFlags;
use crate::hosted::What;
use crate::input;
use crate::output;
use crate::usage::Usage;

/// The time limit for reading the world file again.
const RELOAD_WITHIN: Duration = Duration::from_secs(10);
/// The largest world file, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

pub(super) fn print() -> Result<(), Failure> {
    let text = World::built_in().to_toml().map_err(|error| {
        Failure::new(
            REFUSED,
            "emulator_failed",
            "the world could not be written",
            error,
            "report this error as a bug of certbound",
        )
    })?;
    output::print(text.as_bytes())
}

/// Returns the world and the seed that the flags name.
pub(super) fn load(flags: &WhatFlags) -> Result<What, Failure> {
    Ok(What { world: world(flags.world.as_deref())?, seed: flags.seed.clone() })
}

/// Reads the world file again and replaces the world of a running emulator.
///
/// If a mount hangs, a read can block its thread forever. That thread has no effect on the emulator.
pub(super) async fn reload(file: &Path, current: &CurrentEmulator) -> Result<(), Failure> {
    let unusable = |reason: String| Usage::World { path: file.display().to_string(), reason };
    // The runtime still serves requests while the file is read, and while keys are made.
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || world(Some(&path)));
    let read = tokio::time::timeout(RELOAD_WITHIN, read).await;
    let late = || unusable(format!("it was not read within {} s", RELOAD_WITHIN.as_secs()));
    let world = read.map_err(|_| late())?.map_err(|panic| unusable(panic.to_string()))??;
    let current = current.clone();
    let replaced = tokio::task::spawn_blocking(move || current.replace(world)).await;
    replaced.map_err(|panic| unusable(panic.to_string()))?.map_err(|error| unusable(error.to_string()))?;
    Ok(())
}

/// Returns the world of the file, or the built-in world.
fn world(file: Option<&Path>) -> Result<World, Failure> {
    let Some(file) = file else { return Ok(World::built_in()) };
    let path = || file.display().to_string();
    let text = input::text(file, &input::file(file, MAX_BYTES)?)?;
    let world =
        World::from_toml(&text).map_err(|error| Usage::World { path: path(), reason: error.to_string() })?;
    Ok(world)
}
