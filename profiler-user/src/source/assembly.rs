//! The instructions of programs, as binutils' `objdump` prints them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};

use object::read::{Object, ObjectSegment, ObjectSymbol, ReadCache};
use object::{SegmentFlags, SymbolKind, elf};

use crate::report::disasm::{Code, Mapped};

/// Instructions of one function: more are not read.
const MOST: usize = 200_000;

/// How instructions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// AT&T's.
    #[default]
    Att,
    /// Intel's.
    Intel,
}

/// The functions of a mapping's file that have an address which is wanted, with their instructions.
///
/// # Errors
/// The file is not there, or is another one by now, in a sentence. A function whose instructions cannot be read says so by
/// itself.
pub fn code(mapped: &Mapped, syntax: Syntax) -> Result<Vec<Code>, String> {
    let path = Path::new(&mapped.path);
    if !path.is_absolute() {
        return Err(format!("{:?} is no file", mapped.path));
    }
    // Paths come from the profile, and a device or pipe would never end.
    let is_file = std::fs::metadata(path).is_ok_and(|data| data.is_file());
    let file = File::open(path).ok().filter(|_| is_file);
    let file = file.ok_or_else(|| format!("looked for {}, which is not there", path.display()))?;
    let cache = ReadCache::new(BufReader::new(file));
    let object = object::File::parse(&cache)
        .map_err(|error| format!("{} cannot be read ({error})", path.display()))?;
    let own = object.build_id().ok().flatten().map(crate::process::hex);
    if own.is_some_and(|own| !mapped.build_id.is_empty() && own != mapped.build_id) {
        return Err(format!("{} is not the file that was profiled: its build-id differs", path.display()));
    }
    // Where the mapped part of the file lies, by the file's own addresses.
    let segment = object.segments().find(|segment| {
        let (offset, size) = segment.file_range();
        let executable =
            matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if (p_flags & elf::PF_X).0 != 0);
        // A mapping begins at the page that the segment begins in.
        executable && (offset & !0xfff..offset.saturating_add(size)).contains(&mapped.offset)
    });
    let segment =
        segment.ok_or_else(|| format!("{} has no code where the profile has it", path.display()))?;
    let bias = segment
        .address()
        .wrapping_sub(segment.file_range().0)
        .wrapping_add(mapped.offset)
        .wrapping_sub(mapped.start);
    let wanted: BTreeSet<u64> = mapped
        .addresses
        .iter()
        .filter(|(_, cost)| cost.wanted)
        .map(|(address, _)| address.wrapping_add(bias))
        .collect();
    let mut found: Vec<Code> = Vec::new();
    for symbol in object.symbols().chain(object.dynamic_symbols()) {
        let (start, end) = (symbol.address(), symbol.address().saturating_add(symbol.size()));
        let has_wanted = start < end && wanted.range(start..end).next().is_some();
        // Of several names for the same code, the first.
        if symbol.kind() != SymbolKind::Text || !has_wanted || found.iter().any(|code| code.start == start) {
            continue;
        }
        let name = symbol.name().unwrap_or_default().to_owned();
        let instructions = instructions(path, start, end, syntax);
        found.push(Code { symbol: name, start, end, bias, instructions });
    }
    Ok(found)
}

fn instructions(path: &Path, start: u64, end: u64, syntax: Syntax) -> Result<Vec<(u64, String)>, String> {
    let mut command = Command::new("objdump");
    command
        .args(["--disassemble", "--demangle", "--no-show-raw-insn"])
        .arg(format!("--start-address={start:#x}"))
        .arg(format!("--stop-address={end:#x}"));
    if syntax == Syntax::Intel {
        command.arg("--disassembler-options=intel");
    }
    let started = command.arg(path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = started.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "binutils' objdump, which reads them, is not installed".to_owned(),
        _ => format!("binutils' objdump cannot be run ({error})"),
    })?;
    let Some(stdout) = child.stdout.take() else { return Err("objdump has no output".to_owned()) };
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let read: Vec<(u64, String)> = lines.filter_map(|line| instruction(&line)).take(MOST).collect();
    // With the most read, it may be in the middle of a write.
    let _ = child.kill();
    let ended = child.wait();
    if read.is_empty() {
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        return Err(format!("objdump prints none of them ({how})"));
    }
    Ok(read)
}

/// Reads `  401136:  push   %rbp`.
fn instruction(line: &str) -> Option<(u64, String)> {
    let (address, text) = line.split_once(':')?;
    let address = u64::from_str_radix(address.trim(), 16).ok()?;
    let text = text.trim();
    // A comment names what an address is; pprof leaves it, and so do we.
    (!text.is_empty() && !text.starts_with("file format")).then(|| (address, text.replace('\t', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_objdump_prints() {
        assert_eq!(instruction("  401136:\tpush   %rbp"), Some((0x40_1136, "push   %rbp".to_owned())));
        assert_eq!(instruction("0000000000401136 <main>:"), None);
        assert_eq!(instruction("a.out:     file format elf64-x86-64"), None);
        assert_eq!(instruction(""), None);
    }

    #[test]
    fn says_why_there_is_no_code() {
        let mapped = |path: &str| Mapped { path: path.to_owned(), ..Mapped::default() };
        assert!(code(&mapped("[kernel.kallsyms]"), Syntax::Att).unwrap_err().contains("is no file"));
        assert!(code(&mapped("/nonexistent/app"), Syntax::Att).unwrap_err().contains("not there"));
        assert!(code(&mapped("/dev/zero"), Syntax::Att).unwrap_err().contains("not there"));
        let here = std::env::current_exe().unwrap();
        let other = Mapped { build_id: "00".to_owned(), ..mapped(here.to_str().unwrap()) };
        let error = code(&other, Syntax::Att);
        assert!(
            error.as_ref().is_ok_and(Vec::is_empty) || error.is_err_and(|error| error.contains("build-id"))
        );
    }
}
