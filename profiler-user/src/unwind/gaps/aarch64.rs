//! Code of aarch64 that is known by its instructions.

use std::ops::Range;

use profiler_common::unwind::rule::Rule;

use super::{Arch, Steps};

/// Bytes in front of a thread's first function in which the system call is that makes the thread.
pub(super) const CLONE_BYTES: u64 = 64;

/// adrp x16, page of the slot
const ADRP: (u32, u32) = (0x9f00_001f, 0x9000_0010);
/// ldr x17, [x16, #offset]
const LDR: (u32, u32) = (0xffc0_03ff, 0xf940_0211);
/// add x16, x16, #offset
const ADD: (u32, u32) = (0xff80_03ff, 0x9100_0210);
/// br x17
const BR: (u32, u32) = (u32::MAX, 0xd61f_0220);
/// autia1716: checks the signature of the address in the slot.
const AUTHENTICATE: u32 = 0xd503_219f;
/// bti c: may be branched to.
const LANDING_PAD: u32 = 0xd503_245f;
/// stp x16, x30, [sp, #-16]!: how the head begins.
const PUSH: u32 = 0xa9bf_7bf0;
/// nop
const NOP: u32 = 0xd503_201f;
/// svc #0
const SYSTEM_CALL: u32 = 0xd400_0001;

/// Adds the rules of the entries of a procedure linkage table; `first` is the address of the first byte. Gives back the
/// address behind the last one, if there is one. Entries leave the stack and the return address's register as they are;
/// the head pushes the latter.
pub(super) fn linkage_table(bytes: &[u8], first: u64, rules: &mut Steps) -> Option<u64> {
    let code: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let called = Arch::Aarch64.called();
    let at = |index: usize| first + 4 * index as u64;
    let mut last = None;
    let mut index = 0;
    while index < code.len() {
        let start = index;
        index += usize::from(code.get(index) == Some(&LANDING_PAD));
        let pushes = code.get(index) == Some(&PUSH);
        index += usize::from(pushes);
        let Some(length) = jump_by_slot(code.get(index..).unwrap_or_default()) else {
            rules.push(at(start), Rule::GAP);
            index = start + 1;
            continue;
        };
        rules.push(at(start), called);
        if pushes {
            rules.push(at(index), Rule { cfa_add: -8, ..Rule::offset(Arch::Aarch64.sp(), 16) });
        }
        index += length;
        last = Some(at(index));
        // Entries are padded to a size.
        while code.get(index) == Some(&NOP) {
            index += 1;
        }
    }
    last
}

/// How many instructions the jump to where a slot says takes, if code begins with one.
fn jump_by_slot(code: &[u32]) -> Option<usize> {
    let is =
        |index: usize, (mask, value): (u32, u32)| code.get(index).is_some_and(|word| word & mask == value);
    if !is(0, ADRP) || !is(1, LDR) || !is(2, ADD) {
        return None;
    }
    let branch = 3 + usize::from(code.get(3) == Some(&AUTHENTICATE));
    is(branch, BR).then_some(branch + 1)
}

/// The address behind a system call that is followed by a branch, where the result is zero, to the end of this code: there
/// the new thread goes on. `start` is the address of the first byte.
pub(super) fn behind_clone(bytes: &[u8], start: u64) -> Option<u64> {
    let code: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let call = code.iter().rposition(|&word| word == SYSTEM_CALL)?;
    let leads_to_end = |(index, word): (usize, &u32)| {
        // b.eq, or cbz x0; both have the distance in instructions in 19 bits.
        let is_branch = word & 0xff00_001f == 0x5400_0000 || word & 0xff00_001f == 0xb400_0000;
        is_branch && index + (*word as usize >> 5 & 0x7_ffff) == code.len()
    };
    code.iter().enumerate().skip(call + 1).any(leads_to_end).then(|| start + 4 * (call as u64 + 1))
}

/// Where the functions of the vDSO are that leave the stack and the return address's register as they are: those in front of
/// the trampoline that signal handlers return to, as far as that is so. No kernel describes its code; what tells the time
/// needs no frame, and asks the kernel without one.
///
/// What is right before the trampoline is left out, for there its callers are looked up.
pub(super) fn frameless_before_trampoline(bytes: &[u8], first: u64) -> Option<Range<u64>> {
    const TRAMPOLINE: [u32; 2] = [0xd280_1168, SYSTEM_CALL];
    let code: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let trampoline = code.windows(2).position(|words| words == TRAMPOLINE)?;
    let end = trampoline.checked_sub(1)?;
    let start = code.get(..end)?.iter().rposition(|&word| needs_frame(word)).map_or(0, |index| index + 1);
    let at = |index: usize| first + 4 * index as u64;
    (start < end).then(|| at(start)..at(end))
}

/// Whether an instruction moves the stack pointer or calls (Arm ARM, section C4.1).
fn needs_frame(word: u32) -> bool {
    [
        // bl
        (0xfc00_0000, 0x9400_0000),
        // blr, also with a signature
        (0xfeff_f000, 0xd63f_0000),
        // add, sub to sp: with a constant, with a register
        (0x3f80_001f, 0x1100_001f),
        (0x3fe0_001f, 0x0b20_001f),
        // stp, ldp and str, ldr that move sp
        (0x3a80_03e0, 0x2880_03e0),
        (0x3b20_07e0, 0x3800_07e0),
    ]
    .iter()
    .any(|&(mask, value)| word & mask == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_that_need_a_frame() {
        for word in [
            0x9400_00a2, // bl
            0xd63f_0140, // blr x10
            0xd73f_0a9f, // blraa x20, sp
            0xd100_43ff, // sub sp, sp, #16
            0x9100_03bf, // mov sp, x29
            0xcb21_63ff, // sub sp, sp, x1
            0xa9b8_7bfd, // stp x29, x30, [sp, #-128]!
            0xa8c8_7bfd, // ldp x29, x30, [sp], #128
            0xf81f_0ffe, // str x30, [sp, #-16]!
            0xf841_07fe, // ldr x30, [sp], #16
        ] {
            assert!(needs_frame(word), "{word:#x}");
        }
        for word in [
            0xd503_233f, // paciasp
            0x8b24_63e4, // add x4, sp, x4
            0xd400_0001, // svc #0
            0xd65f_03c0, // ret
            0xf940_03e0, // ldr x0, [sp]
            0xa901_53f3, // stp x19, x20, [sp, #16]
            0x5400_0366, // b.vs
            0xb900_6fe0, // str w0, [sp, #108]
        ] {
            assert!(!needs_frame(word), "{word:#x}");
        }
    }
}
