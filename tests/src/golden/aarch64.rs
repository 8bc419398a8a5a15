//! Golden stacks of aarch64, recorded on any host from programs that QEMU runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use profiler_common::unwind::rule::{PAGE_BYTES, PAGE_SHIFT, Rule};
use profiler_user::unwind::Table;
use profiler_user::unwind::walk::Lookup;

use super::emulated::{Area, Emulated};
use super::programs::{Named, check, names};
use super::record::{Subject, take};
use super::{Beginning, Hex, Machine, Mapped, Snapshot, range_text, rule};
use crate::elf::{CodeSegment, Functions, code_segments, sections};
use crate::programs::{build, must_run, source_folder};
use crate::session::cache_folder;

/// Where a program is stopped.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// So many bytes behind a function's start.
    In(&'static str, u64),
    /// At the first entry of the procedure linkage table, which is behind the table's head.
    Linkage,
}

/// How a snapshot is taken.
pub struct Recipe {
    /// Name of the snapshot.
    pub name: &'static str,
    /// What it is a stack of.
    pub description: &'static str,
    /// Builds the program.
    pub program: fn() -> PathBuf,
    /// Whether it signs return addresses, which takes a processor that does so.
    pub signs: bool,
    /// Its arguments.
    pub args: &'static [&'static str],
    /// Where it is stopped for the first time.
    pub stop: Stop,
    /// As in [`super::programs::Recipe::functions`]; those of libc have no names, for its symbols are stripped.
    pub functions: &'static [&'static str],
}

/// mov x8, #139; svc #0
const SIGNAL_RETURN: u64 = 0xd400_0001_d280_1168;
/// A processor of the first version of the architecture.
const PLAIN: &str = "cortex-a57";
/// Bytes of the head of a procedure linkage table.
const LINKAGE_HEAD: u64 = 32;

/// All of them.
pub const RECIPES: [Recipe; 9] = [
    Recipe {
        name: "aarch64-leaf",
        description: "C at -O2 without frame pointers, in a leaf whose return address is in x30, under saved ones",
        program: || frames(&["-fomit-frame-pointer"]),
        signs: false,
        args: &[],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "inner", "middle", "outer", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-frame-pointers",
        description: "C with frame pointers, in a leaf without a record, by call-frame information",
        program: || frames(&["-fno-omit-frame-pointer"]),
        signs: false,
        args: &[],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "inner", "middle", "outer", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-signed",
        description: "C whose return addresses are signed, under a libc that does not sign them",
        program: || frames(&["-fomit-frame-pointer", "-mbranch-protection=standard"]),
        signs: true,
        args: &[],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "inner", "middle", "outer", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-thread",
        description: "C in a thread, at whose first instruction the return address is undefined",
        program: || frames(&["-fomit-frame-pointer"]),
        signs: false,
        args: &["thread"],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "inner", "middle", "outer", "thread_main", "", ""],
    },
    Recipe {
        name: "aarch64-signal",
        description: "C in a signal handler on an alternate stack, which interrupted raise; its return is known by the instructions",
        program: || frames(&["-fomit-frame-pointer"]),
        signs: false,
        args: &["signal"],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "handler", "inner", "middle", "outer", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-generated",
        description: "Generated code with frame records and without a file, between functions of C with rules",
        program: || frames(&["-fno-omit-frame-pointer"]),
        signs: false,
        args: &["generated"],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "inner", "", "", "generated", "middle", "outer", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-wide",
        description: "C with 100 KiB of variables: the frame record lies far below the CFA",
        program: || frames(&["-fno-omit-frame-pointer"]),
        signs: false,
        args: &["wide"],
        stop: Stop::In("leaf", 4),
        functions: &["leaf", "inner", "wide", "middle", "outer", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-plt",
        description: "C in an entry of the procedure linkage table, which nothing describes",
        program: || frames(&["-fomit-frame-pointer"]),
        signs: false,
        args: &[],
        stop: Stop::Linkage,
        functions: &["", "main", "", "", "_start"],
    },
    Recipe {
        name: "aarch64-go",
        description: "Go by its own .debug_frame to runtime.goexit, from a leaf without a frame",
        program: go,
        signs: false,
        args: &[],
        stop: Stop::In("main.leafHeavy", 8),
        functions: &[
            "main.leafHeavy",
            "main.chain12",
            "main.chain11",
            "main.chain01",
            "main.main",
            "runtime.main",
            "runtime.goexit.abi0",
        ],
    },
];

