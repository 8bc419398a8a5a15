//! Text of the kernel, of processes and of people, and the kernel's records.

use std::borrow::Cow;
use std::mem::offset_of;

use profiler_common::layout::{Announcement, DEFERRED_STACKS, Deferred, STRINGS_BYTES};
use profiler_user::capture::{Message, sideband};
use profiler_user::cli;
use profiler_user::process::{Identity, parse_line};

use super::input::Input;

/// Lines of /proc/PID/maps.
pub(super) fn maps(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(parsed) = parse_line(line) else { continue };
        assert!(line.ends_with(parsed.path), "the path is the end of the line");
        assert!(parsed.path.starts_with(parsed.clean_path()));
    }
}

/// A cgroup file, an environment and an engine's file, with a byte 1 between them.
pub(super) fn identity(bytes: &[u8]) {
    let mut input = Input(bytes);
    let [cgroup, environ, engine] = std::array::from_fn(|_| input.up_to(1));
    let text = |bytes| String::from_utf8_lossy(bytes);
    let Identity { labels, excluded } = Identity::of_texts(&text(cgroup), environ, &text(engine));
    assert!(!excluded);
    for (name, value) in labels {
        let fits = !value.is_empty() && value.chars().count() <= 255 && !value.contains(char::is_control);
        assert!(fits, "{name}={value:?}");
    }
}

/// The first byte says what it is a record or a message of.
pub(super) fn events(bytes: &[u8]) {
    let mut input = Input(bytes);
    let how = input.u8();
    if let Some(event) = sideband::parse(input.0)
        && let sideband::Kind::Mmap2 { map, .. } = event.kind
    {
        assert!(map.len > 0 && map.addr.checked_add(map.len).is_some(), "{map:?}");
    }
    // Messages are told apart by their length; zeros fill it up.
    let lengths = [
        8,
        24,
        48,
        offset_of!(Announcement<8>, strings) + STRINGS_BYTES[0],
        offset_of!(Deferred<8>, stack) + DEFERRED_STACKS[0],
    ];
    let mut message = input.0.to_vec();
    message.resize(lengths[usize::from(how) % lengths.len()], 0);
    match Message::parse(&message) {
        Some(Message::Deferred(sample)) => assert!(sample.stack_bytes() <= message.len()),
        Some(Message::FirstSight(_, Some(strings))) => {
            assert!(strings.arguments.len() <= message.len() && strings.environment.len() <= message.len());
        }
        _ => {}
    }
}

/// A configuration becomes arguments, or sentences about its lines.
pub(super) fn configuration(bytes: &[u8]) {
    let text: Cow<'_, str> = String::from_utf8_lossy(bytes);
    let lines = 1 + text.matches('\n').count();
    match cli::configuration(&text) {
        Ok(words) => {
            assert!(words.iter().all(|word| word.as_encoded_bytes().starts_with(b"--")), "{words:?}");
        }
        Err(errors) => {
            let sound = |(line, why): &(usize, String)| *line <= lines && !why.is_empty();
            assert!(!errors.is_empty() && errors.iter().all(sound), "{errors:?}");
        }
    }
}
