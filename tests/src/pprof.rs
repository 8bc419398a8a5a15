//! Profiles as tests ask about them: every sample with its frames by name, leaf first, inlined functions expanded.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use profiler_user::profile::proto;
use prost::Message;

/// A decoded profile.
#[derive(Debug, Clone)]
pub struct Pprof {
    /// Where it was read from.
    pub path: PathBuf,
    /// The message itself.
    pub proto: proto::Profile,
    /// All samples, resolved.
    pub stacks: Vec<Stack>,
}

/// A sample, resolved.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Leaf first; of one address the innermost inlined function first.
    pub frames: Vec<Frame>,
    /// String labels.
    pub labels: BTreeMap<String, String>,
    /// Value of `samples/count`.
    pub samples: i64,
    /// Value of `cpu/nanoseconds`.
    pub cpu_ns: i64,
}

/// A function in a stack. An address without function gives a frame with an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Name of the function for people.
    pub name: String,
    /// Its source file, or empty.
    pub file: String,
    /// The line, or 0.
    pub line: i64,
    /// Address in the process.
    pub address: u64,
    /// File name of the mapping, or empty.
    pub mapping: String,
    /// Offset of the address in the mapping's file.
    pub offset: u64,
    /// Whether it was inlined into the next frame.
    pub inlined: bool,
}

impl Frame {
    /// The name without parameter list: `app::Widget<int>::spin` of `app::Widget<int>::spin(unsigned long)`.
    pub fn path(&self) -> &str {
        self.name.split_once('(').map_or(&self.name, |(path, _)| path)
    }

    /// File name of the mapping without its folder, or empty.
    pub fn file_name(&self) -> &str {
        self.mapping.rsplit('/').next().unwrap_or_default()
    }

    /// What to call it in a message: its name, or of what file it is where it has none.
    fn shown(&self) -> Cow<'_, str> {
        match (self.path(), self.file_name()) {
            ("", "") => format!("({:#x})", self.address).into(),
            ("", file) => format!("({file})").into(),
            (name, _) => name.into(),
        }
    }

    /// Whether it is no code but a remark on the stack, such as `[truncated]`.
    pub fn is_remark(&self) -> bool {
        self.name.starts_with('[')
    }

    /// Whether it is kernel code.
    pub fn is_kernel(&self) -> bool {
        self.mapping.starts_with("[kernel") || (self.address >> 63) == 1
    }
}

impl Stack {
    /// A label, or the empty string.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Names of the frames without parameter lists, leaf first.
    pub fn names(&self) -> Vec<&str> {
        self.frames.iter().map(Frame::path).collect()
    }

    /// Whether a function is anywhere in the stack.
    pub fn has(&self, name: &str) -> bool {
        self.frames.iter().any(|frame| frame.path() == name)
    }

    /// The innermost frame.
    pub fn leaf(&self) -> Option<&Frame> {
        self.frames.first()
    }
}

impl Pprof {
    /// Reads a file, compressed or not. Fails when it is torn, no profile, or has an index that points nowhere.
    pub fn read(path: &Path) -> Pprof {
        Pprof::try_read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Likewise, with the failure as a value.
    pub fn try_read(path: &Path) -> Result<Pprof, String> {
        let mut bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut plain).map_err(|e| e.to_string())?;
            bytes = plain;
        }
        let proto = proto::Profile::decode(&*bytes).map_err(|e| e.to_string())?;
        let stacks = Tables::new(&proto).stacks(&proto)?;
        Ok(Pprof { path: path.to_owned(), proto, stacks })
    }

    /// A string of the string table.
    pub fn string(&self, index: i64) -> &str {
        string(&self.proto, index).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// The comments.
    pub fn comments(&self) -> Vec<&str> {
        self.proto.comment.iter().map(|&index| self.string(index)).collect()
    }

    /// Start and end, Unix nanoseconds.
    pub fn span(&self) -> (i64, i64) {
        (self.proto.time_nanos, self.proto.time_nanos + self.proto.duration_nanos)
    }

    /// CPU time that the host had in this profile: its duration on all CPUs, nanoseconds.
    pub fn capacity_ns(&self) -> i64 {
        self.proto.duration_nanos * crate::cpu::online_cpus()
    }

    /// Samples with a label of this value.
    pub fn with_label<'a>(&'a self, key: &'a str, value: &'a str) -> impl Iterator<Item = &'a Stack> {
        self.stacks.iter().filter(move |stack| stack.labels.get(key).is_some_and(|v| v == value))
    }

    /// The samples of one process.
    pub fn of_pid(&self, pid: u32) -> Vec<&Stack> {
        let pid = pid.to_string();
        self.stacks.iter().filter(|stack| stack.label("pid") == pid).collect()
    }

    /// All values of a label.
    pub fn values(&self, key: &str) -> BTreeSet<&str> {
        self.stacks.iter().map(|stack| stack.label(key)).collect()
    }

    /// Number of samples for which `test` holds.
    pub fn samples(&self, test: impl Fn(&Stack) -> bool) -> i64 {
        samples(self.stacks.iter().filter(|stack| test(stack)))
    }

    /// CPU time of the samples for which `test` holds, nanoseconds.
    pub fn cpu_ns(&self, test: impl Fn(&Stack) -> bool) -> i64 {
        cpu_ns(self.stacks.iter().filter(|stack| test(stack)))
    }

    /// Asserts something about the profile; when it does not hold, shows the ten most frequent of `stacks`.
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what}\nprofile: {}\n{}", self.path.display(), describe(&self.stacks, 10));
    }
}

