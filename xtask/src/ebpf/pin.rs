//! The text file beside the objects that says which toolchain they came from and what their hashes are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::toolchain::{Versions, output};

/// The file's name in the object folder.
pub(super) const FILE: &str = "toolchain.txt";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// What all objects were built with.
    pub(super) toolchain: Versions,
    /// SHA-256 in hexadecimal by name within the folder.
    pub(super) objects: BTreeMap<String, String>,
}

impl Pin {
    /// A pin that vouches for no object yet.
    pub(super) fn new(toolchain: Versions) -> Self {
        Self { toolchain, objects: BTreeMap::new() }
    }

    /// Reads the pin of a folder; `None` when there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                Self::parse(&text).with_context(|| format!("cannot read {}", path.display())).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the pin of a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        fs::write(&path, self.format()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn format(&self) -> String {
        let Versions { rustc, llvm, bpf_linker } = &self.toolchain;
        let mut text = format!(
            "# Written by `cargo xtask ebpf build`, checked by `cargo xtask ebpf verify`.\n\
             rustc: {rustc}\nllvm: {llvm}\nbpf-linker: {bpf_linker}\n"
        );
        for (name, sha256) in &self.objects {
            text.push_str(&format!("sha256 {name}: {sha256}\n"));
        }
        text
    }

    fn parse(text: &str) -> Result<Self> {
        let mut fields = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) =
                line.split_once(": ").with_context(|| format!("not `name: value`: {line}"))?;
            fields.insert(name, value.to_owned());
        }
        let mut take = |name| fields.remove(name).with_context(|| format!("there is no line `{name}: `"));
        let toolchain =
            Versions { rustc: take("rustc")?, llvm: take("llvm")?, bpf_linker: take("bpf-linker")? };
        let mut objects = BTreeMap::new();
        for (name, value) in fields {
            match name.strip_prefix("sha256 ") {
                Some(name) => objects.insert(name.to_owned(), value),
                None => bail!("unknown line `{name}: `"),
            };
        }
        Ok(Self { toolchain, objects })
    }
}

/// The SHA-256 of a file in hexadecimal, by coreutils.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg("--").arg(path))?;
    line.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut pin = Pin::new(Versions {
            rustc: "1.96.0 (ac68faa20 2026-05-25)".to_owned(),
            llvm: "22.1.8".to_owned(),
            bpf_linker: "0.13.0".to_owned(),
        });
        pin.objects.insert("x86_64/profiler.bpf.o".to_owned(), "00ff".to_owned());
        assert_eq!(Pin::parse(&pin.format()).unwrap(), pin);
    }

    #[test]
    fn a_pin_with_a_line_missing_or_unknown_is_refused() {
        assert!(Pin::parse("rustc: 1\nllvm: 2\n").is_err());
        assert!(Pin::parse("rustc: 1\nllvm: 2\nbpf-linker: 3\ncolour: blue\n").is_err());
        assert!(Pin::parse("rustc 1\n").is_err());
    }
}
