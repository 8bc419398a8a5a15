//! What the kernel side tells and asks while a window is under way.

use std::mem::offset_of;

use profiler_common::{
    layout::{
        Announcement, DEFERRED_PAGE_BYTES, DEFERRED_PAGES, DEFERRED_STACKS, Deferred, FirstSight, NAME_BYTES,
        Name, PageWanted, ProcessInfo, ProcessKey, STRINGS_BYTES, Stacks, UnknownPc,
    },
    unwind::{GENERAL, General},
};

/// One message; they are told apart by their length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A process was sampled that was not known before. With what it was started with, where that is known.
    FirstSight(FirstSight, Option<Strings>),
    /// A process ran code outside of its known mappings.
    UnknownPc(UnknownPc),
    /// A sample needed rows that are not loaded.
    PageWanted(PageWanted),
    /// A sample is to be walked in user space.
    Deferred(Box<DeferredSample>),
}

/// What a process was started with, each string followed by a zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// As /proc/PID/cmdline has them.
    pub arguments: Vec<u8>,
    /// As /proc/PID/environ has it.
    pub environment: Vec<u8>,
}

/// A [`Deferred`] with what is valid of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredSample {
    /// The process.
    pub process: ProcessKey,
    /// The thread's name.
    pub thread_name: Name,
    /// Number of the window.
    pub epoch: u64,
    /// Program counter of the first user frame.
    pub pc: u64,
    /// Its general registers by DWARF number.
    pub registers: General,
    /// Whether `pc` is a return address: the thread is in a system call.
    pub is_return: bool,
    /// The kernel frames.
    pub kernel: Vec<u64>,
    /// Which stacks there are.
    pub places: Stacks,
    /// Their memory: the alternate stack's first, then the ordinary one's.
    pub stack: Vec<StackPart>,
    /// Bytes that were looked through for it.
    pub reach: u64,
}

/// Stack memory without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackPart {
    /// Address of the first byte.
    pub start: u64,
    /// What is there.
    pub bytes: Vec<u8>,
}

impl DeferredSample {
    /// Bytes of memory that it holds.
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.stack.iter().map(|part| part.bytes.len()).sum()
    }
}

impl Message {
    /// Reads a message; `None` for one of no known length.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let long = |at| long(bytes, at);
        let short = |at| short(bytes, at);
        let process = || Some(ProcessKey { start_ns: long(0)?, pid: short(8)?, exec_id: short(12)? });
        Some(match bytes.len() {
            8 => Self::PageWanted(PageWanted { directory: short(0)?, page: short(4)? }),
            24 => Self::UnknownPc(UnknownPc { process: process()?, pc: long(16)? }),
            56 => Self::FirstSight(first_sight(bytes, process()?)?, None),
            length if STRINGS_BYTES.iter().any(|strings| length == STRINGS_AT + strings) => {
                Self::FirstSight(first_sight(bytes, process()?)?, Some(strings(bytes)?))
            }
            length if DEFERRED_STACKS.iter().any(|stack| length == STACK_AT + stack) => {
                Self::Deferred(Box::new(deferred(bytes, process()?)?))
            }
            _ => return None,
        })
    }
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn first_sight(bytes: &[u8], process: ProcessKey) -> Option<FirstSight> {
    let long = |at| long(bytes, at);
    let short = |at| short(bytes, at);
    let name: [u8; NAME_BYTES] = bytes.get(16..32)?.try_into().ok()?;
    let (cgroup_id, lost) = (long(32)?, long(48)?);
    let info = ProcessInfo { name, cgroup_id, forked_as: short(40)?, image_of: short(44)?, lost };
    Some(FirstSight { process, info })
}

/// Where the strings lie in an [`Announcement`], however long it is.
const STRINGS_AT: usize = offset_of!(Announcement<8>, strings);

fn strings(bytes: &[u8]) -> Option<Strings> {
    let place = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    };
    let strings = bytes.get(STRINGS_AT..)?;
    let environment = place(offset_of!(Announcement<8>, environment))?
        ..place(offset_of!(Announcement<8>, environment_end))?;
    Some(Strings {
        arguments: strings.get(..place(offset_of!(Announcement<8>, arguments_end))?)?.to_vec(),
        environment: strings.get(environment)?.to_vec(),
    })
}

const PAGE: usize = DEFERRED_PAGE_BYTES as usize;
/// Where the stack lies in a [`Deferred`], however long it is.
const STACK_AT: usize = offset_of!(Deferred<8>, stack);

