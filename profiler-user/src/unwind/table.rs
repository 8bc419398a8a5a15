//! The rows of one file's code.

use std::{
    fs::File,
    io::Read,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use profiler_common::unwind::rule::{PAGE_BYTES, PAGE_SHIFT, Rule};

use super::{
    Error, Result,
    arch::Arch,
    bytes::Bytes,
    cfi::Dialect,
    cursor::Cursor,
    elf::{Elf, Part, Section},
    frames::Frames,
    gaps, go,
    header::Header,
    pclntab::Pclntab,
    steps::Steps,
};

/// Addresses that a file's code may span.
const MOST_CODE_BYTES: u64 = 4 << 30;
/// Bytes of a section that had to be decompressed, which stay in memory.
const MOST_DECOMPRESSED: u64 = 64 << 20;

/// Unwind rules of a file's code.
///
/// Opening reads headers, and a page what describes that page; both take about a millisecond whatever the size of the
/// file. Only where the linker wrote no search table does the first page take a reading of the whole section.
#[derive(Debug)]
pub struct Table {
    arch: Arch,
    /// Executable addresses in rising order, at least one range.
    code: Vec<Range<u64>>,
    /// Call-frame information, the best first.
    frames: Vec<Frames>,
    /// From this one on they are Go's.
    go_from: usize,
    /// The rule for code that nothing describes.
    otherwise: Rule,
    /// Rules that come before all others.
    special: Steps,
    /// Go's table of functions, where symbols or call-frame information were stripped.
    pclntab: Option<Pclntab>,
    file: Arc<File>,
    /// Loadable segments.
    loaded: Vec<Part>,
    /// Where a program begins.
    entry: u64,
}

impl Table {
    /// The rules in a file itself.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is no ELF file for this architecture, has no executable segments or claims to have more
    /// than 4 GiB of code. A file without call-frame information is none: its rows are all gaps.
    pub fn open(file: &File) -> Result<Self> {
        Self::open_with_debug(file, None)
    }

    /// The rules in a file for any architecture that is known, such as that of a stack which was recorded elsewhere.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_foreign(file: &File) -> Result<Self> {
        Self::read(file, None, None)
    }

    /// The rules in a file, and for code that it does not describe those in its separate debug file.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open). A debug file that cannot be used is left out.
    pub fn open_with_debug(file: &File, debug: Option<&File>) -> Result<Self> {
        Self::read(file, debug, Some(Arch::NATIVE))
    }

    fn read(file: &File, debug: Option<&File>, wanted: Option<Arch>) -> Result<Self> {
        let file = Arc::new(file.try_clone()?);
        let elf = Elf::read(&file)?;
        if wanted.is_some_and(|wanted| wanted != elf.arch) {
            return Err(Error::NotElf);
        }
        let (Some(first), Some(last)) = (elf.code.first(), elf.code.last()) else {
            return Err(Error::NoCode);
        };
        if last.end - first.start > MOST_CODE_BYTES {
            return Err(Error::TooLarge("code"));
        }
        let mut frames = Vec::from_iter(eh_frame(&file, &elf)?);
        let mut special = Steps::default();
        let mut pclntab = None;
        let mut go_from = usize::MAX;
        if elf.go {
            special = self::special(&file, &elf);
            go_from = frames.len();
            frames.extend(debug_frame(&file, &elf));
            if elf.symbols.is_none() || frames.len() == go_from {
                pclntab = or_without(Pclntab::open(&file, &elf))?;
            }
        } else {
            frames.extend(debug_frame(&file, &elf));
            frames.extend(debug.map(of_debug_file).transpose().unwrap_or_else(ignored).into_iter().flatten());
        }
        let otherwise = if elf.go { Rule::FRAME_POINTER } else { Rule::GAP };
        let Elf { arch, code, loaded, entry, .. } = elf;
        Ok(Self { arch, code, frames, go_from, otherwise, special, pclntab, file, loaded, entry })
    }

    /// Numbers of the first and the last page of code: the file's own addresses over
    /// [`PAGE_BYTES`]. Pages between may be without code.
    #[must_use]
    pub fn pages(&self) -> RangeInclusive<u64> {
        let first = self.code.first().map_or(0, |code| code.start >> PAGE_SHIFT);
        let last = self.code.last().map_or(0, |code| (code.end - 1) >> PAGE_SHIFT);
        first..=last
    }

    /// The rows of a page: offsets in the page, bytes, which rise from 0, and the rules from there on. Neighbouring
    /// rules differ; where there is no code or no description of it, the rule is [`Rule::GAP`].
    ///
    /// # Errors
    ///
    /// Where the file cannot be read (any more), or a page would cost too much. Another attempt would fail as well.
    pub fn page(&mut self, number: u64) -> Result<Vec<(u16, Rule)>> {
        let mut rows = Steps::default();
        // A page that does not exist has no code either.
        let start = if self.pages().contains(&number) { number << PAGE_SHIFT } else { 0 };
        rows.push(start, Rule::GAP);
        if self.pages().contains(&number) {
            let end = start.saturating_add(PAGE_BYTES);
            for code in self.code.clone() {
                let window = code.start.max(start)..code.end.min(end);
                if !window.is_empty() {
                    let known = self.rules(&window)?;
                    let code = gaps::Code {
                        arch: self.arch,
                        file: &self.file,
                        loaded: &self.loaded,
                        entry: self.entry,
                    };
                    rows.append(&gaps::fill(&known, &window, &code));
                    rows.push(window.end, Rule::GAP);
                }
            }
        }
        let offset = |&(address, rule): &(u64, Rule)| Some((u16::try_from(address - start).ok()?, rule));
        // The gap after the last window may begin with the next page.
        Ok(rows.as_slice().iter().map_while(offset).collect())
    }

    /// The rules in a window of code.
    fn rules(&mut self, window: &Range<u64>) -> Result<Steps> {
        let mut steps = Steps::default();
        steps.push(window.start, Rule::GAP);
        for (index, frames) in self.frames.iter_mut().enumerate() {
            if steps.has_gap() {
                let more = frames.rules(window);
                let mut more = if index == 0 { more? } else { more.unwrap_or_else(ignored) };
                if index >= self.go_from {
                    more = more.map(|rule| go::with_frame_pointer(rule, self.arch));
                }
                steps = steps.with_gaps_from(&more);
            }
        }
        let mut special = self.special.inside(window);
        if let Some(pclntab) = &mut self.pclntab {
            let found = or_without(pclntab.rules(window, &self.loaded))?;
            special = special.with_gaps_from(&found.special);
            steps = steps.with_gaps_from(&found.ordinary);
        }
        if self.otherwise != Rule::GAP {
            steps = steps.with_gaps_as(self.otherwise);
        }
        Ok(special.with_gaps_from(&steps))
    }
}

