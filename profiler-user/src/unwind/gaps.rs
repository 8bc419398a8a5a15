//! Code that nothing describes, but that can be unwound all the same.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use profiler_common::unwind::{
    Architecture, Native,
    rule::{Rule, kind},
};

use super::{elf::Part, steps::Steps};

/// Between functions lie a few bytes of padding. A gap of this size is code that no compiler of C made, such as V8's
/// built-in functions: what can be hoped for is that it keeps a chain of frame pointers, and the chain is checked.
const LARGE: u64 = 4096;
/// Bytes of `syscall`, `test`, `jl`, `jz` and `ret` at the most.
const CLONE_BYTES: u64 = 32;
/// Bytes of an entry of a procedure linkage table, which is also how entries are aligned (System V ABI AMD64, 5.2).
const LINKAGE_BYTES: u64 = 16;
/// Where in such an entry its push ends.
const LINKAGE_PUSHED: i16 = 11;
const SP: u8 = Native::SP;

/// Bytes behind the entry point that belong to the program's first function where nothing describes it: ld.so's `_start`
/// and `_dl_start_user`, and that of C libraries without call-frame information.
const ENTRY_BYTES: u64 = 128;

/// The code that the gaps are in.
pub(super) struct Code<'a> {
    pub(super) file: &'a Arc<File>,
    /// Loadable segments.
    pub(super) loaded: &'a [Part],
    /// Where a program begins.
    pub(super) entry: u64,
}

/// The same rules with what is known of gaps.
pub(super) fn fill(steps: &Steps, window: &Range<u64>, code: &Code<'_>) -> Steps {
    let mut filled = Steps::default();
    let all = steps.as_slice();
    for (index, &(address, rule)) in all.iter().enumerate() {
        let end = all.get(index + 1).map_or(window.end, |&(next, _)| next);
        if rule == Rule::GAP
            && !(address..end).contains(&code.entry)
            && let Some(table) = code.linkage_table(address..end)
        {
            filled.append(&table);
            continue;
        }
        let before = index.checked_sub(1).and_then(|before| all.get(before)).map(|&(_, rule)| rule);
        let after = all.get(index + 1).map(|&(_, rule)| rule);
        let rule = match rule {
            Rule::GAP if end.saturating_sub(address) >= LARGE => Rule::FRAME_POINTER,
            Rule::GAP
                if before == Some(Rule::offset(SP, 8))
                    && after == Some(Rule::END)
                    && end - address <= CLONE_BYTES
                    && code.is_system_call(address) =>
            {
                Rule::special(kind::CLONE)
            }
            rule => rule,
        };
        filled.push(address, rule);
        if (rule == Rule::GAP || rule == Rule::FRAME_POINTER) && (address..end).contains(&code.entry) {
            filled.push(code.entry, Rule::END);
            let behind = code.entry + ENTRY_BYTES;
            if behind < end {
                filled.push(behind, rule);
            }
        }
    }
    filled
}