fn deferred(bytes: &[u8], process: ProcessKey) -> Option<DeferredSample> {
    let word = |at| long(bytes, at);
    let length = |at: usize| usize::try_from(word(at)?).ok();
    let mut registers = [0; GENERAL];
    for (index, register) in registers.iter_mut().enumerate() {
        *register = word(offset_of!(Deferred<8>, registers) + index * 8)?;
    }
    let kernel = bytes.get(offset_of!(Deferred<8>, kernel)..STACK_AT)?.as_chunks().0;
    let kernel = kernel.get(..length(offset_of!(Deferred<8>, kernel_frames))?)?;
    let place = |field: usize| word(offset_of!(Deferred<8>, stacks) + field);
    let places = Stacks {
        alternate: place(offset_of!(Stacks, alternate))?,
        alternate_bytes: place(offset_of!(Stacks, alternate_bytes))?,
        ordinary: place(offset_of!(Stacks, ordinary))?,
    };
    let mut pages = [0; DEFERRED_PAGES / 64];
    for (index, part) in pages.iter_mut().enumerate() {
        *part = word(offset_of!(Deferred<8>, pages) + index * 8)?;
    }
    let stack = bytes.get(STACK_AT..)?;
    let whole = length(offset_of!(Deferred<8>, stack_bytes))?;
    Some(DeferredSample {
        process,
        thread_name: bytes.get(offset_of!(Deferred<8>, thread_name)..)?.first_chunk().copied()?,
        epoch: word(offset_of!(Deferred<8>, epoch))?,
        pc: word(offset_of!(Deferred<8>, pc))?,
        registers,
        is_return: word(offset_of!(Deferred<8>, is_return))? == 1,
        kernel: kernel.iter().copied().map(u64::from_ne_bytes).collect(),
        places,
        stack: stack_parts(stack, whole, pages, places)?,
        reach: stack.len() as u64,
    })
}

