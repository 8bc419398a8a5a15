//! Field offsets from the kernel's own type information (Documentation/bpf/btf.rst).
//!
//! rustc emits no relocations that a loader could adjust, so offsets are read here and handed to the program as
//! constants. Only what is needed for that is parsed: structs, unions, and the lengths of all other kinds.

use std::fs;

use profiler_common::layout::TaskLayout;

use super::Error;

const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Where the fields of task_struct lie in the running kernel. `user_registers` stays zero: it is measured.
pub(super) fn task_layout() -> Result<TaskLayout, Error> {
    let bytes = fs::read("/sys/kernel/btf/vmlinux").map_err(Error::NoBtf)?;
    let btf = Btf::parse(&bytes).ok_or(Error::BtfField("header"))?;
    let task = btf.find_struct("task_struct").ok_or(Error::BtfField("task_struct"))?;
    let known = |field| btf.member_offset(task, field).map(|bits| bits / 8);
    let offset = |field, error: &'static str| known(field).ok_or(Error::BtfField(error));
    let mm = btf.find_struct("mm_struct");
    let event_clock =
        btf.find_struct("perf_event").and_then(|event| btf.path_offset(event, &["hw", "prev_count"]));
    let memory = |field| mm.and_then(|mm| btf.member_offset(mm, field)).map(|bits| bits / 8);
    Ok(TaskLayout {
        tgid: offset("tgid", "task_struct.tgid")?,
        pid: offset("pid", "task_struct.pid")?,
        flags: offset("flags", "task_struct.flags")?,
        mm: offset("mm", "task_struct.mm")?,
        stack: offset("stack", "task_struct.stack")?,
        comm: offset("comm", "task_struct.comm")?,
        group_leader: offset("group_leader", "task_struct.group_leader")?,
        start_boottime: offset("start_boottime", "task_struct.start_boottime")?,
        self_exec_id: offset("self_exec_id", "task_struct.self_exec_id")?,
        parent_exec_id: known("parent_exec_id").unwrap_or(0),
        real_parent: known("real_parent").unwrap_or(0),
        sas_ss_sp: offset("sas_ss_sp", "task_struct.sas_ss_sp")?,
        sas_ss_size: offset("sas_ss_size", "task_struct.sas_ss_size")?,
        thread_pointer: btf.path_offset(task, THREAD_POINTER).map_or(0, |bits| bits / 8),
        // By the clock that is read from the event.
        last_arrival: event_clock
            .and_then(|_| btf.path_offset(task, &["sched_info", "last_arrival"]))
            .map_or(0, |bits| bits / 8),
        nivcsw: known("nivcsw").unwrap_or(0),
        event_clock: event_clock.map_or(0, |bits| bits / 8),
        start_stack: memory("start_stack").unwrap_or(0),
        arg_start: memory("arg_start")
            .filter(|start| {
                let follows = |(field, place)| memory(field) == Some(start + place);
                [("arg_end", 8), ("env_start", 16), ("env_end", 24)].into_iter().all(follows)
            })
            .unwrap_or(0),
        end_code: memory("end_code").unwrap_or(0),
        exe_file: memory("exe_file").unwrap_or(0),
        user_registers: 0,
    })
}

/// Where a task_struct has the thread pointer (struct thread_struct in the architecture's asm/processor.h).
#[cfg(target_arch = "x86_64")]
const THREAD_POINTER: &[&str] = &["thread", "fsbase"];
#[cfg(target_arch = "aarch64")]
const THREAD_POINTER: &[&str] = &["thread", "uw", "tp_value"];

/// One type: where its record starts, and what its header says.
#[derive(Clone, Copy)]
struct Type {
    offset: usize,
    name: u32,
    info: u32,
}

