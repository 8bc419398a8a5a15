//! Names in the kernel: its image, its modules, and BPF programs, from /proc/kallsyms.

use std::{collections::HashMap, fs, io::Read, path::Path, sync::Arc};

use super::{Function, Functions, kallsyms::Kallsyms};
use crate::{confine::threads, process::hex};

/// What a kernel address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelPlace {
    /// `[kernel.kallsyms]`, a module's name in brackets, or `[bpf]`.
    pub name: String,
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Build-id, lowercase hexadecimal; empty where it is not known.
    pub build_id: String,
}

/// The kernel's code as it is now.
pub struct KernelCode {
    symbols: Kallsyms,
    image: KernelPlace,
    modules: Vec<KernelPlace>,
    /// What was asked for, by name.
    functions: HashMap<Box<str>, Functions>,
}

/// Names that are kept before all are made anew.
const MOST_NAMES: usize = 1 << 14;

impl KernelCode {
    pub(super) fn new() -> Self {
        let symbols = symbols();
        Self { image: image(&symbols), symbols, modules: modules(), functions: HashMap::new() }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        // A name is kept as a key and in its function; the rest is the table's slot and the shared slice.
        let names = self.functions.keys().map(|name| 2 * name.len() + size_of::<Function>() + 64);
        self.symbols.bytes() + names.sum::<usize>()
    }

    /// Has the names of addresses at hand.
    pub(super) fn prepare(&mut self, addresses: &[u64]) {
        // Code outside of what is known was loaded since: modules and BPF programs come and go.
        let is_new = |code: &Self, address: u64| {
            !contains(&code.image, address)
                && !code.modules.iter().any(|module| contains(module, address))
                && code.functions(address).is_none()
        };
        if addresses.iter().any(|&address| is_new(self, address)) {
            self.symbols = symbols();
            self.modules = modules();
        }
        if self.functions.len() > MOST_NAMES {
            self.functions = HashMap::new();
        }
        for &address in addresses {
            if let Some(name) = self.symbols.find(address)
                && !self.functions.contains_key(name)
            {
                let function = Function { name: name.to_owned(), file: String::new(), line: 0 };
                self.functions.insert(name.into(), Arc::new([function]));
            }
        }
    }

    /// The function at an address, if it was prepared.
    pub(super) fn functions(&self, address: u64) -> Option<&Functions> {
        self.functions.get(self.symbols.find(address)?)
    }

    /// What an address belongs to.
    pub(super) fn place(&self, address: u64) -> KernelPlace {
        if contains(&self.image, address) {
            return self.image.clone();
        }
        if let Some(module) = self.modules.iter().find(|module| contains(module, address)) {
            return module.clone();
        }
        let is_bpf = self
            .functions(address)
            .and_then(|functions| functions.first())
            .is_some_and(|function| function.name.starts_with("bpf_"));
        if is_bpf {
            // Programs lie scattered in the kernel's module area; they share a mapping that spans all addresses there.
            return KernelPlace {
                name: "[bpf]".to_owned(),
                start: 0xffff_ffff_8000_0000,
                end: u64::MAX,
                build_id: String::new(),
            };
        }
        KernelPlace {
            name: "[kernel]".to_owned(),
            start: 0xffff_8000_0000_0000,
            end: u64::MAX,
            build_id: String::new(),
        }
    }
}

/// The symbols as they are now; none where they cannot be read.
fn symbols() -> Kallsyms {
    Kallsyms::read(Path::new("/proc/kallsyms")).unwrap_or_else(|error| {
        tracing::debug!("kernel addresses have no names: {error}");
        Kallsyms::default()
    })
}

fn contains(place: &KernelPlace, address: u64) -> bool {
    (place.start..place.end).contains(&address)
}

