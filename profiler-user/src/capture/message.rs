//! What the kernel side tells and asks while a window is under way.

use std::mem::offset_of;

use profiler_common::{
    layout::{
        DEFERRED_STACKS, Deferred, FirstSight, NAME_BYTES, Name, PageWanted, ProcessInfo, ProcessKey, Stacks,
        UnknownPc,
    },
    unwind::General,
};

/// One message; they are told apart by their length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A process was sampled that was not known before.
    FirstSight(FirstSight),
    /// A process ran code outside of its known mappings.
    UnknownPc(UnknownPc),
    /// A sample needed rows that are not loaded.
    PageWanted(PageWanted),
    /// A sample is to be walked in user space.
    Deferred(Box<DeferredSample>),
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
    /// Their memory: the alternate stack's, and the ordinary one's behind it.
    pub stack: Vec<u8>,
}

impl DeferredSample {
    /// The alternate and the ordinary stack: where the copy of each begins, and what is there.
    #[must_use]
    pub fn stacks(&self) -> [(u64, &[u8]); 2] {
        let border = usize::try_from(self.places.alternate_bytes).unwrap_or(usize::MAX);
        let (alternate, ordinary) = self.stack.split_at(border.min(self.stack.len()));
        [(self.places.alternate, alternate), (self.places.ordinary, ordinary)]
    }
}

impl Message {
    /// Reads a message; `None` for one of no known length.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let process = || Some(ProcessKey { start_ns: long(0)?, pid: short(8)?, exec_id: short(12)? });
        Some(match bytes.len() {
            8 => Self::PageWanted(PageWanted { directory: short(0)?, page: short(4)? }),
            24 => Self::UnknownPc(UnknownPc { process: process()?, pc: long(16)? }),
            48 => {
                let name: [u8; NAME_BYTES] = bytes.get(16..32)?.try_into().ok()?;
                let info = ProcessInfo { name, cgroup_id: long(32)?, lost: long(40)? };
                Self::FirstSight(FirstSight { process: process()?, info })
            }
            length if DEFERRED_STACKS.iter().any(|stack| length == STACK_AT + stack) => {
                Self::Deferred(Box::new(deferred(bytes, process()?)?))
            }
            _ => return None,
        })
    }
}

/// Where the stack lies in a [`Deferred`], however long it is.
const STACK_AT: usize = offset_of!(Deferred<8>, stack);

fn deferred(bytes: &[u8], process: ProcessKey) -> Option<DeferredSample> {
    let word = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let length = |at: usize| usize::try_from(word(at)?).ok();
    let mut registers = [0; 16];
    for (index, register) in registers.iter_mut().enumerate() {
        *register = word(offset_of!(Deferred<8>, registers) + index * 8)?;
    }
    let kernel = bytes.get(offset_of!(Deferred<8>, kernel)..STACK_AT)?.as_chunks().0;
    let kernel = kernel.get(..length(offset_of!(Deferred<8>, kernel_frames))?)?;
    let stack = bytes.get(STACK_AT..)?;
    let place = |field: usize| word(offset_of!(Deferred<8>, stacks) + field);
    let places = Stacks {
        alternate: place(offset_of!(Stacks, alternate))?,
        alternate_bytes: place(offset_of!(Stacks, alternate_bytes))?,
        ordinary: place(offset_of!(Stacks, ordinary))?,
    };
    Some(DeferredSample {
        process,
        thread_name: bytes.get(offset_of!(Deferred<8>, thread_name)..)?.first_chunk().copied()?,
        epoch: word(offset_of!(Deferred<8>, epoch))?,
        pc: word(offset_of!(Deferred<8>, pc))?,
        registers,
        is_return: word(offset_of!(Deferred<8>, is_return))? == 1,
        kernel: kernel.iter().copied().map(u64::from_ne_bytes).collect(),
        places,
        stack: stack.get(..length(offset_of!(Deferred<8>, stack_bytes))?)?.to_vec(),
    })
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
        bytes.extend_from_slice(&0_u64.to_ne_bytes());
        let info = ProcessInfo { name: *b"postgres\0\0\0\0\0\0\0\0", cgroup_id: 9, lost: 0 };
        let expected = Message::FirstSight(FirstSight { process: KEY, info });
        assert_eq!(Message::parse(&bytes), Some(expected));
        assert_eq!(Message::parse(&bytes[1..]), None);
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
        assert_eq!(
            (sample.kernel.as_slice(), sample.stack.len(), sample.is_return),
            (&[0xffff][..], 256, false)
        );
        assert_eq!(sample.stacks().map(|(start, stack)| (start, stack.len())), [(0, 0), (0x7000, 256)]);
        let places = Stacks { alternate: 0x9000, alternate_bytes: 200, ordinary: 0x7000 };
        let sample = DeferredSample { places, ..*sample };
        assert_eq!(sample.stacks().map(|(start, stack)| (start, stack.len())), [(0x9000, 200), (0x7000, 56)]);
        let places = Stacks { alternate_bytes: 300, ..places };
        let sample = DeferredSample { places, ..sample };
        assert_eq!(sample.stacks().map(|(start, stack)| (start, stack.len())), [(0x9000, 256), (0x7000, 0)]);
        // More than there can be.
        bytes[offset_of!(Deferred<8>, stack_bytes) + 3] = 1;
        assert_eq!(Message::parse(&bytes), None);
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
