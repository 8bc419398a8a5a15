//! Go's code: functions that are no links in the chain of frame pointers.

use std::{fs::File, ops::Range, sync::Arc};

use profiler_common::unwind::rule::{Rule, fp, kind};

use super::{Result, bytes::Bytes, cursor::Cursor, elf::Part, steps::Steps};

/// Symbols that are looked at.
const MOST_SYMBOLS: u64 = 1 << 20;
const SYMBOL_BYTES: u64 = 24;
const STT_FUNC: u8 = 2;
/// Bytes of a special function: they are short pieces of assembly.
const MOST_FUNCTION_BYTES: u64 = 1 << 12;

/// Functions whose rule is another one than a frame pointer's, whatever their code does (Go's runtime/asm_amd64.s,
/// rt0_linux_amd64.s and sys_linux_amd64.s).
///
/// Those that begin a stack have no caller, but the frame pointer need not say so: a thread starts with that of the
/// thread that made it. The trampoline that signal handlers return to stands above the kernel's signal frame.
const SPECIAL: [(&[u8], Rule); 11] = [
    (b"runtime.goexit", Rule::END),
    (b"runtime.mstart", Rule::END),
    (b"runtime.rt0_go", Rule::END),
    (b"_rt0_amd64", Rule::END),
    (b"_rt0_amd64_linux", Rule::END),
    (b"runtime.sigreturn__sigaction", Rule::SIGNAL),
    // Its name before Go 1.20.
    (b"runtime.sigreturn", Rule::SIGNAL),
    // These change stacks, which only the frame pointer follows.
    (b"runtime.systemstack", Rule::FRAME_POINTER),
    (b"runtime.mcall", Rule::FRAME_POINTER),
    (b"runtime.asmcgocall", Rule::FRAME_POINTER),
    (b"runtime.morestack", Rule::FRAME_POINTER),
];

/// A rule of Go's .debug_frame with what it leaves out: code with a frame saves the frame pointer right behind the return
/// address (cmd/internal/obj/x86/obj6.go; the assembler has kept the chain since Go 1.7).
pub(super) fn with_frame_pointer(rule: Rule) -> Rule {
    if rule.kind == kind::OFFSET && rule.fp == fp::UNCHANGED && rule.cfa_offset >= 16 {
        Rule { fp: fp::AT_CFA, fp_offset: -16, ..rule }
    } else {
        rule
    }
}

/// The special rules, and gaps between; nothing where the table of symbols was stripped.
pub(super) fn special(file: &Arc<File>, symbols: Part, names: Part) -> Result<Steps> {
    let mut table = Bytes::of_file(file, symbols.offset, symbols.size);
    let mut strings = Bytes::of_file(file, names.offset, names.size);
    table.allow(2 * MOST_SYMBOLS * SYMBOL_BYTES);
    // Names are in the order of the symbols, or almost.
    strings.allow(256 << 20);
    let mut found = Vec::new();
    for index in 0..(table.len() / SYMBOL_BYTES).min(MOST_SYMBOLS) {
        let bytes = table.read(index * SYMBOL_BYTES, SYMBOL_BYTES as usize)?;
        let Some((name, code)) = function(bytes) else {
            continue;
        };
        let name = strings.read_up_to(name, 32)?.split(|&byte| byte == 0).next().unwrap_or_default();
        // Assembly functions carry the name of their calling convention since Go 1.17.
        let name = name.strip_suffix(b".abi0").unwrap_or(name);
        if let Some((_, rule)) = SPECIAL.iter().find(|special| special.0 == name)
            && found.len() < 4 * SPECIAL.len()
        {
            // The kernel "returns" to the trampoline's first byte, and callers are looked up one byte before.
            let early = u64::from(*rule == Rule::SIGNAL);
            found.push((code.start.saturating_sub(early), code.end, *rule));
        }
    }
    found.sort_unstable();
    let mut steps = Steps::default();
    for (start, end, rule) in found {
        steps.push(start, rule);
        steps.push(end, Rule::GAP);
    }
    Ok(steps)
}

/// Place of the name and addresses of the code, if a symbol is a short function.
fn function(bytes: &[u8]) -> Option<(u64, Range<u64>)> {
    let mut cursor = Cursor::new(bytes, 0);
    let (name, info, _other, _section) = (cursor.u32()?, cursor.u8()?, cursor.u8()?, cursor.u16()?);
    let (start, size) = (cursor.u64()?, cursor.u64()?);
    let short = info & 0xf == STT_FUNC && (1..=MOST_FUNCTION_BYTES).contains(&size);
    short.then_some((name.into(), start..start.checked_add(size)?))
}
