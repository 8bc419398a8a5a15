//! Running the cargo that runs this.

use std::path::Path;
use std::process::Command;

/// Cargo, in the workspace, as somebody would start it who is not run by cargo.
///
/// What cargo tells a program about its package would tell build scripts that the package has changed: `ring` is built
/// again then, and after it everything that links it, for minutes.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_the_package) {
            command.env_remove(&name);
        }
    }
    command
}

fn is_about_the_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stay_and_the_package_goes() {
        assert!(is_about_the_package("CARGO_MANIFEST_DIR") && is_about_the_package("CARGO_PKG_NAME"));
        assert!(!is_about_the_package("CARGO_HOME") && !is_about_the_package("CARGO_PROFILE_RELEASE_LTO"));
        let kept = cargo();
        assert!(kept.get_envs().any(|(name, value)| name == "CARGO_MANIFEST_DIR" && value.is_none()));
    }
}