fn frames(flags: &[&str]) -> PathBuf {
    let flags = ["-O2", "-Wall", "-Wextra", "-fno-optimize-sibling-calls"].iter().chain(flags);
    let args: Vec<String> = flags.map(|&flag| flag.to_owned()).collect();
    build("aarch64-linux-gnu-gcc", &args, &source_folder().join("frames.c"), "frames")
}

fn go() -> PathBuf {
    let built = cache_folder().join("chain-go-aarch64");
    let mut command = std::process::Command::new("go");
    command.env("GOARCH", "arm64").env("CGO_ENABLED", "0").args(["build", "-o"]);
    must_run(command.arg(&built).arg(source_folder().join("chain.go")));
    built
}

/// Records a snapshot. Panics where the stack is not as the recipe says.
pub fn record(recipe: &Recipe) -> Snapshot {
    let program = (recipe.program)();
    let processor = if recipe.signs { "max" } else { PLAIN };
    let mut emulated = Emulated::start(processor, &program, recipe.args);
    // Libraries are not there yet, but the program is.
    let code = Code::of(&mut emulated);
    emulated.run_to(code.address(&program, recipe.stop));
    let mut registers = emulated.registers();
    let Some(pc) = registers.pop() else { panic!("QEMU tells no registers") };
    let beginning = Beginning { machine: Machine::Aarch64, pc, registers, is_return: false };
    let code = Code::of(&mut emulated);
    let subject = Stopped { emulated: RefCell::new(emulated), code };
    let (snapshot, found) = take(recipe.description, &beginning, &subject);
    check(recipe.name, &names(recipe.functions), &found);
    snapshot
}

/// A stopped program.
struct Stopped {
    emulated: RefCell<Emulated>,
    code: Code,
}

impl Subject for Stopped {
    fn word(&self, address: u64) -> Option<u64> {
        self.emulated.borrow_mut().word(address)
    }

    fn lookup(&self, pc: u64) -> Lookup {
        self.code.lookup(pc)
    }

    fn name(&self, pc: u64) -> Named {
        self.code.name(pc)
    }

    fn asked(&self) -> Vec<Mapped> {
        self.code.asked()
    }
}

/// The code of a program: its own mappings that code is in.
struct Code {
    mappings: Vec<(Area, Option<Object>)>,
    /// What was asked for, by index of the mapping.
    asked: RefCell<BTreeMap<usize, Rules>>,
}

type Rules = BTreeMap<u64, (Range<u64>, Rule)>;

/// The file of a mapping.
struct Object {
    segment: CodeSegment,
    table: RefCell<Table>,
    pages: RefCell<HashMap<u64, Vec<(u16, Rule)>>>,
    functions: Functions,
}

impl Object {
    /// `None` for what is no file of aarch64, or has no code there.
    fn of(area: &Area) -> Option<Object> {
        const EM_AARCH64: [u8; 2] = [183, 0];
        let path = Path::new(&area.path);
        let bytes = std::fs::read(path).ok()?;
        if bytes.get(..4) != Some(b"\x7fELF") || bytes.get(18..20) != Some(&EM_AARCH64) {
            return None;
        }
        let end = area.offset + (area.end - area.start);
        let overlaps = |s: &CodeSegment| s.offset < end && s.offset + s.size > area.offset;
        let segment = code_segments(path).into_iter().find(overlaps)?;
        let table = Table::open_foreign(&File::open(path).ok()?)
            .unwrap_or_else(|e| panic!("{} has no unwind table: {e}", area.path));
        let functions = Functions::of(path);
        Some(Object { segment, table: RefCell::new(table), pages: RefCell::default(), functions })
    }

    fn delta(&self, area: &Area) -> u64 {
        area.offset
            .wrapping_sub(self.segment.offset)
            .wrapping_add(self.segment.vaddr)
            .wrapping_sub(area.start)
    }

