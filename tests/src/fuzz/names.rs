//! Names of addresses, by blazesym behind what the naming thread has around it, and as another process would say them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use object::{Object as _, ObjectSection as _, SectionKind};
use profiler_user::budget::{DEFAULT_ONCE, Gauge, Memory, Pace};
use profiler_user::process::Object;
use profiler_user::symbol::{Namer, taken_for};

use super::input::new_file;

/// Ends of windows after which nothing is kept that was parsed of a file.
const WINDOWS: usize = 3;

thread_local! {
    /// One for all: it reads the kernel's names when it is made. With the number of objects so far.
    static NAMER: RefCell<(Namer, u64)> =
        RefCell::new((Namer::new(Gauge::new(Memory { bytes: DEFAULT_ONCE }), Pace::new(None)), 0));
}

/// The symbols and the debug information of a whole file.
pub(super) fn dwarf(bytes: &[u8]) {
    NAMER.with_borrow_mut(|(namer, objects)| {
        *objects += 1;
        // Another file each time: by that the namer tells that what it has parsed is of another one.
        let object = Object::of_file(*objects, new_file(bytes));
        let mut addresses: Vec<u64> = Vec::new();
        for segment in object.segments.iter().take(2) {
            let places = [0, 1, segment.size / 4, segment.size / 2, segment.size.wrapping_sub(1)];
            addresses.extend(places.map(|at| segment.address.wrapping_add(at)));
        }
        addresses.extend([0, 0x1000, u64::MAX]);
        addresses.extend(in_sections(bytes));
        namer.prepare(HashMap::from([(*objects, (Arc::new(object), addresses.clone()))]));
        for address in addresses {
            let _ = namer.functions(*objects, address);
        }
        (0..WINDOWS).for_each(|_| namer.end_window());
    });
}

/// Addresses in the sections of code, which linkage tables are among.
fn in_sections(bytes: &[u8]) -> Vec<u64> {
    let Ok(file) = object::File::parse(bytes) else { return Vec::new() };
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text).take(8);
    code.flat_map(|section| [0, 16, 28, section.size() / 2].map(|at| section.address().wrapping_add(at)))
        .collect()
}

/// What the process that reads says.
pub(super) fn answers(bytes: &[u8]) {
    let Some((addresses, bytes)) = bytes.split_first() else { return };
    let addresses = usize::from(addresses % 20);
    let taken = taken_for(bytes, addresses);
    // What it makes of it is no larger than what it was given, but for the words around it.
    assert!(taken.is_none_or(|taken| taken.len() <= 4096 + 64 * bytes.len()));
}