impl Type {
    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn members(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Whether member offsets share their word with a bit field's width.
    fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }
}

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Type ids start at 1.
    index: Vec<Type>,
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        const MAGIC: u32 = 0xeb9f;
        if word(bytes, 0)? & 0xffff != MAGIC {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        let section = |at: usize| -> Option<&'a [u8]> {
            let start = header.checked_add(word(bytes, at)? as usize)?;
            bytes.get(start..start.checked_add(word(bytes, at + 4)? as usize)?)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut index = Vec::new();
        let mut offset = 0;
        while offset < types.len() {
            let entry = Type { offset, name: word(types, offset)?, info: word(types, offset + 4)? };
            index.push(entry);
            offset += 12 + tail_bytes(entry)?;
        }
        Some(Self { types, strings, index })
    }

    fn name(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    fn find_struct(&self, name: &str) -> Option<Type> {
        self.index.iter().copied().find(|entry| {
            entry.kind() == STRUCT && entry.members() > 0 && self.name(entry.name) == name.as_bytes()
        })
    }

    /// Offset in bits of a member of a member, and so on.
    fn path_offset(&self, outer: Type, path: &[&str]) -> Option<u32> {
        let (field, rest) = path.split_first()?;
        let (bits, id) = self.member(outer, field, 0)?;
        if rest.is_empty() {
            return Some(bits);
        }
        let inner = self.index.get((id as usize).checked_sub(1)?).copied()?;
        Some(bits + self.path_offset(inner, rest)?)
    }

    /// Offset of a member in bits.
    fn member_offset(&self, outer: Type, field: &str) -> Option<u32> {
        self.member(outer, field, 0).map(|(bits, _)| bits)
    }

    /// Offset in bits and type of a member, also of one in an anonymous struct or union, which layout randomization adds.
    fn member(&self, outer: Type, field: &str, depth: u32) -> Option<(u32, u32)> {
        for member in 0..outer.members() {
            let at = outer.offset + 12 + member * 12;
            let (name, id) = (word(self.types, at)?, word(self.types, at + 4)?);
            let raw = word(self.types, at + 8)?;
            let bits = if outer.has_bit_fields() { raw & 0x00ff_ffff } else { raw };
            if self.name(name) == field.as_bytes() {
                return Some((bits, id));
            }
            if name == 0
                && depth < 4
                && let Some(inner) = (id as usize).checked_sub(1).and_then(|id| self.index.get(id)).copied()
                && matches!(inner.kind(), STRUCT | UNION)
                && let Some((within, id)) = self.member(inner, field, depth + 1)
            {
                return Some((bits + within, id));
            }
        }
        None
    }
}

/// Bytes behind a type's header, by kind; `None` for a kind that this page of the specification did not have.
fn tail_bytes(entry: Type) -> Option<usize> {
    let count = entry.members();
    Some(match entry.kind() {
        1 | 14 | 17 => 4,                       // int, variable, declaration tag
        2 | 7..=12 | 16 | 18 => 0, // pointer, forward, typedef, qualifiers, function, float, type tag
        3 => 12,                   // array
        STRUCT | UNION | 15 | 19 => count * 12, // and data section, 64-bit enum
        6 | 13 => count * 8,       // enum, function prototype
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_all_fields_at_distinct_places() {
        let layout = task_layout().unwrap();
        let mut offsets =
            [layout.tgid, layout.pid, layout.mm, layout.stack, layout.comm, layout.group_leader];
        offsets.sort_unstable();
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{layout:?}");
        assert_eq!(layout.tgid, layout.pid + 4);
        assert!(
            layout.thread_pointer > layout.tgid && layout.start_stack > 0 && layout.arg_start > 0,
            "{layout:?}"
        );
        assert!(layout.parent_exec_id > 0 && layout.parent_exec_id != layout.self_exec_id, "{layout:?}");
        assert!(layout.last_arrival > 0 && layout.nivcsw > 0 && layout.event_clock > 0, "{layout:?}");
        assert!(layout.end_code > 0 && layout.end_code != layout.arg_start, "{layout:?}");
        assert!(layout.exe_file > layout.arg_start && layout.real_parent > layout.tgid, "{layout:?}");
    }

    #[test]
    fn noise_is_no_type_information() {
        assert!(Btf::parse(&[]).is_none());
        assert!(Btf::parse(&[0; 64]).is_none());
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend_from_slice(&24_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0xff; 16]);
        assert!(Btf::parse(&bytes).is_none());
    }
}
