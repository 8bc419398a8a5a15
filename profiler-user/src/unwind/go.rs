//! Go's code: functions that are no links in the chain of frame pointers.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use profiler_common::unwind::rule::{Rule, fp, kind, ra};

use super::{Result, arch::Arch, bytes::Bytes, cursor::Cursor, elf::Part, steps::Steps};

/// Symbols that are looked at.
const MOST_SYMBOLS: u64 = 1 << 20;
const SYMBOL_BYTES: u64 = 24;
const STT_FUNC: u8 = 2;
/// Bytes of a name that matter: the longest special one has 33, with `.abi0`.
pub(super) const NAME_BYTES: usize = 40;
/// Bytes of a special function: they are short pieces of assembly.
pub(super) const MOST_FUNCTION_BYTES: u64 = 1 << 12;

/// pushq %rbp; movq %rsp, %rbp
const PROLOGUE: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
/// sub x29, sp, #8: how the beginning of a function ends on aarch64, behind `str x30, [sp, #-size]!; stur x29, [sp, #-8]`
/// (cmd/internal/obj/arm64/obj7.go).
const FRAME_RECORD: u32 = 0xd100_23fd;
/// ret, which follows `ldur x29, [sp, #-8]; ldr x30, [sp], #size`.
const RETURN: u32 = 0xd65f_03c0;
/// Instructions in which a function's beginning ends, where it has a frame; most often four, with the check of the stack's size.
const BEGINNING: usize = 16;

/// Functions whose rule is another one than a frame pointer's, whatever their code does (Go's runtime/asm_amd64.s,
/// rt0_linux_amd64.s and sys_linux_amd64.s, and those of arm64).
///
/// Those that begin a stack have no caller, but the frame pointer need not say so: a thread starts with that of the
/// thread that made it. The trampoline that signal handlers return to stands above the kernel's signal frame.
const SPECIAL: [(&[u8], Rule); 18] = [
    (b"runtime.goexit", Rule::END),
    (b"runtime.mstart", Rule::END),
    (b"runtime.rt0_go", Rule::END),
    (b"_rt0_amd64", Rule::END),
    (b"_rt0_amd64_linux", Rule::END),
    (b"_rt0_arm64", Rule::END),
    (b"_rt0_arm64_linux", Rule::END),
    (b"runtime.sigreturn__sigaction", Rule::SIGNAL),
    // Its name before Go 1.20.
    (b"runtime.sigreturn", Rule::SIGNAL),
    // These change stacks, which only the frame pointer follows: from a thread's own to a goroutine's, and in some it is
    // zero, for there is no way back.
    (b"runtime.systemstack", Rule::OTHER_STACK),
    (b"runtime.mcall", Rule::OTHER_STACK),
    (b"runtime.asmcgocall", Rule::OTHER_STACK),
    (b"runtime.morestack", Rule::OTHER_STACK),
    (b"runtime.asmcgocall_no_g", Rule::OTHER_STACK),
    // These call the vdso on the thread's own stack.
    (b"runtime.nanotime1", Rule::OTHER_STACK),
    (b"runtime.walltime", Rule::OTHER_STACK),
    (b"runtime.vgetrandom1", Rule::OTHER_STACK),
    (b"time.now", Rule::OTHER_STACK),
];

/// A rule of Go's .debug_frame with what it leaves out: code with a frame saves the frame pointer right below the return
/// address (cmd/internal/obj/x86/obj6.go, arm64/obj7.go; the assemblers have kept the chain since Go 1.7 and 1.12).
pub(super) fn with_frame_pointer(rule: Rule, arch: Arch) -> Rule {
    if rule.kind != kind::OFFSET || rule.fp != fp::UNCHANGED || rule.ra != ra::AT_CFA {
        return rule;
    }
    match arch {
        Arch::X86_64 if rule.cfa_offset >= 16 => Rule { fp: fp::AT_CFA, fp_offset: -16, ..rule },
        Arch::Aarch64 if rule.cfa_register == arch.sp() && i32::from(rule.cfa_add) == -rule.cfa_offset => {
            with_frame(arch, rule.cfa_offset)
        }
        Arch::X86_64 | Arch::Aarch64 => rule,
    }
}

