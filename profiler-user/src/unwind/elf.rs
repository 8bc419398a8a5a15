//! What of an ELF file the tables need (System V ABI, chapters 4 and 5).

use std::{fs::File, ops::Range, sync::Arc};

use super::{Error, Result, arch::Arch, bytes::Bytes, cursor::Cursor};

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: u16 = 56;
const SECTION_BYTES: u16 = 64;
/// Program headers of a file; real ones have some ten.
const MOST_SEGMENTS: u16 = 1 << 12;
/// Executable segments of a file; real ones have one or two.
const MOST_CODE: usize = 16;
/// Section headers of a file; more are as good as none.
const MOST_SECTIONS: u64 = 1 << 16;

const PT_LOAD: u32 = 1;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_X: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 1 << 11;

/// A part of a file that has addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) address: u64,
    /// Place in the file.
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Part {
    /// From an address inside to the end.
    pub(super) fn from(&self, address: u64) -> Option<Self> {
        let skipped = address.checked_sub(self.address).filter(|&skipped| skipped < self.size)?;
        let offset = self.offset.checked_add(skipped)?;
        Some(Self { address, offset, size: self.size - skipped })
    }
}

/// A section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) part: Part,
    /// Whether SHF_COMPRESSED is set.
    pub(super) compressed: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Elf {
    /// What the code is for.
    pub(super) arch: Arch,
    /// Executable addresses in rising order.
    pub(super) code: Vec<Range<u64>>,
    /// Loadable segments.
    pub(super) loaded: Vec<Part>,
    /// PT_GNU_EH_FRAME, or the section .eh_frame_hdr.
    pub(super) eh_frame_hdr: Option<Part>,
    pub(super) eh_frame: Option<Section>,
    pub(super) debug_frame: Option<Section>,
    /// The table of symbols and the names in it.
    pub(super) symbols: Option<(Part, Part)>,
    /// Where a program begins; 0 for a library.
    pub(super) entry: u64,
    /// Whether Go's linker made the file.
    pub(super) go: bool,
    /// Go's table of functions.
    pub(super) pclntab: Option<Part>,
    /// Go's description of the program (`runtime.firstmoduledata`), which has a section of its own since Go 1.26.
    pub(super) go_module: Option<Part>,
    /// What a dynamic linker is to relocate.
    pub(super) relocations: Option<Part>,
}

/// Fields of the file header.
struct Tables {
    arch: Arch,
    entry: u64,
    segments_at: u64,
    segments: u16,
    sections_at: u64,
    sections: u16,
    names: u16,
}

/// A section header.
struct SectionHeader {
    name: u32,
    kind: u32,
    flags: u64,
    part: Part,
    link: u32,
}

impl Elf {
    pub(super) fn read(file: &Arc<File>) -> Result<Self> {
        let mut bytes = Bytes::of_file(file, 0, file.metadata()?.len());
        // Headers, and the sections' names.
        bytes.allow(64 << 20);
        let tables = header(bytes.read_up_to(0, HEADER_BYTES)?).ok_or(Error::NotElf)?;
        let mut elf = Self {
            arch: tables.arch,
            code: Vec::new(),
            loaded: Vec::new(),
            eh_frame_hdr: None,
            eh_frame: None,
            debug_frame: None,
            symbols: None,
            entry: tables.entry,
            go: false,
            pclntab: None,
            go_module: None,
            relocations: None,
        };
        elf.read_segments(&mut bytes, &tables)?;
        // Files can do without section headers, also with none that can be read.
        match elf.read_sections(&mut bytes, &tables) {
            Err(Error::Read(error)) => Err(error.into()),
            _ => Ok(elf),
        }
    }

    fn read_segments(&mut self, bytes: &mut Bytes, tables: &Tables) -> Result<()> {
        if tables.segments > MOST_SEGMENTS {
            return Err(Error::TooLarge("number of segments"));
        }
        let size = usize::from(tables.segments) * usize::from(SEGMENT_BYTES);
        for segment in bytes.read(tables.segments_at, size)?.chunks_exact(SEGMENT_BYTES.into()) {
            let Some((kind, flags, part)) = segment_header(segment) else {
                continue;
            };
            match kind {
                PT_LOAD => {
                    self.loaded.push(part);
                    let end = part.address.saturating_add(part.size);
                    if flags & PF_X != 0 && part.address < end {
                        self.code.push(part.address..end);
                    }
                }
                PT_GNU_EH_FRAME => self.eh_frame_hdr = Some(part),
                _ => {}
            }
        }
        self.code.sort_unstable_by_key(|code| code.start);
        let mut end = 0;
        self.code.retain_mut(|code| {
            code.start = code.start.max(end);
            end = end.max(code.end);
            code.start < code.end
        });
        if self.code.len() > MOST_CODE {
            return Err(Error::TooLarge("number of executable segments"));
        }
        Ok(())
    }

