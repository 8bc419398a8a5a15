//! Code of x86_64 that is known by its instructions.

use profiler_common::unwind::rule::{Rule, kind};

use super::{Arch, LINKAGE_BYTES, Steps};

/// Bytes of `syscall`, `test`, `jl`, `jz` and `ret` at the most.
pub(super) const CLONE_BYTES: u64 = 32;
/// Where in an entry of a procedure linkage table its push ends.
const LINKAGE_PUSHED: i16 = 11;

/// Adds the rules of the entries of a procedure linkage table; `first` is the address of the first byte. Gives back the
/// address behind the last one, if there is one.
pub(super) fn linkage_table(bytes: &[u8], first: u64, rules: &mut Steps) -> Option<u64> {
    let sp = Arch::X86_64.sp();
    let mut last = None;
    for (entry, address) in bytes.as_chunks::<16>().0.iter().zip((first..).step_by(16)) {
        match *entry {
            // jmp *slot(%rip); push $number; jmp to the table's head.
            [0xff, 0x25, _, _, _, _, 0x68, _, _, _, _, 0xe9, ..] => {
                rules.push(address, Rule { cfa_add: LINKAGE_PUSHED, ..Rule::special(kind::PLT) });
            }
            // The head: push slot(%rip), which comes on top of the entry's push; jmp *slot(%rip).
            [0xff, 0x35, _, _, _, _, 0xff, 0x25, ..] => {
                rules.push(address, Rule::offset(sp, 16));
                rules.push(address + 6, Rule::offset(sp, 24));
            }
            _ => {
                rules.push(address, Rule::GAP);
                continue;
            }
        }
        last = Some(address + LINKAGE_BYTES);
    }
    last
}

/// Whether code begins with `syscall`.
pub(super) fn is_system_call(code: &[u8]) -> bool {
    code.starts_with(&[0x0f, 0x05])
}
