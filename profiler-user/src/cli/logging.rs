//! The log on stderr.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging: warnings always, more with each step of `verbosity`. Libraries only warn, and the BPF program, whose
/// messages carry the target `profiler`, speaks like the agent itself.
pub(super) fn init(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let targets = Targets::new()
        .with_target("profiler", level)
        .with_target("profiler_user", level)
        .with_default(LevelFilter::WARN);
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .compact();
    // A second call, as tests may make, leaves the first log in place.
    let _ = tracing_subscriber::registry().with(targets).with(layer).try_init();
}
