//! Which backend this kernel gives.

use anyhow::Context;

use super::Args;
use crate::config;
use crate::probe::hooks::Backend;
use crate::probe::load::{self, Loaded};

/// Puts the best backend in place that the kernel allows, or the one that the configuration names.
///
/// # Errors
/// [`load::LoadError`] of the last one tried; those before it are in the log.
pub fn choose(args: &Args, config: &config::Config) -> anyhow::Result<Loaded> {
    let wanted: &[Backend] = match config.backend {
        config::Backend::Auto => &Backend::ALL,
        config::Backend::Lsm => &[Backend::Lsm],
        config::Backend::Fentry => &[Backend::Fentry],
        config::Backend::Fanotify => &[Backend::Fanotify],
    };
    let options = load::Options {
        ring_bytes: config.limits.ring_buffer_bytes,
        log_level: if args.kernel_log { 5 } else { 0 },
        object: args.object.clone(),
    };
    let mut last = None;
    for backend in wanted {
        match load::load(*backend, &options) {
            Ok(loaded) => {
                tracing::info!(backend = backend.name(), hooks = loaded.hooks.len(), "programs attached");
                for blind in backend.blind_spots() {
                    tracing::info!(backend = backend.name(), "cannot see: {blind}");
                }
                return Ok(loaded);
            }
            Err(error) => {
                tracing::info!(backend = backend.name(), "not possible: {error}");
                last = Some(error);
            }
        }
    }
    Err(last.context("no backend was tried")?.into())
}