/// The rule in code that has moved the stack pointer by so many bytes.
pub(super) fn moved(arch: Arch, bytes: i32) -> Option<Rule> {
    match arch {
        Arch::X86_64 => {
            bytes.checked_add(8).map(|offset| with_frame_pointer(Rule::offset(arch.sp(), offset), arch))
        }
        Arch::Aarch64 if bytes == 0 => Some(arch.called()),
        Arch::Aarch64 => bytes.checked_neg()?.checked_sub(8).map(|_| with_frame(arch, bytes)),
    }
}

/// The rule in code of aarch64 with a frame of so many bytes: at its lower end is the return address, and the frame pointer
/// below that, outside of the frame. `bytes` is so small that this place has a number.
fn with_frame(arch: Arch, bytes: i32) -> Rule {
    let record = Rule { fp: fp::AT_CFA, fp_offset: -8 - bytes, ra: ra::IN_RECORD, ..Rule::default() };
    Rule { kind: kind::OFFSET, cfa_register: arch.sp(), cfa_offset: bytes, ..record }
}

/// The rule of a function by its name, if it is one of the special ones.
pub(super) fn special_rule(name: &[u8]) -> Option<Rule> {
    // Assembly functions carry the name of their calling convention since Go 1.17.
    let name = name.strip_suffix(b".abi0").unwrap_or(name);
    SPECIAL.iter().find(|special| special.0 == name).map(|special| special.1)
}

/// Where in a function its special rule holds: start, end and rule, in rising order.
pub(super) fn special_parts(
    arch: Arch,
    file: &File,
    loaded: &[Part],
    code: &Range<u64>,
    rule: Rule,
) -> Vec<(u64, u64, Rule)> {
    if rule == Rule::OTHER_STACK {
        let bytes = read(file, loaded, code);
        with_own_frame(arch, code, &bytes).map(|part| (part.start, part.end, rule)).collect()
    } else {
        // The kernel "returns" to the trampoline's first byte, and callers are looked up one byte before.
        let early = u64::from(rule == Rule::SIGNAL);
        vec![(code.start.saturating_sub(early), code.end, rule)]
    }
}

/// Where a function that changes stacks is to be unwound by its frame pointer: nowhere, if it does not begin with saving
/// the caller's.
pub(super) fn parts_with_frame(
    arch: Arch,
    file: &File,
    loaded: &[Part],
    code: &Range<u64>,
) -> Vec<(u64, u64, Rule)> {
    let short = code.end - code.start <= MOST_FUNCTION_BYTES;
    let bytes = if short { read(file, loaded, code) } else { Vec::new() };
    if beginning(arch, &bytes) == 0 {
        return Vec::new();
    }
    with_own_frame(arch, code, &bytes).map(|part| (part.start, part.end, Rule::FRAME_POINTER)).collect()
}

/// The special rules, and gaps between; nothing where the table of symbols was stripped.
pub(super) fn special(
    arch: Arch,
    file: &Arc<File>,
    loaded: &[Part],
    symbols: Part,
    names: Part,
) -> Result<Steps> {
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
        let name = strings.read_up_to(name, NAME_BYTES)?.split(|&byte| byte == 0).next().unwrap_or_default();
        if let Some(rule) = special_rule(name)
            && found.len() < 4 * SPECIAL.len()
        {
            found.extend(special_parts(arch, file, loaded, &code, rule));
        }
    }
    found.sort_unstable_by_key(|&(start, ..)| start);
    let mut steps = Steps::default();
    for (start, end, rule) in found {
        steps.push(start, rule);
        steps.push(end, Rule::GAP);
    }
    Ok(steps)
}

/// The code of a function; nothing where the file does not have it.
fn read(file: &File, loaded: &[Part], code: &Range<u64>) -> Vec<u8> {
    let place = loaded.iter().find_map(|segment| segment.from(code.start));
    let Some(place) = place.filter(|place| place.size >= code.end - code.start) else {
        return Vec::new();
    };
    let mut bytes = vec![0; (code.end - code.start) as usize];
    let read = file.read_exact_at(&mut bytes, place.offset);
    if read.is_ok() { bytes } else { Vec::new() }
}

/// Bytes of a function's beginning, behind which the frame pointer is its own; 0 where it does not begin so.
fn beginning(arch: Arch, bytes: &[u8]) -> usize {
    match arch {
        Arch::X86_64 if bytes.starts_with(PROLOGUE) => PROLOGUE.len(),
        Arch::X86_64 => 0,
        Arch::Aarch64 => {
            let place = instructions(bytes).take(BEGINNING).position(|word| word == FRAME_RECORD);
            place.map_or(0, |place| 4 * (place + 1))
        }
    }
}