    fn read_sections(&mut self, bytes: &mut Bytes, tables: &Tables) -> Result<()> {
        let first = section_at(bytes, tables, 0)?;
        // A count or index that does not fit is in the first section header.
        let count = if tables.sections == 0 { first.part.size } else { tables.sections.into() };
        let names = if tables.names == u16::MAX { first.link } else { tables.names.into() };
        if count > MOST_SECTIONS {
            return Err(Error::TooLarge("number of sections"));
        }
        let names = section_at(bytes, tables, names)?.part;
        let mut headers = Vec::new();
        for index in 1..count {
            headers.push(section_at(bytes, tables, index as u32)?);
        }
        for header in &headers {
            let present = header.kind != SHT_NOBITS;
            let section = Section { part: header.part, compressed: header.flags & SHF_COMPRESSED != 0 };
            // The longest name that matters has 22 bytes and a zero.
            let at = names.offset.saturating_add(header.name.into());
            let name = bytes.read_up_to(at, 24)?;
            match name.split(|&byte| byte == 0).next().unwrap_or_default() {
                b".eh_frame" if present => self.eh_frame = Some(section),
                b".eh_frame_hdr" if present => {
                    self.eh_frame_hdr.get_or_insert(header.part);
                }
                b".debug_frame" if present => self.debug_frame = Some(section),
                b".gopclntab" | b".data.rel.ro.gopclntab" if present && !section.compressed => {
                    self.go = true;
                    self.pclntab = Some(section.part);
                }
                b".go.buildinfo" | b".note.go.buildid" => self.go = true,
                b".go.module" if present => self.go_module = Some(section.part),
                b".rela.dyn" | b".rela" if present => self.relocations = Some(section.part),
                _ => {}
            }
            // Sections are counted from 1 here, as the first one is none.
            let link = usize::try_from(header.link).ok().and_then(|link| headers.get(link.checked_sub(1)?));
            if header.kind == SHT_SYMTAB
                && let Some(strings) = link
            {
                self.symbols = Some((header.part, strings.part));
            }
        }
        Ok(())
    }
}

fn header(bytes: &[u8]) -> Option<Tables> {
    let mut cursor = Cursor::new(bytes, 0);
    // 64-bit, little-endian.
    if cursor.take(6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    cursor.take(12)?;
    let arch = Arch::of_elf(cursor.u16()?)?;
    cursor.take(4)?;
    let (entry, segments_at, sections_at) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    cursor.take(6)?;
    let (segment_bytes, segments) = (cursor.u16()?, cursor.u16()?);
    let (section_bytes, sections, names) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    // Without headers their size may be zero.
    let sound = (segment_bytes == SEGMENT_BYTES || segments == 0)
        && (section_bytes == SECTION_BYTES || sections == 0);
    sound.then_some(Tables { arch, entry, segments_at, segments, sections_at, sections, names })
}

fn segment_header(bytes: &[u8]) -> Option<(u32, u32, Part)> {
    let mut cursor = Cursor::new(bytes, 0);
    let (kind, flags) = (cursor.u32()?, cursor.u32()?);
    let (offset, address, _, size) = (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?);
    Some((kind, flags, Part { address, offset, size }))
}

fn section_at(bytes: &mut Bytes, tables: &Tables, index: u32) -> Result<SectionHeader> {
    if tables.sections_at == 0 {
        return Err(Error::Damaged("section headers"));
    }
    let at = tables.sections_at.saturating_add(u64::from(index) * u64::from(SECTION_BYTES));
    section_header(bytes.read(at, SECTION_BYTES.into())?).ok_or(Error::Damaged("section headers"))
}

fn section_header(bytes: &[u8]) -> Option<SectionHeader> {
    let mut cursor = Cursor::new(bytes, 0);
    let (name, kind, flags) = (cursor.u32()?, cursor.u32()?, cursor.u64()?);
    let (address, offset, size) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let link = cursor.u32()?;
    Some(SectionHeader { name, kind, flags, part: Part { address, offset, size }, link })
}