/// What could be read of the stacks: `whole` bytes from the start, and pages behind gaps.
fn stack_parts(
    stack: &[u8],
    whole: usize,
    pages: [u64; DEFERRED_PAGES / 64],
    places: Stacks,
) -> Option<Vec<StackPart>> {
    let alternate_bytes = usize::try_from(places.alternate_bytes).unwrap_or(usize::MAX);
    let (alternate, ordinary) = stack.get(..whole)?.split_at(alternate_bytes.min(whole));
    let mut parts = Vec::new();
    for (start, bytes) in [(places.alternate, alternate), (places.ordinary, ordinary)] {
        if !bytes.is_empty() {
            parts.push(StackPart { start, bytes: bytes.to_vec() });
        }
    }
    let is_there = |page: usize| pages.get(page / 64).is_some_and(|bits| bits >> (page % 64) & 1 == 1);
    let mut page = 0;
    while page < DEFERRED_PAGES {
        let run = (page..).take_while(|page| is_there(*page)).count();
        if run > 0 {
            // The kernel side fills no page that is in the copy without gaps.
            if page * PAGE < whole {
                return None;
            }
            let start = places.first_page().checked_add((page * PAGE) as u64)?;
            parts.push(StackPart { start, bytes: stack.get(page * PAGE..)?.get(..run * PAGE)?.to_vec() });
        }
        page += run + 1;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&7_u64.to_ne_bytes());
        bytes.extend_from_slice(&42_u32.to_ne_bytes());
        bytes.extend_from_slice(&3_u32.to_ne_bytes());
        bytes
    }

    const KEY: ProcessKey = ProcessKey { start_ns: 7, pid: 42, exec_id: 3 };

    #[test]
    fn an_announcement_is_read_field_by_field() {
        let mut bytes = process();
        bytes.extend_from_slice(b"postgres\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(&9_u64.to_ne_bytes());
        for word in [2_u32, 41, 0, 0] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        let name = *b"postgres\0\0\0\0\0\0\0\0";
        let info = ProcessInfo { name, cgroup_id: 9, forked_as: 2, image_of: 41, lost: 0 };
        let sight = FirstSight { process: KEY, info };
        assert_eq!(Message::parse(&bytes), Some(Message::FirstSight(sight, None)));
        assert_eq!(Message::parse(&bytes[1..]), None);
        // With strings: where they end and begin, and nothing.
        for place in [5_u32, 5, 13, 0] {
            bytes.extend_from_slice(&place.to_ne_bytes());
        }
        bytes.extend_from_slice(b"a\0-b\0A=1\0B=2\0 what was in memory");
        for size in STRINGS_BYTES {
            bytes.resize(STRINGS_AT + size, b'x');
            let strings = Strings { arguments: b"a\0-b\0".to_vec(), environment: b"A=1\0B=2\0".to_vec() };
            assert_eq!(Message::parse(&bytes), Some(Message::FirstSight(sight, Some(strings))));
        }
        // Places that the kernel side does not write.
        bytes[offset_of!(Announcement<8>, environment_end) + 3] = 1;
        assert_eq!(Message::parse(&bytes), None);
    }

    #[test]
    fn a_deferred_sample_has_as_much_stack_as_could_be_read() {
        let mut bytes = vec![0; STACK_AT + DEFERRED_STACKS[0]];
        bytes[..16].copy_from_slice(&process());
        let mut set = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        set(offset_of!(Deferred<8>, pc), 0x1234);
        set(offset_of!(Deferred<8>, registers) + 7 * 8, 0x7000);
        set(offset_of!(Deferred<8>, stacks) + offset_of!(Stacks, ordinary), 0x7000);
        set(offset_of!(Deferred<8>, kernel_frames), 1);
        set(offset_of!(Deferred<8>, kernel), 0xffff);
        set(offset_of!(Deferred<8>, stack_bytes), 256);
        let Some(Message::Deferred(sample)) = Message::parse(&bytes) else { panic!("a deferred sample") };
        assert_eq!((sample.process, sample.pc, sample.registers[7]), (KEY, 0x1234, 0x7000));
        assert_eq!((sample.kernel.as_slice(), sample.is_return, sample.reach), (&[0xffff][..], false, 8192));
        assert_eq!(lengths(&sample.stack), [(0x7000, 256)]);
        // More than there can be.
        bytes[offset_of!(Deferred<8>, stack_bytes) + 3] = 1;
        assert_eq!(Message::parse(&bytes), None);
    }

    fn lengths(parts: &[StackPart]) -> Vec<(u64, usize)> {
        parts.iter().map(|part| (part.start, part.bytes.len())).collect()
    }

    #[test]
    fn an_alternate_stack_comes_before_the_ordinary_one() {
        let stack = vec![0; 256];
        let places = Stacks { alternate: 0x9000, alternate_bytes: 200, ordinary: 0x7000 };
        let parts = |places| stack_parts(&stack, 256, [0; 4], places).expect("parts");
        assert_eq!(lengths(&parts(places)), [(0x9000, 200), (0x7000, 56)]);
        let places = Stacks { alternate_bytes: 300, ..places };
        assert_eq!(lengths(&parts(places)), [(0x9000, 256)]);
    }

    #[test]
    fn pages_behind_a_gap_are_parts_of_their_own() {
        let mut stack = vec![0; 7 * PAGE];
        let places = Stacks { alternate: 0, alternate_bytes: 0, ordinary: 0x7f00 };
        // What lies at 0x7000 would be the second page: 0x8000 is missing, 0x9000 and 0xa000 are there, and so is 0xc000.
        stack[3 * PAGE] = 7;
        let parts = stack_parts(&stack, 256, [0b101_1000, 0, 0, 0], places).expect("parts");
        assert_eq!(lengths(&parts), [(0x7f00, 256), (0x9000, 2 * PAGE), (0xc000, PAGE)]);
        assert_eq!(parts[1].bytes[0], 7);
        let places = Stacks { alternate: 0x100, alternate_bytes: 512, ordinary: 0x7f00 };
        let parts = stack_parts(&stack, 512 + 256, [0b101_0000, 0, 0, 0], places).expect("parts");
        assert_eq!(lengths(&parts), [(0x100, 512), (0x7f00, 256), (0x9000, PAGE), (0xb000, PAGE)]);
        assert_eq!(stack_parts(&stack, 0, [1 << 7, 0, 0, 0], places), None, "behind the end of the copy");
    }

    #[test]
    fn questions_are_told_apart_by_length() {
        let mut bytes = process();
        bytes.extend_from_slice(&0x1234_u64.to_ne_bytes());
        let expected = Message::UnknownPc(UnknownPc { process: KEY, pc: 0x1234 });
        assert_eq!(Message::parse(&bytes), Some(expected));
        let expected = Message::PageWanted(PageWanted { directory: 0x1234, page: 0 });
        assert_eq!(Message::parse(&bytes[16..]), Some(expected));
    }
}