fn instructions(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word))
}

/// The parts of a function in which the frame pointer is its own: not the prologue, nor a return.
fn with_own_frame(arch: Arch, code: &Range<u64>, bytes: &[u8]) -> impl Iterator<Item = Range<u64>> {
    // popq %rbp; retq
    const EPILOGUE: &[u8] = &[0x5d, 0xc3];
    let at = |offset: usize| code.start + offset as u64;
    let mut borders = vec![at(beginning(arch, bytes))];
    match arch {
        Arch::X86_64 => {
            let returns = bytes.windows(EPILOGUE.len()).enumerate().filter(|(_, window)| *window == EPILOGUE);
            borders.extend(returns.flat_map(|(place, _)| [at(place + 1), at(place + 2)]));
        }
        Arch::Aarch64 => {
            let returns =
                instructions(bytes).enumerate().filter(|&(place, word)| place > 0 && word == RETURN);
            borders.extend(returns.flat_map(|(place, _)| [at(4 * (place - 1)), at(4 * (place + 1))]));
        }
    }
    borders.push(code.end);
    let parts: Vec<Range<u64>> = borders.as_chunks().0.iter().map(|&[start, end]| start..end).collect();
    parts.into_iter().filter(|part| !part.is_empty())
}

/// Place of the name and addresses of the code, if a symbol is a short function.
fn function(bytes: &[u8]) -> Option<(u64, Range<u64>)> {
    let mut cursor = Cursor::new(bytes, 0);
    let (name, info, _other, _section) = (cursor.u32()?, cursor.u8()?, cursor.u8()?, cursor.u16()?);
    let (start, size) = (cursor.u64()?, cursor.u64()?);
    let short = info & 0xf == STT_FUNC && (1..=MOST_FUNCTION_BYTES).contains(&size);
    short.then_some((name.into(), start..start.checked_add(size)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_pointer_is_not_the_functions_own_at_its_beginning_and_at_returns() {
        let parts = |bytes: &[u8]| {
            with_own_frame(Arch::X86_64, &(0x100..0x110), bytes)
                .map(|part| (part.start, part.end))
                .collect::<Vec<_>>()
        };
        assert_eq!(parts(&[0x90; 16]), [(0x100, 0x110)]);
        let mut code = [0x90; 16];
        code[..4].copy_from_slice(&[0x55, 0x48, 0x89, 0xe5]);
        code[8..10].copy_from_slice(&[0x5d, 0xc3]);
        assert_eq!(parts(&code), [(0x104, 0x109), (0x10a, 0x110)]);
        code[14..].copy_from_slice(&[0x5d, 0xc3]);
        assert_eq!(parts(&code), [(0x104, 0x109), (0x10a, 0x10f)]);
        assert_eq!(parts(&[]), [(0x100, 0x110)]);
    }

    #[test]
    fn on_aarch64_the_return_address_is_at_the_lower_end_of_the_frame_and_the_frame_pointer_below_it() {
        const NOP: u32 = 0xd503_201f;
        let code = [0xf81e_0ffe, 0xf81f_83fd, FRAME_RECORD, NOP, 0xf85f_83fd, 0xf842_07fe, RETURN, NOP];
        let bytes: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        let parts = with_own_frame(Arch::Aarch64, &(0x100..0x120), &bytes);
        let parts: Vec<(u64, u64)> = parts.map(|part| (part.start, part.end)).collect();
        assert_eq!(parts, [(0x10c, 0x114), (0x11c, 0x120)]);
        let frame = Rule { fp: fp::AT_CFA, fp_offset: -40, ra: ra::IN_RECORD, ..Rule::offset(31, 32) };
        let described = Rule { cfa_add: -32, ..Rule::offset(31, 32) };
        assert_eq!(with_frame_pointer(described, Arch::Aarch64), frame);
        assert_eq!(moved(Arch::Aarch64, 32), Some(frame));
        let called = Arch::Aarch64.called();
        assert_eq!(with_frame_pointer(called, Arch::Aarch64), called);
        assert_eq!(moved(Arch::Aarch64, 0), Some(called));
        assert_eq!(moved(Arch::Aarch64, i32::MAX), None);
        assert_eq!(moved(Arch::X86_64, i32::MAX), None);
    }
}