/// .eh_frame with the linker's search table; found by program headers, and by section headers for want of them.
fn eh_frame(file: &Arc<File>, elf: &Elf) -> Result<Option<Frames>> {
    if let Some(part) = elf.eh_frame_hdr {
        let bytes = Bytes::of_file(file, part.offset, part.size);
        let header = or_without(Header::read(bytes, part.address))?;
        if let Some(header) = header {
            let section = elf.eh_frame.map(|section| section.part);
            let part = section.iter().chain(&elf.loaded).find_map(|part| part.from(header.eh_frame));
            if let Some(part) = part {
                let bytes = Bytes::of_file(file, part.offset, part.size);
                return Ok(Some(Frames::new(elf.arch, bytes, part.address, Dialect::EhFrame, header.table)));
            }
        }
    }
    Ok(elf.eh_frame.and_then(|section| section_frames(file, elf.arch, &section, Dialect::EhFrame)))
}

fn debug_frame(file: &Arc<File>, elf: &Elf) -> Option<Frames> {
    section_frames(file, elf.arch, &elf.debug_frame?, Dialect::DebugFrame)
}

/// Whether a debug file has rules that the file proper may lack.
pub(super) fn has_debug_frame(file: &File) -> bool {
    let elf = file.try_clone().map_err(Error::from).and_then(|file| Elf::read(&Arc::new(file)));
    elf.is_ok_and(|elf| elf.debug_frame.is_some())
}

/// What a separate debug file has. Its program headers are those of the file proper and lead nowhere here.
fn of_debug_file(file: &File) -> Result<Vec<Frames>> {
    let file = Arc::new(file.try_clone()?);
    let elf = Elf::read(&file)?;
    let eh_frame =
        elf.eh_frame.and_then(|section| section_frames(&file, elf.arch, &section, Dialect::EhFrame));
    Ok(eh_frame.into_iter().chain(debug_frame(&file, &elf)).collect())
}

/// A section without a search table; `None` where it cannot be used.
fn section_frames(file: &Arc<File>, arch: Arch, section: &Section, dialect: Dialect) -> Option<Frames> {
    let bytes = if section.compressed {
        Bytes::in_memory(decompress(file, section).unwrap_or_else(ignored)?)
    } else {
        Bytes::of_file(file, section.part.offset, section.part.size)
    };
    Some(Frames::new(arch, bytes, section.part.address, dialect, None))
}

/// The content of a compressed section (System V ABI, chapter 4, "Section Compression"); `None` where it is empty.
fn decompress(file: &Arc<File>, section: &Section) -> Result<Option<Vec<u8>>> {
    const HEADER_BYTES: usize = 24;
    const ZLIB: u32 = 1;
    let mut bytes = Bytes::of_file(file, section.part.offset, section.part.size);
    bytes.allow(MOST_DECOMPRESSED);
    let mut header = Cursor::new(bytes.read(0, HEADER_BYTES)?, 0);
    let (kind, _reserved, size) = (header.u32(), header.u32(), header.u64());
    if kind != Some(ZLIB) {
        return Err(Error::Damaged("compression"));
    }
    let size = size.filter(|&size| size <= MOST_DECOMPRESSED).ok_or(Error::TooLarge("compressed section"))?;
    let len = usize::try_from(section.part.size).map_err(|_| Error::TooLarge("compressed section"))?;
    let compressed = bytes.read(HEADER_BYTES as u64, len.saturating_sub(HEADER_BYTES))?;
    let mut content = Vec::new();
    flate2::read::ZlibDecoder::new(compressed).take(size).read_to_end(&mut content)?;
    Ok((!content.is_empty()).then_some(content))
}

fn special(file: &Arc<File>, elf: &Elf) -> Steps {
    let special =
        elf.symbols.map(|(symbols, names)| go::special(elf.arch, file, &elf.loaded, symbols, names));
    special.transpose().unwrap_or_else(ignored).unwrap_or_default()
}

/// Damage means to do without.
fn or_without<T: Default>(result: Result<T>) -> Result<T> {
    result.or_else(|error| match error {
        Error::Read(_) => Err(error),
        _ => Ok(ignored(error)),
    })
}

/// What is only an extra may fail.
fn ignored<T: Default>(error: Error) -> T {
    tracing::debug!("call-frame information is left out: {error}");
    T::default()
}

#[cfg(test)]
mod tests;
