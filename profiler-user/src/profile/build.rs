//! From a process's part of a window to its profile. Plain data in, plain data out.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use profiler_common::{
    layout::Name,
    outcome::{Kind, OUTCOMES, Outcome},
};

use super::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
use crate::{
    capture::{CountedStack, Stacks},
    process::{Area, Process},
    symbol::{Functions, KernelPlace},
};

/// Where names come from.
pub trait Names {
    /// The functions at an object's own address, innermost inlined one first; empty where there is no name.
    fn functions(&mut self, object: u64, address: u64) -> Functions;
    /// Where a kernel address lies, and its functions.
    fn kernel(&mut self, address: u64) -> (KernelPlace, Functions);
}

/// When and how the samples were taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Start, nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Length, nanoseconds.
    pub duration_ns: u64,
    /// Start and end, nanoseconds since boot.
    pub boottime_ns: [u64; 2],
    /// Nanoseconds between two ticks of one CPU.
    pub period_ns: u64,
}

/// Who was sampled.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The process.
    pub process: &'a Process,
    /// Its id.
    pub pid: u32,
    /// Name of the host.
    pub host: &'a str,
}

/// The address of each frame of a row as it is looked up: inside the call instruction for all but interrupted
/// instructions. `true` marks kernel addresses.
pub fn frames<'a>(row: &CountedStack, stacks: &'a Stacks) -> impl Iterator<Item = (u64, bool)> + 'a {
    let stack = stacks.get(row.stack);
    let leaf_is_return = stack.is_some_and(|stack| stack.header.leaf_is_return());
    let (kernel, user) = stack.map_or((&[][..], &[][..]), |stack| (stack.kernel, stack.user));
    let kernel = kernel
        .iter()
        .enumerate()
        .map(|(index, &address)| (address - u64::from(index > 0 && address > 0), true));
    let user = user.iter().enumerate().map(move |(index, &address)| {
        (address - u64::from((index > 0 || leaf_is_return) && address > 0), false)
    });
    kernel.chain(user)
}

/// How a row's samples ended.
#[must_use]
pub fn outcome(row: &CountedStack, stacks: &Stacks) -> Outcome {
    match row.stack.chunk() {
        // A reference whose stack is not there is one that the drain could not make sense of.
        Ok(_) => {
            stacks.get(row.stack).and_then(|stack| stack.header.outcome()).unwrap_or(Outcome::StackTableFull)
        }
        Err(outcome) => outcome,
    }
}

/// Builds the profile of one process from its rows, each with the process as it was then. Comments are added by [`comment`].
pub fn build<'a>(
    span: Span,
    subject: Subject<'_>,
    rows: impl Iterator<Item = (&'a CountedStack, &'a Process)>,
    stacks: &Stacks,
    names: &mut dyn Names,
) -> Profile {
    let mut builder = Builder::new(span, subject, names);
    for (row, process) in rows {
        builder.add(row, process, stacks);
    }
    builder.finish()
}

/// A profile without samples.
#[must_use]
pub fn empty(span: Span) -> Profile {
    struct Nothing;
    impl Names for Nothing {
        fn functions(&mut self, _: u64, _: u64) -> Functions {
            Arc::from([])
        }
        fn kernel(&mut self, _: u64) -> (KernelPlace, Functions) {
            let place = KernelPlace { name: String::new(), start: 0, end: 0, build_id: String::new() };
            (place, Arc::from([]))
        }
    }
    let process = Process::default();
    let subject = Subject { process: &process, pid: 0, host: "" };
    build(span, subject, std::iter::empty(), &Stacks::default(), &mut Nothing)
}

