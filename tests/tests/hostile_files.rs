//! Files that are made to break who reads them.
#![expect(clippy::expect_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSegment};
use profiler_tests::chain::Chain;
use profiler_tests::held::most_memory;
use profiler_tests::outcomes::count_in_comments;
use profiler_tests::pprof::Frame;
use profiler_tests::programs::must_run;
use profiler_tests::{Agent, Pprof, Program, Session, Target};

fn make_fifo(path: &Path) {
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path without zeros");
    // SAFETY: the name ends with a zero and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "{}", path.display());
}

/// A file of a terabyte that takes no room.
fn make_sparse(path: &Path) {
    File::create(path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
}

/// What lies in the place of a file, and how it is made.
type Kind = (&'static str, fn(&Path));

/// Opening a FIFO waits for a writer, reading a terabyte of zeros takes an hour, and a device does what it likes. Each is where
/// a debug file would be: by build-id in the root folder of a process of its own, and by the debug link beside the program.
#[test]
fn what_lies_in_the_place_of_debug_files() {
    let session = Session::begin();
    let chain = Program::Static.build_with(&["-Wl,--build-id".to_owned()]);
    let build_id = build_id(&chain);
    let kinds: [Kind; 4] = [
        ("fifo", make_fifo),
        ("sparse", make_sparse),
        ("loop", |path| symlink(path, path).expect("a link to itself")),
        ("device", |path| symlink("/dev/zero", path).expect("a link to a device")),
    ];
    let mut targets = Vec::new();
    for (name, make) in kinds {
        let root = session.path(name);
        let by_id = root.join("usr/lib/debug/.build-id").join(&build_id[..2]);
        fs::create_dir_all(&by_id).expect("a folder");
        // The chain opens it, and reads it in another mode only.
        fs::create_dir(root.join("dev")).expect("a folder");
        fs::write(root.join("dev/zero"), "").expect("a file");
        fs::write(root.join("chain.debug"), name).expect("a debug file");
        // Each is another file, which the agent has not read yet.
        must_run(
            Command::new("objcopy")
                .arg("--add-gnu-debuglink=chain.debug")
                .args([chain.as_path(), Path::new("chain-static")])
                .current_dir(&root),
        );
        fs::remove_file(root.join("chain.debug")).expect("a debug file to replace");
        make(&root.join("chain.debug"));
        make(&by_id.join(format!("{}.debug", &build_id[2..])));
        targets.push(Target::start_as(Command::new("chroot").arg(&root).args(["/chain-static", "burn"])));
    }
    let mut agent = Agent::start(&session, &[]);
    for target in &targets {
        agent.assert_right("beside something that is no debug file", target.pid());
    }
    agent.finish();
}

/// By the time that a program is read, its path leads to another one; and then to nothing.
#[test]
fn a_program_that_is_replaced_while_it_runs() {
    let session = Session::begin();
    let other = Program::Hostile.build();
    let mut agent = Agent::start(&session, &[]);
    let path = session.path("service");
    let put = |program: &Path| {
        let new = session.path("service.new");
        fs::copy(program, &new)
            .and_then(|_| fs::rename(&new, &path))
            .expect("a program in the place of another");
    };
    // What was read before is known by its build-id, so each is one that nobody has seen.
    let targets: Vec<Target> = (1..4)
        .map(|number| {
            put(&Program::Pie.build_with(&[format!("-Wl,--build-id=0xdeadbeef0000000{number}")]));
            let target = Target::start(&path, &["burn"]);
            put(&other);
            target
        })
        .collect();
    agent.assert_right("replaced", targets[0].pid());
    fs::remove_file(&path).expect("the program");
    for target in &targets {
        agent.assert_right("replaced and removed", target.pid());
    }
    agent.finish();
}

fn build_id(path: &Path) -> String {
    let bytes = fs::read(path).expect("a program");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let id = file.build_id().expect("its notes").expect("a build-id");
    id.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The symbolizer maps the files that it reads; a page behind a file's end raises SIGBUS.
#[test]
fn a_library_that_is_cut_short_while_it_is_read() {
    let session = Session::begin();
    let mut source =
        ".text\n.globl work\n.type work, @function\nwork:\n lea 1f(%rip), %rsi\n mov $5000, %edi\n"
            .to_owned();
    source += "0: call *%rsi\n add $32, %rsi\n dec %edi\n jnz 0b\n ret\n.balign 32\n1:\n";
    for number in 0..5000 {
        let _ = write!(
            source,
            ".type s{number}, @function\ns{number}: mov $2000, %ecx\n2: dec %ecx\n jnz 2b\n ret\n.balign 32\n"
        );
    }
    source += ".section .note.GNU-stack,\"\",@progbits\n";
    fs::write(session.path("lib.s"), source).expect("a source");
    must_run(Command::new("gcc").args(["-shared", "-o", "lib.so", "lib.s"]).current_dir(session.folder()));
    let library = session.path("lib.so");
    let bytes = fs::read(&library).expect("a library");
    let loaded = object::File::parse(&*bytes).expect("an ELF file");
    // What is mapped stays; symbols and section headers come and go.
    let kept = loaded.segments().map(|segment| segment.file_range().0 + segment.file_range().1).max();
    let kept = kept.expect("segments").to_string();
    let library = library.to_string_lossy().into_owned();
    let hostile = Target::start(&Program::Hostile.build(), &["cut", &library, &kept]);
    let good = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.wait_until("was a page gone", |agent| agent.metric("profiler_lost_pages_total") > 0.0);
    agent.assert_right("beside a library that is cut short", good.pid());
    drop(hostile);
    // What the symbolizer makes of zeros in the middle of its tables is its business, as long as it ends there.
    agent.finish_after_panics_of("naming");
}

/// A compressed section says how much it unpacks to; whoever unpacks it to its end gets what it really has.
#[test]
fn debug_information_that_is_more_than_it_says() {
    const MEMORY: u64 = 64 << 20;
    let session = Session::begin();
    let chain = Program::Debug.build();
    // Elf64_Chdr: zlib, reserved, size, alignment; what is packed follows.
    let mut packed = [1_u32.to_le_bytes(), [0; 4]].concat();
    packed.extend([100_u64, 1].map(u64::to_le_bytes).concat());
    let mut packer = flate2::write::ZlibEncoder::new(packed, flate2::Compression::fast());
    std::io::copy(&mut std::io::repeat(0).take(4 * MEMORY), &mut packer).expect("packed zeros");
    fs::write(session.path("packed"), packer.finish().expect("packed zeros")).expect("a file");
    let hostile = session.path("hostile");
    must_run(
        Command::new("objcopy")
            .args(["--add-section", ".debug_types=packed"])
            .args([&chain, &hostile])
            .current_dir(session.folder()),
    );
    let bytes = fs::read(&hostile).expect("a program");
    let elf = object::File::parse(&*bytes).expect("an ELF file");
    let section = elf.section_by_name(".debug_types").expect("what was added").index().0;
    let sections = u64::from_le_bytes(bytes[0x28..0x30].try_into().expect("eight bytes"));
    let flags_at = sections + section as u64 * 64 + 8;
    let file = File::options().write(true).open(&hostile).expect("the program");
    file.write_all_at(&object::elf::SHF_COMPRESSED.0.to_le_bytes(), flags_at).expect("room");
    drop(file);
    let good = Target::start(&chain, &["burn"]);
    let memory = format!("{}MiB", MEMORY >> 20);
    let mut agent = Agent::start(&session, &["--memory", &memory]);
    agent.assert_right("before", good.pid());
    let hostile = Target::start(&hostile, &["burn"]);
    // Its symbols are small, and say what they say.
    agent.wait_until_right("with debug information that is left alone", hostile.pid());
    agent.assert_right("beside debug information that is more than it says", good.pid());
    let has_lines = |pid: u32, agent: &mut Agent| {
        let profile = Pprof::read(&agent.wait_for_windows(pid, 1)[0]);
        // Libraries have debug information of their own.
        let is_own = |frame: &&Frame| frame.name == "main";
        profile
            .of_pid(pid)
            .iter()
            .flat_map(|stack| &stack.frames)
            .find(is_own)
            .is_some_and(|frame| frame.line > 0)
    };
    assert!(has_lines(good.pid(), &mut agent), "what says how much it is has lines");
    assert!(!has_lines(hostile.pid(), &mut agent), "what does not has none");
    assert!(agent.metric("profiler_debug_information_left_out_total") > 0.0);
    let most = most_memory(agent.pid());
    assert!(most <= MEMORY / 100 * 105, "{} KiB", most >> 10);
    agent.finish();
}

/// One function of ten million instructions, each with a rule of its own, in 30 MB of call-frame information.
#[test]
fn a_function_of_ten_million_rows() {
    const ROWS: usize = 10_000_000;
    let session = Session::begin();
    // Advance by one; the frame pointer is what it was. Advance by one; it is unknown. Neither is needed to unwind `main`.
    let rows: Vec<u8> = [0x41, 0x08, 6, 0x41, 0x07, 6].repeat(ROWS / 2);
    fs::write(session.path("rows.bin"), rows).expect("the rows");
    let frames = format!(
        ".text\n.globl huge\n.type huge, @function\nhuge:\n.fill {ROWS}, 1, 0x90\n ret\n2:\n.size huge, 2b-huge\n\
         .section .eh_frame,\"a\",@progbits\n3: .long 5f-4f\n4: .long 0\n .byte 1\n .asciz \"zR\"\n .uleb128 1\n .sleb128 -8\n \
         .uleb128 16\n .uleb128 1\n .byte 0x1b\n .byte 0x0c, 7, 8, 0x90, 1\n .balign 8\n5: .long 7f-6f\n6: .long 6b-3b\n \
         .long huge-.\n .long 2b-huge\n .uleb128 0\n .incbin \"rows.bin\"\n .balign 8\n7:\n\
         .section .note.GNU-stack,\"\",@progbits\n"
    );
    fs::write(session.path("huge.s"), frames).expect("a source");
    let main = "#include <stdio.h>\nvoid huge(void);\nint main(void) { puts(\"ready\"); fflush(stdout); for (;;) huge(); }\n";
    fs::write(session.path("main.c"), main).expect("a source");
    let args = ["-O2", "-fomit-frame-pointer", "-o", "huge", "main.c", "huge.s"];
    must_run(Command::new("gcc").args(args).current_dir(session.folder()));
    let hostile = Target::start(&session.path("huge"), &[]);
    let good = Target::start(&Program::Pie.build(), &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("beside ten million rows", good.pid());
    // Its own samples are there, and say how their stacks ended.
    let windows = agent.wait_for_windows(hostile.pid(), 1);
    let profile = Pprof::read(&windows[0]);
    let samples = profile.samples(|_| true);
    profile.check(samples > 0, "it is sampled");
    let told = ["complete", "truncated", "lost"]
        .map(|name| count_in_comments(&profile.comments(), name).unwrap_or(0));
    assert_eq!(told.iter().sum::<i64>(), samples, "{:?}", profile.comments());
    let held = agent.held();
    assert!(held.memory < 128 << 20, "{held:?}");
    agent.finish();
}

/// Every description of a function names itself as what it has in common with others.
#[test]
fn call_frame_information_that_refers_to_itself() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let broken = session.path("broken");
    let bytes = fs::read(&chain).expect("a program");
    let elf = object::File::parse(&*bytes).expect("an ELF file");
    let section = elf.section_by_name(".eh_frame").expect("call-frame information");
    let (start, size) = section.file_range().expect("its place");
    fs::copy(&chain, &broken).expect("a copy");
    let file = File::options().read(true).write(true).open(&broken).expect("the copy");
    let mut at = start;
    let mut changed = 0;
    while at < start + size {
        let mut header = [0; 8];
        file.read_exact_at(&mut header, at).expect("an entry");
        let [length, id] =
            [0, 4].map(|from| u32::from_le_bytes(header[from..from + 4].try_into().expect("four bytes")));
        if length == 0 {
            break;
        }
        if id != 0 {
            // The distance from here back to what is meant: this entry's own beginning.
            file.write_all_at(&4_u32.to_le_bytes(), at + 4).expect("room");
            changed += 1;
        }
        at += u64::from(length) + 4;
    }
    assert!(changed > 10, "{changed} descriptions");
    drop(file);
    let hostile = Target::start(&broken, &["burn"]);
    let good = Target::start(&chain, &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("beside call-frame information that refers to itself", good.pid());
    let windows = agent.wait_for_windows(hostile.pid(), 1);
    let profile = Pprof::read(&windows[0]);
    let stacks = profile.of_pid(hostile.pid());
    // Nothing describes its code: the stacks are as good as frame pointers make them, and none says that it is complete.
    profile.check(!stacks.is_empty(), "it is sampled");
    let in_leaf = stacks.iter().filter(|stack| Chain::of(Program::Pie).in_leaf(stack)).count();
    profile.check(in_leaf > 0, "its functions have names");
    assert!(agent.ticks("no_row") + agent.ticks("unsupported_rule") + agent.ticks("no_table") > 0.0);
    let complete = count_in_comments(&profile.comments(), "complete");
    assert_eq!(complete, Some(0), "{:?}", profile.comments());
    agent.finish();
}
