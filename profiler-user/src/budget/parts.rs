//! Memory in use, by part.

use serde::Serialize;

/// Memory in use by part, bytes. The parts leave nothing out: they add up to what the process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Names by address that are kept for the next windows.
    pub names: u64,
    /// The kernel's symbols and the names that were taken from them.
    pub kernel_names: u64,
    /// Heap and stacks without these: processes with their mappings, what was parsed of files, profiles that are being built,
    /// copies of stacks that wait, and what the allocator keeps.
    pub other_heap: u64,
    /// Code and data of the profiler itself and of its libraries.
    pub program: u64,
    /// Pages of the files that names are read from, where that is not done by a process of its own.
    pub files: u64,
    /// The process that names are read by: its heap, its part of the program, and pages of the files.
    pub reader: u64,
    /// Buffers of the events that tell of processes, as far as the kernel counts them as resident: Linux 6.18 does not.
    pub events: u64,
    /// BPF maps: the pool of unwind tables, rules and processes' mappings.
    pub tables: u64,
    /// BPF maps: the arena of stacks and what finds them.
    pub stacks: u64,
    /// BPF maps: counts of both banks.
    pub counts: u64,
    /// BPF maps: the ring of messages.
    pub messages: u64,
    /// BPF maps that are none of these.
    pub other_maps: u64,
}

impl Parts {
    /// All parts with their names, as they are in logs, in JSON and in metrics.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 12] {
        let Self {
            names,
            kernel_names,
            other_heap,
            program,
            files,
            reader,
            events,
            tables,
            stacks,
            counts,
            messages,
            other_maps,
        } = *self;
        [
            ("names", names),
            ("kernel_names", kernel_names),
            ("other_heap", other_heap),
            ("program", program),
            ("files", files),
            ("reader", reader),
            ("events", events),
            ("tables", tables),
            ("stacks", stacks),
            ("counts", counts),
            ("messages", messages),
            ("other_maps", other_maps),
        ]
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, bytes)| bytes).sum()
    }
}

/// BPF maps by part, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// The pool of unwind tables, rules and processes' mappings.
    pub tables: u64,
    /// The arena of stacks and what finds them.
    pub stacks: u64,
    /// Counts of both banks.
    pub counts: u64,
    /// The ring of messages.
    pub messages: u64,
    /// All others.
    pub others: u64,
    /// What the resident set has of all of them: maps that are read in place.
    pub in_place: u64,
}

impl Maps {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { tables, stacks, counts, messages, others, in_place: _ } = *self;
        tables + stacks + counts + messages + others
    }
}

/// The resident set by kind of mapping, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resident {
    /// Heap, stacks, and pages of files that were written to.
    pub(super) anonymous: u64,
    /// Pages of the program and its libraries.
    pub(super) program: u64,
    /// Pages of files that are mapped to be read.
    pub(super) files: u64,
    /// Buffers of perf events.
    pub(super) events: u64,
    /// BPF maps, which are counted where they are made, too.
    pub(super) maps: u64,
}

impl Resident {
    /// Reads /proc/PID/smaps (proc_pid_smaps(5)).
    pub(super) fn of(smaps: &str) -> Self {
        let mut resident = Self::default();
        let mut header = "";
        for line in smaps.lines() {
            let Some((key, rest)) = line.split_once(' ') else { continue };
            match key {
                "Rss:" => *resident.part(header) += kibibytes(rest),
                // These are part of what is resident.
                "Anonymous:" => {
                    let part = resident.part(header);
                    *part = part.saturating_sub(kibibytes(rest));
                    resident.anonymous += kibibytes(rest);
                }
                _ if key.ends_with(':') => {}
                _ => header = rest,
            }
        }
        resident
    }

    /// What the pages of a mapping belong to that are not anonymous, by the line that begins it, without its addresses.
    fn part(&mut self, header: &str) -> &mut u64 {
        if header.ends_with("anon_inode:bpf-map") {
            &mut self.maps
        } else if header.ends_with("anon_inode:[perf_event]") {
            &mut self.events
        } else if header.starts_with("r--s ") {
            &mut self.files
        } else {
            &mut self.program
        }
    }
}

fn kibibytes(text: &str) -> u64 {
    text.trim().trim_end_matches(" kB").parse().map_or(0, |number: u64| number << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_divided_by_what_is_mapped() {
        let mapping = |header: &str, rss: u32, anonymous: u32| {
            format!(
                "{header}\nSize: 9999 kB\nRss:    {rss} kB\nAnonymous:   {anonymous} kB\nVmFlags: rd ex\n"
            )
        };
        let smaps = [
            mapping("5600-5700 r-xp 00001000 fe:00 12 /usr/bin/profiler", 3000, 0),
            mapping("5700-5800 rw-p 00002000 fe:00 12 /usr/bin/profiler", 50, 40),
            mapping("5800-5900 rw-p 00000000 00:00 0", 700, 700),
            mapping("7f00-7f10 r--s 00000000 fe:00 13 /usr/lib/a library.so (deleted)", 500, 0),
            mapping("7f20-7f30 rw-s 00000000 00:0f 14 anon_inode:[perf_event]", 60, 0),
            mapping("7f40-7f50 rw-s 00000000 00:0f 15 anon_inode:bpf-map", 9000, 0),
            mapping("7f60-7f70 r-xp 00000000 00:00 0 [vdso]", 8, 0),
        ];
        let kib = |number: u64| number << 10;
        assert_eq!(
            Resident::of(&smaps.concat()),
            Resident {
                anonymous: kib(740),
                program: kib(3018),
                files: kib(500),
                events: kib(60),
                maps: kib(9000)
            }
        );
        assert_eq!(Resident::of(""), Resident::default());
    }

    #[test]
    fn every_part_has_its_name_in_json() {
        let json = serde_json::to_value(Parts { names: 1, other_maps: 2, ..Parts::default() }).unwrap();
        let named = Parts::default().named();
        assert_eq!(json.as_object().unwrap().len(), named.len());
        assert!(named.iter().all(|(name, _)| json.get(*name).is_some()), "{json}");
    }
}
