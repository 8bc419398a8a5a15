//! What may be asked of a machine whose processor is a program.

use std::time::Duration;

/// Where this variable is set, the machine is emulated in software: `cargo xtask vm test` sets it in such machines.
const VARIABLE: &str = "PROFILER_TEST_EMULATED";
/// How many more may be amiss for each that is not: user space takes ten to twenty times as long, the profiler's too, so that
/// more samples come before it has put their tables into the kernel, and programs take longer to start.
const MORE: f64 = 10.0;

/// The share that is to be reached, where it is `least` on a processor.
pub fn least(least: f64) -> f64 {
    if std::env::var_os(VARIABLE).is_some() { eased(least) } else { least }
}

/// How long to look at something, where it is so long on a processor.
pub fn longer(time: Duration) -> Duration {
    if std::env::var_os(VARIABLE).is_some() { 2 * time } else { time }
}

fn eased(least: f64) -> f64 {
    least / (least + MORE * (1.0 - least))
}

#[cfg(test)]
mod tests {
    use super::eased;

    #[test]
    fn whole_stacks_are_still_asked_for() {
        assert!((eased(0.995) - 0.952).abs() < 1e-3);
        assert!((eased(0.75) - 0.231).abs() < 1e-3);
        assert!((eased(1.0) - 1.0).abs() < 1e-9);
    }
}
