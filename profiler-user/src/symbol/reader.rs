//! Reads the contents of files, in the process that it is in: by blazesym, and where a program is Go's, by its own table.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use blazesym::{
    ErrorKind,
    symbolize::{
        Input, Sym, Symbolized, Symbolizer, evict,
        source::{Elf, Source},
    },
};

use super::{
    Function, Functions, go,
    linkage::Linkage,
    pages,
    reading::{Contents, Link, Reading, Refusal},
};
use crate::{
    process::{debug_link, may_pass},
    sys,
    unwind::Error,
};

/// Bytes up to which a file is read to see whether it is the one that a debug link means. Larger ones are found by build-id
/// only, which takes no reading: a file with a terabyte of holes costs its owner nothing, and whoever reads it an hour.
const MOST_CHECKED: u64 = 1 << 30;

/// blazesym with the files that it reads.
pub(super) struct Reader {
    symbolizer: Symbolizer,
    files: HashMap<u64, (File, Linkage)>,
    nothing: Functions,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { symbolizer: symbolizer(), files: HashMap::new(), nothing: Arc::new([]) }
    }

    fn file(&self, number: u64) -> Result<&(File, Linkage), Refusal> {
        self.files.get(&number).ok_or_else(|| Refusal::Passing("the file is not held".to_owned()))
    }

    fn ask(
        &self,
        (file, linkage): &(File, Linkage),
        lines: bool,
        addresses: &[u64],
    ) -> Result<Vec<Functions>, blazesym::Error> {
        let mut source = Elf::new(path(file));
        source.debug_syms = lines;
        let answer = self.symbolizer.symbolize(&Source::Elf(source), Input::VirtOffset(addresses))?;
        let named = |symbolized: &Symbolized<'_>| match symbolized {
            Symbolized::Sym(sym) => functions(sym),
            Symbolized::Unknown(_) => Arc::clone(&self.nothing),
        };
        let mut named: Vec<Functions> = answer.iter().map(named).collect();
        linkage.name(file, addresses, &mut named);
        Ok(named)
    }
}

impl Reading for Reader {
    fn hold(&mut self, number: u64, file: &File) -> Result<Contents, Refusal> {
        let file = file.try_clone().map_err(|error| Refusal::Passing(error.to_string()))?;
        let link = match debug_link(&file) {
            Some(None) => Link::None,
            Some(Some((name, checksum))) => Link::To { name, checksum },
            None => Link::Unclear,
        };
        let debug_bytes = pages::debug_bytes(&file)
            .ok_or_else(|| Refusal::Lasting("a section is compressed that never is".to_owned()))?;
        let contents = Contents { link, debug_bytes };
        let linkage = Linkage::of(&file);
        self.files.insert(number, (file, linkage));
        Ok(contents)
    }

    /// Files belong to whoever runs them, and one that makes blazesym panic costs that file its names, but not the reader its
    /// thread.
    fn names(&mut self, number: u64, lines: bool, addresses: &[u64]) -> Result<Vec<Functions>, Refusal> {
        let file = self.file(number)?;
        // Nothing of the symbolizer is used after a panic.
        match catch_unwind(AssertUnwindSafe(|| self.ask(file, lines, addresses))) {
            Ok(answer) => answer.map_err(|error| {
                let text = format!("{error:#}");
                match error.kind() {
                    ErrorKind::OutOfMemory => Refusal::NoMemory,
                    kind if is_passing(kind) => Refusal::Passing(text),
                    _ => Refusal::Lasting(text),
                }
            }),
            Err(_) => {
                self.symbolizer = self::symbolizer();
                Err(Refusal::Broken)
            }
        }
    }

    fn go_names(&mut self, number: u64, addresses: &[u64]) -> Result<Option<Vec<Functions>>, Refusal> {
        go::names(&self.file(number)?.0, addresses).map_err(|error| {
            let text = error.to_string();
            match error {
                Error::Read(error) if may_pass(&error) => Refusal::Passing(text),
                _ => Refusal::Lasting(text),
            }
        })
    }

    fn checksum(&mut self, file: &File) -> Result<Option<u32>, Refusal> {
        Ok(crc32(file))
    }

    fn forget(&mut self, number: u64) -> Result<(), Refusal> {
        // Before its descriptor is closed, whose number will be another file's.
        if let Some((file, _)) = self.files.get(&number)
            && let Err(error) = self.symbolizer.evict(&evict::Elf::new(path(file)).into())
        {
            tracing::debug!("blazesym keeps a file: {error}");
        }
        self.files.remove(&number);
        Ok(())
    }

    fn release_pages(&mut self) -> Result<(), Refusal> {
        pages::release();
        Ok(())
    }

    fn trim(&mut self) -> Result<(), Refusal> {
        sys::limits::trim_heap();
        Ok(())
    }
}

/// Whether the same question may be answered a moment later: no descriptor was left, or the disk did not answer. These have no kind
/// of their own.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Other)
}

fn symbolizer() -> Symbolizer {
    // Debug links are followed by debug_file, which tolerates wrong ones; a file does not change behind its descriptor.
    Symbolizer::builder()
        .set_debug_dirs(None::<[PathBuf; 0]>)
        .enable_auto_reload(true)
        .enable_code_info(true)
        .enable_inlined_fns(true)
        .enable_demangling(true)
        .build()
}

/// A path that leads to an open file, deleted or not, in whichever namespace.
fn path(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// blazesym's answer in our order: it gives the outermost function, then the inlined ones inwards.
fn functions(sym: &Sym<'_>) -> Functions {
    let place = |info: Option<&blazesym::symbolize::CodeInfo<'_>>| {
        info.map_or((String::new(), 0), |info| {
            (info.to_path().to_string_lossy().into_owned(), info.line.unwrap_or(0))
        })
    };
    let inlined = sym.inlined.iter().rev().map(|inlined| {
        let (file, line) = place(inlined.code_info.as_ref());
        Function { name: inlined.name.to_string(), file, line }
    });
    let (file, line) = place(sym.code_info.as_deref());
    inlined.chain([Function { name: sym.name.to_string(), file, line }]).collect()
}

/// CRC-32 of a whole file, as debug links have it; `None` of one that is too large.
fn crc32(file: &File) -> Option<u32> {
    if file.metadata().ok()?.len() > MOST_CHECKED {
        return None;
    }
    // It may grow meanwhile.
    let mut file = file.take(MOST_CHECKED);
    let mut crc = flate2::Crc::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(crc.sum()),
            read => crc.update(buffer.get(..read)?),
        }
    }
}