/// The kernel's own text, from _stext to _etext. Where addresses are hidden, everything in the upper half.
fn image(symbols: &Kallsyms) -> KernelPlace {
    let (start, end) = symbols
        .address_of("_stext")
        .zip(symbols.address_of("_etext"))
        .filter(|(start, end)| start < end)
        .unwrap_or((0xffff_8000_0000_0000, u64::MAX));
    let build_id = fs::read("/sys/kernel/notes").ok().and_then(|notes| build_id(&notes)).unwrap_or_default();
    KernelPlace { name: "[kernel.kallsyms]".to_owned(), start, end, build_id }
}

/// The loaded modules: a line of /proc/modules is `name size uses users state address`.
fn modules() -> Vec<KernelPlace> {
    let mut text = String::new();
    // Addresses are shown to whoever may see them when the file is opened.
    let read = threads::open(Path::new("/proc/modules")).and_then(|mut file| file.read_to_string(&mut text));
    if let Err(error) = read {
        tracing::debug!("the kernel's modules are not known: {error}");
    }
    text.lines().filter_map(module).collect()
}

fn module(line: &str) -> Option<KernelPlace> {
    let mut fields = line.split_ascii_whitespace();
    let (name, size) = (fields.next()?, fields.next()?.parse::<u64>().ok()?);
    let start = u64::from_str_radix(fields.nth(3)?.strip_prefix("0x")?, 16).ok()?;
    let build_id = fs::read(format!("/sys/module/{name}/notes/.note.gnu.build-id")).ok();
    (start != 0).then(|| KernelPlace {
        name: format!("[{name}]"),
        start,
        end: start.saturating_add(size),
        build_id: build_id.and_then(|notes| self::build_id(&notes)).unwrap_or_default(),
    })
}

/// The build-id in a series of ELF notes: lengths of name and contents, a type, then both padded to four bytes.
fn build_id(notes: &[u8]) -> Option<String> {
    let mut rest = notes;
    loop {
        let word = |at: usize| -> Option<usize> {
            usize::try_from(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?)).ok()
        };
        let (name_len, contents_len, kind) = (word(0)?, word(4)?, word(8)?);
        let name = rest.get(12..12_usize.checked_add(name_len)?)?;
        let contents_at = 12 + name_len.next_multiple_of(4);
        let contents = rest.get(contents_at..contents_at.checked_add(contents_len)?)?;
        if kind == 3 && name == b"GNU\0" {
            return Some(hex(contents));
        }
        rest = rest.get(contents_at + contents_len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_read() {
        let module = module("nf_tables 405504 0 - Live 0xffffffffc0a12000").unwrap();
        assert_eq!(
            (module.name.as_str(), module.start, module.end),
            ("[nf_tables]", 0xffff_ffff_c0a1_2000, 0xffff_ffff_c0a7_5000)
        );
        assert_eq!(self::module("x 1 0 - Live 0x0000000000000000"), None);
    }

    #[test]
    fn build_ids_are_found_behind_other_notes() {
        let mut notes = Vec::new();
        for (name, kind, contents) in
            [(&b"Xen\0"[..], 6_u32, &[1, 2, 3, 4][..]), (b"GNU\0", 3, &[0xab, 0xcd])]
        {
            notes.extend_from_slice(&(name.len() as u32).to_ne_bytes());
            notes.extend_from_slice(&(contents.len() as u32).to_ne_bytes());
            notes.extend_from_slice(&kind.to_ne_bytes());
            notes.extend_from_slice(name);
            notes.extend_from_slice(contents);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id(&notes).as_deref(), Some("abcd"));
        assert_eq!(build_id(&notes[..20]), None);
        assert_eq!(build_id(&[0xff; 40]), None);
    }

    #[test]
    fn a_system_call_of_this_kernel_has_a_name() {
        let text = fs::read_to_string("/proc/kallsyms").unwrap();
        let line = text.lines().find(|line| line.ends_with(" vfs_read")).unwrap();
        let address = u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap();
        let mut kernel = KernelCode::new();
        kernel.prepare(&[address + 4]);
        assert_eq!(kernel.functions(address + 4).unwrap()[0].name, "vfs_read");
        assert_eq!(kernel.place(address).name, "[kernel.kallsyms]");
        assert!(!kernel.image.build_id.is_empty());
    }
}