/// Adds what a person wants to know of how the profile came about: `about` as it is, then the outcomes.
pub fn comment(profile: &mut Profile, about: &[String], outcomes: &[u64; OUTCOMES]) {
    let sum = |kinds: &[Kind]| -> u64 {
        Outcome::ALL
            .iter()
            .filter(|outcome| kinds.contains(&outcome.kind()))
            .map(|&outcome| outcomes[outcome as usize])
            .sum()
    };
    let totals = [
        format!("complete={}", sum(&[Kind::Complete])),
        format!("truncated={}", sum(&[Kind::Truncated])),
        format!("lost={}", sum(&[Kind::StackLost, Kind::SampleLost])),
    ];
    let reasons = Outcome::ALL
        .iter()
        .filter(|&&outcome| outcome != Outcome::Complete && outcomes[outcome as usize] > 0)
        .map(|&outcome| format!("{}={}", outcome.name(), outcomes[outcome as usize]));
    for text in about.iter().cloned().chain(totals).chain(reasons) {
        profile.comment.push(index(profile.string_table.len()));
        profile.string_table.push(text);
    }
}

/// Stands for the root side of a stack that is deeper than what is kept.
const TRUNCATED: &str = "[truncated]";

struct Builder<'a> {
    profile: Profile,
    subject: Subject<'a>,
    names: &'a mut dyn Names,
    period_ns: i64,
    /// Places in the table of strings, with their hashes: each string is kept there alone.
    strings: HashTable<(u64, usize)>,
    hasher: DefaultHashBuilder,
    functions: HashMap<Function, u64>,
    locations: HashMap<(u64, u64), u64>,
    /// Ids by first address, the address behind, offset, and path, as a string: other libraries may have been at one place.
    process_mappings: HashMap<(u64, u64, u64, i64), u64>,
    kernel_mappings: HashMap<KernelPlace, u64>,
    pseudo: HashMap<String, u64>,
    /// Locations by address, and the generation of the process's mappings that it was seen in: most frames were seen before,
    /// and are not looked for among mappings and names again.
    user_addresses: HashMap<(u32, u64), u64>,
    kernel_addresses: HashMap<u64, u64>,
    /// The labels of a thread's samples, by its name.
    labels: HashMap<Name, Vec<Label>>,
}

