//! Whether a file has symbols, and is what it should be.

use std::fs::File;

use object::read::ReadCache;
use object::{Object, ObjectSection};

/// Sections that names can be had from: of a program that was stripped, Go's own table is left.
const WITH_NAMES: [&str; 5] =
    [".symtab", ".debug_info", ".zdebug_info", ".gopclntab", ".data.rel.ro.gopclntab"];

/// Whether the file is the object with this build-id, and has names in it.
pub(super) fn has_names(file: &File, build_id: &str) -> bool {
    // Read, not mapped: a file that shrinks would end the agent.
    let cache = ReadCache::new(file);
    let Ok(elf) = object::File::parse(&cache) else { return false };
    let own: String =
        elf.build_id().ok().flatten().unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    own == build_id
        && elf
            .sections()
            .any(|section| section.name().is_ok_and(|name| WITH_NAMES.contains(&name)) && section.size() > 0)
}