/// Sum of `samples/count`.
pub fn samples<'a>(stacks: impl IntoIterator<Item = &'a Stack>) -> i64 {
    stacks.into_iter().map(|stack| stack.samples).sum()
}

/// Sum of `cpu/nanoseconds`.
pub fn cpu_ns<'a>(stacks: impl IntoIterator<Item = &'a Stack>) -> i64 {
    stacks.into_iter().map(|stack| stack.cpu_ns).sum()
}

/// The most frequent stacks as text, for messages.
pub fn describe<'a>(stacks: impl IntoIterator<Item = &'a Stack>, most: usize) -> String {
    let mut by_text: BTreeMap<String, i64> = BTreeMap::new();
    for stack in stacks {
        let names = join_short(&stack.frames.iter().map(Frame::shown).collect::<Vec<_>>());
        let text = format!("{} {} {names}", stack.label("process"), stack.label("thread"));
        *by_text.entry(text).or_default() += stack.samples;
    }
    let mut rows: Vec<_> = by_text.into_iter().collect();
    rows.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    rows.iter().take(most).map(|(text, samples)| format!("{samples:6} {text}\n")).collect()
}

/// Joins names by " < "; of more than forty shows the first and the last twenty.
pub(crate) fn join_short<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 20;
    let join = |names: &[S]| names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" < ");
    if names.len() <= 2 * SHOWN {
        return join(names);
    }
    let (top, rest) = names.split_at(SHOWN);
    let (middle, bottom) = rest.split_at(rest.len() - SHOWN);
    format!("{} < … {} more … < {}", join(top), middle.len(), join(bottom))
}

/// The tables of a profile by id.
struct Tables<'a> {
    mappings: BTreeMap<u64, &'a proto::Mapping>,
    locations: BTreeMap<u64, &'a proto::Location>,
    functions: BTreeMap<u64, &'a proto::Function>,
}

impl<'a> Tables<'a> {
    fn new(profile: &'a proto::Profile) -> Tables<'a> {
        Tables {
            mappings: profile.mapping.iter().map(|m| (m.id, m)).collect(),
            locations: profile.location.iter().map(|l| (l.id, l)).collect(),
            functions: profile.function.iter().map(|f| (f.id, f)).collect(),
        }
    }

    fn stacks(&self, profile: &proto::Profile) -> Result<Vec<Stack>, String> {
        let value_of = |name: &str| {
            let at = profile.sample_type.iter().position(|t| string(profile, t.r#type) == Ok(name));
            at.ok_or_else(|| format!("no sample type {name}"))
        };
        let (samples_at, cpu_at) = (value_of("samples")?, value_of("cpu")?);
        let mut stacks = Vec::with_capacity(profile.sample.len());
        for sample in &profile.sample {
            let value = |at: usize| sample.value.get(at).copied().ok_or("a sample lacks a value");
            let mut stack = Stack {
                frames: Vec::new(),
                labels: BTreeMap::new(),
                samples: value(samples_at)?,
                cpu_ns: value(cpu_at)?,
            };
            for label in &sample.label {
                let (key, value) = (string(profile, label.key)?, string(profile, label.str)?);
                if stack.labels.insert(key.to_owned(), value.to_owned()).is_some() {
                    return Err(format!("label {key} twice on one sample"));
                }
            }
            for id in &sample.location_id {
                let location = self.locations.get(id).ok_or_else(|| format!("no location {id}"))?;
                self.expand(profile, location, &mut stack.frames)?;
            }
            stacks.push(stack);
        }
        Ok(stacks)
    }

    fn expand(
        &self,
        profile: &proto::Profile,
        location: &proto::Location,
        frames: &mut Vec<Frame>,
    ) -> Result<(), String> {
        let (mapping, offset) = match location.mapping_id {
            0 => (String::new(), 0),
            id => {
                let mapping = self.mappings.get(&id).ok_or_else(|| format!("no mapping {id}"))?;
                let offset = location.address.wrapping_sub(mapping.memory_start);
                let name = string(profile, mapping.filename)?;
                (name.to_owned(), offset.wrapping_add(mapping.file_offset))
            }
        };
        let unnamed = Frame {
            name: String::new(),
            file: String::new(),
            line: 0,
            address: location.address,
            mapping,
            offset,
            inlined: false,
        };
        for (i, line) in location.line.iter().enumerate() {
            let id = line.function_id;
            let function = self.functions.get(&id).ok_or_else(|| format!("no function {id}"))?;
            frames.push(Frame {
                name: string(profile, function.name)?.to_owned(),
                file: string(profile, function.filename)?.to_owned(),
                line: line.line,
                inlined: i + 1 < location.line.len(),
                ..unnamed.clone()
            });
        }
        if location.line.is_empty() {
            frames.push(unnamed);
        }
        Ok(())
    }
}

fn string(profile: &proto::Profile, index: i64) -> Result<&str, String> {
    let found = usize::try_from(index).ok().and_then(|i| profile.string_table.get(i));
    found.map(String::as_str).ok_or_else(|| format!("no string {index}"))
}