impl<'a> Builder<'a> {
    fn new(span: Span, subject: Subject<'a>, names: &'a mut dyn Names) -> Self {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut builder = Self {
            profile: Profile {
                time_nanos: signed(span.start_unix_ns),
                duration_nanos: signed(span.duration_ns),
                period: signed(span.period_ns),
                ..Profile::default()
            },
            subject,
            names,
            period_ns: signed(span.period_ns),
            strings: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            functions: HashMap::new(),
            locations: HashMap::new(),
            process_mappings: HashMap::new(),
            kernel_mappings: HashMap::new(),
            pseudo: HashMap::new(),
            user_addresses: HashMap::new(),
            kernel_addresses: HashMap::new(),
            labels: HashMap::new(),
        };
        builder.string("");
        let samples = ValueType { r#type: builder.string("samples"), unit: builder.string("count") };
        let cpu = ValueType { r#type: builder.string("cpu"), unit: builder.string("nanoseconds") };
        builder.profile.sample_type = vec![samples, cpu];
        builder.profile.period_type = Some(cpu);
        builder.profile.default_sample_type = cpu.r#type;
        // Consumers take the first mapping for the main binary.
        if let Some(mapping) = subject.process.main.and_then(|main| subject.process.mappings.get(main)) {
            builder.process_mapping(mapping);
        }
        builder
    }

    fn add(&mut self, row: &CountedStack, process: &Process, stacks: &Stacks) {
        let count = i64::try_from(row.count).unwrap_or(i64::MAX);
        let outcome = outcome(row, stacks);
        let frames = frames(row, stacks);
        // One more for what stands for frames that are not there.
        let mut locations: Vec<u64> = Vec::with_capacity(frames.size_hint().0 + 1);
        let mut in_kernel = false;
        for (address, is_kernel) in frames {
            if in_kernel && !is_kernel && outcome == Outcome::KernelTooDeep {
                locations.push(self.pseudo_location(TRUNCATED));
            }
            in_kernel = is_kernel;
            locations.push(if is_kernel {
                self.kernel_location(address)
            } else {
                self.user_location(process, address)
            });
        }
        // A stack that is not whole says so where the rest is missing.
        match outcome {
            Outcome::TooDeep => locations.push(self.pseudo_location(TRUNCATED)),
            Outcome::KernelTooDeep if in_kernel => locations.push(self.pseudo_location(TRUNCATED)),
            Outcome::KernelTooDeep => {}
            _ if outcome.kind() == Kind::Truncated => {
                locations.push(self.pseudo_location(&format!("[incomplete: {}]", outcome.name())));
            }
            _ if locations.is_empty() => {
                locations.push(self.pseudo_location(&format!("[stack lost: {}]", outcome.name())));
            }
            _ => {}
        }
        let label = self.labels(&row.thread_name);
        self.profile.sample.push(Sample {
            location_id: locations,
            value: vec![count, count.saturating_mul(self.period_ns)],
            label,
        });
    }

    fn labels(&mut self, thread: &Name) -> Vec<Label> {
        if let Some(labels) = self.labels.get(thread) {
            return labels.clone();
        }
        let subject = self.subject;
        let own = [
            ("process", clean(&subject.process.name)),
            ("pid", subject.pid.to_string()),
            ("thread", clean(&thread_name(thread))),
            ("host", subject.host.to_owned()),
        ];
        let identity = &subject.process.identity.labels;
        let identity = identity.iter().map(|(key, value)| (key.as_ref(), value.clone()));
        let labels: Vec<Label> = own
            .into_iter()
            .chain(identity)
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| Label {
                key: self.string(key),
                str: self.string(&value),
                num: 0,
                num_unit: 0,
            })
            .collect();
        self.labels.insert(*thread, labels.clone());
        labels
    }

    fn user_location(&mut self, process: &Process, address: u64) -> u64 {
        let key = (process.generation, address);
        if let Some(&id) = self.user_addresses.get(&key) {
            return id;
        }
        let id = self.new_user_location(process, address);
        self.user_addresses.insert(key, id);
        id
    }

    fn new_user_location(&mut self, process: &Process, address: u64) -> u64 {
        let Some(mapping) = process.find(address).and_then(|found| process.mappings.get(found)) else {
            return self.location(0, address, &Arc::from([]));
        };
        let functions = match &mapping.area {
            Area::Object(object) => object
                .address_of(address - mapping.start + mapping.offset)
                .map(|own| self.names.functions(object.id, own)),
            Area::Anonymous(_) => None,
        };
        let id = self.process_mapping(mapping);
        self.location(id, address, &functions.unwrap_or_else(|| Arc::from([])))
    }

    fn kernel_location(&mut self, address: u64) -> u64 {
        if let Some(&id) = self.kernel_addresses.get(&address) {
            return id;
        }
        let id = self.new_kernel_location(address);
        self.kernel_addresses.insert(address, id);
        id
    }

    fn new_kernel_location(&mut self, address: u64) -> u64 {
        let (place, functions) = self.names.kernel(address);
        let id = match self.kernel_mappings.get(&place) {
            Some(&id) => id,
            None => {
                let id = self.mapping(place.start, place.end, 0, &place.name, &place.build_id);
                self.kernel_mappings.insert(place, id);
                id
            }
        };
        self.location(id, address, &functions)
    }

    /// Stands for frames that are not there, and says why.
    fn pseudo_location(&mut self, name: &str) -> u64 {
        if let Some(&id) = self.pseudo.get(name) {
            return id;
        }
        let function = self.function(name, "");
        let id = self.profile.location.len() as u64 + 1;
        let line = vec![Line { function_id: function, line: 0, column: 0 }];
        self.profile.location.push(Location { id, mapping_id: 0, address: 0, line, is_folded: false });
        self.pseudo.insert(name.to_owned(), id);
        id
    }

    fn location(&mut self, mapping_id: u64, address: u64, functions: &Functions) -> u64 {
        if let Some(&id) = self.locations.get(&(mapping_id, address)) {
            return id;
        }
        let mut line: Vec<Line> = functions
            .iter()
            .map(|function| Line {
                function_id: self.function(&function.name, &function.file),
                line: i64::from(function.line),
                column: 0,
            })
            .collect();
        // A call through a null pointer: without a name the location would be empty, which readers refuse.
        if address == 0 && line.is_empty() {
            line.push(Line { function_id: self.function("[null]", ""), line: 0, column: 0 });
        }
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location { id, mapping_id, address, line, is_folded: false });
        self.locations.insert((mapping_id, address), id);
        id
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let name = self.string(name);
        let filename = self.string(file);
        let key = Function { id: 0, name, system_name: name, filename, start_line: 0 };
        if let Some(&id) = self.functions.get(&key) {
            return id;
        }
        let id = self.profile.function.len() as u64 + 1;
        self.profile.function.push(Function { id, ..key });
        self.functions.insert(key, id);
        id
    }

