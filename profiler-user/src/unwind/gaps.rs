//! Code that nothing describes, but that can be unwound all the same.

mod aarch64;
mod x86_64;

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use profiler_common::unwind::rule::{Rule, kind};

use super::{arch::Arch, elf::Part, steps::Steps};

/// Between functions lie a few bytes of padding. A gap of this size is code that no compiler of C made, such as V8's
/// built-in functions: what can be hoped for is that it keeps a chain of frame pointers, and the chain is checked.
const LARGE: u64 = 4096;
/// Bytes that the entries of a procedure linkage table are aligned by (System V ABI AMD64, 5.2; for aarch64 binutils,
/// bfd/elfnn-aarch64.c).
const LINKAGE_BYTES: u64 = 16;

/// Bytes behind the entry point that belong to the program's first function where nothing describes it: ld.so's `_start`
/// and `_dl_start_user`, and that of C libraries without call-frame information.
const ENTRY_BYTES: u64 = 128;

/// The code that the gaps are in.
pub(super) struct Code<'a> {
    pub(super) arch: Arch,
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
            && let Some(known) = code.known_gap(address..end)
        {
            filled.append(&known);
            continue;
        }
        let before = index.checked_sub(1).and_then(|before| all.get(before)).map(|&(_, rule)| rule);
        let after = all.get(index + 1).map(|&(_, rule)| rule);
        let rule = match rule {
            Rule::GAP if end.saturating_sub(address) >= LARGE => Rule::FRAME_POINTER,
            Rule::GAP
                if code.arch == Arch::X86_64
                    && before == Some(code.arch.called())
                    && after == Some(Rule::END)
                    && end - address <= x86_64::CLONE_BYTES
                    && code
                        .read(address..address + 2)
                        .is_some_and(|bytes| x86_64::is_system_call(&bytes)) =>
            {
                Rule::special(kind::CLONE)
            }
            Rule::END if code.arch == Arch::Aarch64 && address > window.start => {
                // What was said of the code before it does not hold in the new thread, which goes on there.
                if let Some(from) = code.clone_before(address, window, &filled) {
                    filled.push(from, Rule::special(kind::CLONE));
                }
                rule
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
    /// The rules of a gap whose code is known by its instructions.
    fn known_gap(&self, gap: Range<u64>) -> Option<Steps> {
        // The vDSO is a library, and begins at address 0, which is what libraries say that their entry is.
        if let Some(functions) = self.frameless_vdso(gap.clone()) {
            return Some(functions);
        }
        if gap.contains(&self.entry) { None } else { self.linkage_table(gap) }
    }

    /// The rules of a gap that has entries of a procedure linkage table in it. Of linkers only GNU's describe them, on x86_64,
    /// and a program of many calls between libraries is there once in a thousand samples.
    fn linkage_table(&self, gap: Range<u64>) -> Option<Steps> {
        let first = gap.start.checked_next_multiple_of(LINKAGE_BYTES)?;
        let bytes = self.read(first..gap.end)?;
        let mut rules = Steps::default();
        rules.push(gap.start, Rule::GAP);
        let behind = match self.arch {
            Arch::X86_64 => x86_64::linkage_table(&bytes, first, &mut rules),
            Arch::Aarch64 => aarch64::linkage_table(&bytes, first, &mut rules),
        }?;
        if gap.end > behind {
            rules.push(behind, if gap.end - behind >= LARGE { Rule::FRAME_POINTER } else { Rule::GAP });
        }
        Some(rules)
    }

    /// The rules of a gap that has the vDSO of an aarch64 kernel in it.
    fn frameless_vdso(&self, gap: Range<u64>) -> Option<Steps> {
        if self.arch != Arch::Aarch64 || gap.end - gap.start >= LARGE {
            return None;
        }
        let functions = aarch64::frameless_before_trampoline(&self.read(gap.clone())?, gap.start)?;
        let mut rules = Steps::default();
        rules.push(gap.start, Rule::GAP);
        rules.push(functions.start, self.arch.called());
        rules.push(functions.end, Rule::GAP);
        Some(rules)
    }

    /// From where on the code in front of a thread's first function is that behind the system call which makes the thread.
    fn clone_before(&self, thread: u64, window: &Range<u64>, known: &Steps) -> Option<u64> {
        let from = thread.saturating_sub(aarch64::CLONE_BYTES).max(window.start);
        let behind = aarch64::behind_clone(&self.read(from..thread)?, from)?;
        let is_called = |&(_, rule): &(u64, Rule)| rule == self.arch.called() || rule == Rule::GAP;
        let steps = known.as_slice();
        let first = steps.partition_point(|step| step.0 <= behind).checked_sub(1)?;
        steps[first..].iter().all(is_called).then_some(behind)
    }

    /// The code in a range of addresses, as far as it is in one segment.
    fn read(&self, code: Range<u64>) -> Option<Vec<u8>> {
        let part = self.loaded.iter().find_map(|part| part.from(code.start))?;
        let length = code.end.checked_sub(code.start)?.min(part.size);
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.file.read_exact_at(&mut bytes, part.offset).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SP: u8 = 7;

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
        let code = Code { arch: Arch::X86_64, file: &Arc::new(file), loaded: &loaded, entry: 0x1180 };
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
        let code = Code { arch: Arch::X86_64, file: &Arc::new(file), loaded: &loaded, entry: 0 };
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

    /// The rules of code at 0x1000 for aarch64, by its instructions.
    fn filled_on_aarch64(list: &[(u64, Rule)], instructions: &[u32]) -> Vec<(u64, Rule)> {
        code_on_aarch64(0, list, instructions)
    }

    fn code_on_aarch64(entry: u64, list: &[(u64, Rule)], instructions: &[u32]) -> Vec<(u64, Rule)> {
        let bytes: Vec<u8> = instructions.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let end = 0x1000 + bytes.len() as u64;
        let loaded = [Part { address: 0x1000, offset: 0, size: bytes.len() as u64 }];
        let code = Code { arch: Arch::Aarch64, file: &Arc::new(file), loaded: &loaded, entry };
        fill(&steps(list), &(0x1000..end), &code).as_slice().to_vec()
    }

    #[test]
    fn linkage_tables_of_aarch64_keep_the_return_address_in_its_register() {
        const NOP: u32 = 0xd503_201f;
        let entry = [0x9000_0110, 0xf940_0611, 0x9100_2210, 0xd61f_0220];
        let signed = [0xd503_245f, 0x9000_0110, 0xf940_0611, 0x9100_2210, 0xd503_219f, 0xd61f_0220];
        let head = [0xa9bf_7bf0, 0xf000_00f0, 0xf947_fe11, 0x913f_e210, 0xd61f_0220, NOP, NOP, NOP];
        let called = Arch::Aarch64.called();
        let list = [(0x1000, called), (0x1004, Rule::GAP)];
        let code = [&[NOP; 4][..], &head, &entry, &signed, &signed, &[NOP; 2]].concat();
        let pushed = Rule { cfa_add: -8, ..Rule::offset(31, 16) };
        let expected = [
            (0x1000, called),
            (0x1004, Rule::GAP),
            (0x1010, called),
            (0x1014, pushed),
            (0x1030, called),
            (0x1070, Rule::GAP),
        ];
        assert_eq!(filled_on_aarch64(&list, &code), expected);
        let no_table = [NOP; 40];
        assert_eq!(filled_on_aarch64(&list, &no_table), list);
    }

    #[test]
    fn functions_of_an_aarch64_vdso_keep_the_return_address_in_its_register_but_for_the_trampoline() {
        // A function with a frame; one without; nop; mov x8, #139; svc; one with a frame.
        let code = [
            0xa9bf_7bfd,
            0xa8c1_7bfd,
            0xd65f_03c0,
            0xd503_233f,
            0xd400_0001,
            0xd65f_03c0,
            0xd503_201f,
            0xd280_1168,
            0xd400_0001,
            0xa9b8_7bfd,
        ];
        let called = Arch::Aarch64.called();
        let gap = [(0x1000, Rule::GAP)];
        let expected = [(0x1000, Rule::GAP), (0x1008, called), (0x1018, Rule::GAP)];
        assert_eq!(filled_on_aarch64(&gap, &code), expected);
        assert_eq!(filled_on_aarch64(&gap, &code[..7]), gap);
        let whole = code_on_aarch64(0x1000, &gap, &code);
        assert_eq!(whole, expected, "where the entry is said to be changes nothing");
    }

    #[test]
    fn on_aarch64_the_system_call_that_makes_a_thread_has_a_branch_to_its_first_function() {
        // As in glibc's clone: svc; cmp; b.eq thread; b.lt; ret; b; nop.
        let clone = [
            0xd280_1b88,
            0xd400_0001,
            0xf100_001f,
            0x5400_00a0,
            0x5400_004b,
            0xd65f_03c0,
            0x17fc_fea6,
            0xd503_201f,
            0xd280_001d,
            0xaa0c_03e0,
        ];
        let called = Arch::Aarch64.called();
        let list = [(0x1000, called), (0x101c, Rule::GAP), (0x1020, Rule::END)];
        let expected = [(0x1000, called), (0x1008, Rule::special(kind::CLONE)), (0x1020, Rule::END)];
        assert_eq!(filled_on_aarch64(&list, &clone), expected);
        let mut elsewhere = clone;
        elsewhere[3] = 0x5400_0080;
        assert_eq!(filled_on_aarch64(&list, &elsewhere), list);
        let other = [(0x1000, called), (0x100c, Rule::offset(31, 16)), (0x1020, Rule::END)];
        assert_eq!(filled_on_aarch64(&other, &clone), other);
    }
}