    /// The rule for an own address, and the range in which it holds.
    fn rule(&self, own: u64) -> Option<(Range<u64>, Rule)> {
        let number = own >> PAGE_SHIFT;
        let mut table = self.table.borrow_mut();
        if !table.pages().contains(&number) {
            return None;
        }
        let mut pages = self.pages.borrow_mut();
        let rows = pages
            .entry(number)
            .or_insert_with(|| table.page(number).unwrap_or_else(|e| panic!("page {number}: {e}")));
        let page = number << PAGE_SHIFT;
        let behind = rows.partition_point(|(offset, _)| page + u64::from(*offset) <= own);
        let (offset, rule) = rows[behind - 1];
        let end = rows.get(behind).map_or(PAGE_BYTES, |(offset, _)| u64::from(*offset));
        Some((page + u64::from(offset)..page + end, rule))
    }
}

impl Code {
    fn of(emulated: &mut Emulated) -> Code {
        let areas = emulated.areas();
        let mut mapping = |area: Area| match Object::of(&area) {
            Some(object) => Some((area, Some(object))),
            // Generated code. QEMU's own memory is among these, but no code of the program leads there. The instructions that
            // handlers return to are on a page of their own: of a kernel they are in the vDSO, and nothing describes them
            // there either.
            None => (area.path.is_empty() && emulated.word(area.start) != Some(SIGNAL_RETURN))
                .then_some((area, None)),
        };
        Code { mappings: areas.into_iter().filter_map(&mut mapping).collect(), asked: RefCell::default() }
    }

    fn find(&self, pc: u64) -> Option<usize> {
        self.mappings.iter().position(|(area, _)| (area.start..area.end).contains(&pc))
    }

    /// Where to stop.
    fn address(&self, program: &Path, stop: Stop) -> u64 {
        let of_program =
            |(area, object): &&(Area, Option<Object>)| object.is_some() && Path::new(&area.path) == program;
        let (area, object) = self.mappings.iter().find(of_program).expect("the program is not mapped");
        let offset = match stop {
            Stop::In(function, bytes) => {
                let functions = &object.as_ref().expect("the program has no code").functions;
                functions.offset(function).expect("the program has no such function") + bytes
            }
            Stop::Linkage => {
                let sections = sections(program, ".plt");
                sections.first().expect("the program has no linkage table").start + LINKAGE_HEAD
            }
        };
        offset - area.offset + area.start
    }

    fn lookup(&self, pc: u64) -> Lookup {
        let Some(index) = self.find(pc) else { return Lookup::Unmapped };
        let (area, object) = &self.mappings[index];
        let mut asked = self.asked.borrow_mut();
        let rules = asked.entry(index).or_default();
        let Some(object) = object else { return Lookup::FramePointer };
        match object.rule(pc.wrapping_add(object.delta(area))) {
            Some((range, rule)) => {
                rules.insert(range.start, (range, rule));
                Lookup::Rule(rule)
            }
            None => Lookup::Rule(Rule::GAP),
        }
    }

    fn name(&self, pc: u64) -> Named {
        let Some((area, object)) = self.find(pc).map(|index| &self.mappings[index]) else {
            return (String::new(), String::new());
        };
        let function = object.as_ref().and_then(|object| object.functions.at(pc - area.start + area.offset));
        (object_name(area), function.unwrap_or_default().to_owned())
    }

    fn asked(&self) -> Vec<Mapped> {
        let mapped = |(&index, rules): (&usize, &Rules)| {
            let (area, object) = &self.mappings[index];
            let text =
                |(range, rule): &(Range<u64>, Rule)| (range_text(range), rule::text(rule, Machine::Aarch64));
            Mapped {
                object: object_name(area),
                start: Hex(area.start),
                end: Hex(area.end),
                delta: Hex(object.as_ref().map_or(0, |object| object.delta(area))),
                frame_pointers: object.is_none(),
                rules: rules.values().map(text).collect(),
            }
        };
        self.asked.borrow().iter().map(mapped).collect()
    }
}

/// The name of a file without its folder, which is the machine's.
fn object_name(area: &Area) -> String {
    match area.path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "[anon]".to_owned(),
    }
}