    fn process_mapping(&mut self, mapping: &crate::process::Mapping) -> u64 {
        let (path, build_id) = match &mapping.area {
            Area::Object(object) => (object.path.as_str(), object.build_id.as_str()),
            Area::Anonymous(name) => (name.as_str(), ""),
        };
        let key = (mapping.start, mapping.end, mapping.offset, self.string(path));
        if let Some(&id) = self.process_mappings.get(&key) {
            return id;
        }
        let id = self.mapping(mapping.start, mapping.end, mapping.offset, path, build_id);
        self.process_mappings.insert(key, id);
        id
    }

    fn mapping(&mut self, start: u64, end: u64, offset: u64, path: &str, build_id: &str) -> u64 {
        let id = self.profile.mapping.len() as u64 + 1;
        let (filename, build_id) = (self.string(path), self.string(build_id));
        self.profile.mapping.push(Mapping {
            id,
            memory_start: start,
            memory_limit: end,
            file_offset: offset,
            filename,
            build_id,
            // Until a location shows otherwise.
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        });
        id
    }

    fn string(&mut self, text: &str) -> i64 {
        let table = &mut self.profile.string_table;
        let hash = self.hasher.hash_one(text);
        let is_it = |&(other, place): &(u64, usize)| {
            other == hash && table.get(place).is_some_and(|known| known == text)
        };
        if let Some(&(_, place)) = self.strings.find(hash, is_it) {
            return index(place);
        }
        let place = table.len();
        table.push(text.to_owned());
        self.strings.insert_unique(hash, (hash, place), |&(hash, _)| hash);
        index(place)
    }

    fn finish(mut self) -> Profile {
        let files: Vec<bool> = self.profile.function.iter().map(|function| function.filename != 0).collect();
        for location in &self.profile.location {
            let place = usize::try_from(location.mapping_id).ok().and_then(|id| id.checked_sub(1));
            let Some(mapping) = place.and_then(|place| self.profile.mapping.get_mut(place)) else {
                continue;
            };
            let named = !location.line.is_empty();
            let has_file = |line: &Line| files.get(line.function_id as usize - 1).copied().unwrap_or(false);
            let filed = named && location.line.iter().all(has_file);
            let lined = filed && location.line.iter().all(|line| line.line > 0);
            mapping.has_functions &= named;
            mapping.has_filenames &= filed;
            mapping.has_line_numbers &= lined;
            // Inlining is known from the same debug information as lines.
            mapping.has_inline_frames &= lined;
        }
        self.profile
    }
}

fn index(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// A name without what a terminal would act on: processes and threads call themselves what they like (prctl(2)).
fn clean(name: &str) -> String {
    name.replace(char::is_control, "\u{fffd}")
}

fn thread_name(name: &Name) -> String {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}
