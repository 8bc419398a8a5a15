//! Programs without symbols whose debug information lies in a file of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf;
use crate::programs::{Program, must_run};
use crate::session::Session;

/// `chain.c` as a program without symbols, and its debug file elsewhere.
#[derive(Debug)]
pub struct Split {
    /// The stripped program.
    pub program: PathBuf,
    /// What was stripped.
    pub debug: PathBuf,
}

impl Split {
    /// Splits a build with a build-id of its own, which begins with the two digits `seed`.
    pub fn build(session: &Session, seed: &str, flags: &[&str]) -> Split {
        let program = session.path("chain-split");
        let debug = session.path("app.debug");
        let unique = format!("{:08x}{:016x}", std::process::id(), crate::cpu::unix_now());
        let id = format!("{seed}{unique}{:0>14}", "");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-g", &format!("-Wl,--build-id=0x{id}")]).args(flags).arg("-o");
        must_run(gcc.arg(&program).arg(Program::Debug.source()));
        assert_eq!(elf::build_id(&program).as_deref(), Some(&*id));
        must_run(Command::new("objcopy").arg("--only-keep-debug").args([&program, &debug]));
        must_run(Command::new("strip").arg("--strip-all").arg(&program));
        assert_eq!(elf::symbol_count(&program), 0, "the program is stripped");
        Split { program, debug }
    }

    /// Puts the debug file where distributions put it.
    pub fn install_by_build_id(&self) -> Installed {
        let id = elf::build_id(&self.program).expect("a build-id");
        let file = format!("/usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
        Installed::new(&self.debug, file.into())
    }
}

/// A file that is removed at the end, with the folder that was made for it.
#[derive(Debug)]
pub struct Installed {
    file: PathBuf,
    made_folder: bool,
}

impl Installed {
    /// Copies `from` to `file`.
    pub fn new(from: &Path, file: PathBuf) -> Installed {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let made_folder = !folder.exists();
        let installed = Installed { file, made_folder };
        let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(from, &installed.file));
        assert!(copied.is_ok(), "cannot install {}: {copied:?}", installed.file.display());
        installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // What cannot be removed at the end of a test is not worth a second panic.
        let _ = std::fs::remove_file(&self.file);
        if let (true, Some(folder)) = (self.made_folder, self.file.parent()) {
            let _ = std::fs::remove_dir(folder);
        }
    }
}
