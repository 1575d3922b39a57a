//! `emulator world`, and the world file of --world.

use std::path::Path;

use certbound_emulator::World;

use crate::failure::{Failure, REFUSED};
use crate::flags::WhatFlags;
use crate::hosted::What;
use crate::input;
use crate::output;
use crate::usage::Usage;

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

/// Returns the world of the file, or the built-in world.
fn world(file: Option<&Path>) -> Result<World, Failure> {
    let Some(file) = file else { return Ok(World::built_in()) };
    let path = || file.display().to_string();
    let text = input::text(file, &input::file(file, MAX_BYTES)?)?;
    let world =
        World::from_toml(&text).map_err(|error| Usage::World { path: path(), reason: error.to_string() })?;
    Ok(world)
}