impl Code<'_> {
    /// The rules of a gap that has entries of a procedure linkage table in it. lld describes none of them, and a program of
    /// many calls between libraries is there once in a thousand samples.
    fn linkage_table(&self, gap: Range<u64>) -> Option<Steps> {
        let first = gap.start.checked_next_multiple_of(LINKAGE_BYTES)?;
        let part = self.loaded.iter().find_map(|part| part.from(first))?;
        let length = gap.end.checked_sub(first)?.min(part.size);
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.file.read_exact_at(&mut bytes, part.offset).ok()?;
        let mut rules = Steps::default();
        rules.push(gap.start, Rule::GAP);
        let mut last = None;
        for (entry, address) in bytes.as_chunks::<16>().0.iter().zip((first..).step_by(16)) {
            match *entry {
                // jmp *slot(%rip); push $number; jmp to the table's head.
                [0xff, 0x25, _, _, _, _, 0x68, _, _, _, _, 0xe9, ..] => {
                    rules.push(address, Rule { cfa_add: LINKAGE_PUSHED, ..Rule::special(kind::PLT) });
                }
                // The head: push slot(%rip), which comes on top of the entry's push; jmp *slot(%rip).
                [0xff, 0x35, _, _, _, _, 0xff, 0x25, ..] => {
                    rules.push(address, Rule::offset(SP, 16));
                    rules.push(address + 6, Rule::offset(SP, 24));
                }
                _ => {
                    rules.push(address, Rule::GAP);
                    continue;
                }
            }
            last = Some(address + LINKAGE_BYTES);
        }
        let behind = last?;
        if gap.end > behind {
            rules.push(behind, if gap.end - behind >= LARGE { Rule::FRAME_POINTER } else { Rule::GAP });
        }
        Some(rules)
    }

    /// Whether the instruction at an address is `syscall`.
    fn is_system_call(&self, address: u64) -> bool {
        let mut code = [0; 2];
        let part = self.loaded.iter().find_map(|part| part.from(address));
        part.is_some_and(|part| {
            self.file.read_exact_at(&mut code, part.offset).is_ok() && code == [0x0f, 0x05]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn steps(list: &[(u64, Rule)]) -> Steps {
        let mut steps = Steps::default();
        for &(address, rule) in list {
            steps.push(address, rule);
        }
        steps
    }

    fn filled(list: &[(u64, Rule)], end: u64) -> Vec<(u64, Rule)> {
        let mut file = tempfile::tempfile().unwrap();
        // At 0x1010: syscall.
        file.write_all(&[0x90; 16]).unwrap();
        file.write_all(&[0x0f, 0x05, 0xc3]).unwrap();
        let loaded = [Part { address: 0x1000, offset: 0, size: 0x2_0000 }];
        let code = Code { file: &Arc::new(file), loaded: &loaded, entry: 0x1180 };
        fill(&steps(list), &(0x1000..end), &code).as_slice().to_vec()
    }

    #[test]
    fn a_first_function_that_nothing_describes_is_the_end() {
        let call = Rule::offset(SP, 8);
        let list = [(0x1000, call), (0x1170, Rule::GAP), (0x1240, call)];
        let expected = [list[0], list[1], (0x1180, Rule::END), (0x1200, Rule::GAP), list[2]];
        assert_eq!(filled(&list, 0x2000), expected);
        let described = [(0x1000, call), (0x1190, Rule::GAP), (0x1240, call)];
        assert_eq!(filled(&described, 0x2000), described);
    }

    #[test]
    fn padding_stays_a_gap_and_much_code_keeps_frame_pointers() {
        let call = Rule::offset(SP, 8);
        let list = [(0x1000, call), (0x1100, Rule::GAP), (0x1110, call), (0x1200, Rule::GAP)];
        assert_eq!(filled(&list, 0x2000), list);
        assert_eq!(filled(&list, 0x3000)[3], (0x1200, Rule::FRAME_POINTER));
    }

    #[test]
    fn linkage_tables_that_nothing_describes_are_known_by_their_code() {
        let mut bytes = vec![0xcc; 16];
        // As in libLLVM, which lld links: the head and two entries.
        bytes.extend([0xff, 0x35, 0x7a, 0xf6, 0x23, 0, 0xff, 0x25, 0x7c, 0xf6, 0x23, 0, 0x0f, 0x1f, 0x40, 0]);
        for number in 0..2 {
            bytes.extend([
                0xff, 0x25, 0x7a, 0xee, 0x23, 0, 0x68, number, 0, 0, 0, 0xe9, 0xe0, 0xef, 0xff, 0xff,
            ]);
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let loaded = [Part { address: 0x1000, offset: 0, size: bytes.len() as u64 }];
        let code = Code { file: &Arc::new(file), loaded: &loaded, entry: 0 };
        let call = Rule::offset(SP, 8);
        let filled = fill(&steps(&[(0x1000, call), (0x1004, Rule::GAP)]), &(0x1000..0x1040), &code);
        let entry = Rule { cfa_add: 11, ..Rule::special(kind::PLT) };
        let expected = [
            (0x1000, call),
            (0x1004, Rule::GAP),
            (0x1010, Rule::offset(SP, 16)),
            (0x1016, Rule::offset(SP, 24)),
            (0x1020, entry),
        ];
        assert_eq!(filled.as_slice(), expected);
        // A page that begins within the table.
        let filled = fill(&steps(&[(0x1030, Rule::GAP)]), &(0x1030..0x1040), &code);
        assert_eq!(filled.as_slice(), [(0x1030, entry)]);
    }

    #[test]
    fn the_system_call_that_makes_a_thread_is_known_by_what_surrounds_it() {
        let call = Rule::offset(SP, 8);
        let clone = [(0x1000, call), (0x1010, Rule::GAP), (0x1020, Rule::END)];
        assert_eq!(filled(&clone, 0x1100)[1], (0x1010, Rule::special(kind::CLONE)));
        let elsewhere = [(0x1000, call), (0x1008, Rule::GAP), (0x1020, Rule::END)];
        assert_eq!(filled(&elsewhere, 0x1100), elsewhere);
        let other = [(0x1000, call), (0x1010, Rule::GAP), (0x1020, call)];
        assert_eq!(filled(&other, 0x1100), other);
    }
}
