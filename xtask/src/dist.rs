//! `cargo xtask dist`: man pages and completions, for packages.
//!
//! They are made of the definition of the command line by an example of the tests' crate, which tests them, too.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::example;

/// Where to write them.
#[derive(clap::Args, Debug)]
pub(crate) struct Dist {
    /// The folder that gets man/ and completions/; packages are made of the one at the top.
    #[arg(short, long, value_name = "DIR", default_value = "target/dist")]
    output: PathBuf,
}

pub(crate) fn run(args: &Dist) -> Result<()> {
    let output =
        std::path::absolute(&args.output).with_context(|| format!("{} is no path", args.output.display()))?;
    // As packages are built: most of it is there already, or is needed next.
    example::run("dist", &["--release"], [output])
}
