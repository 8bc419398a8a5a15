//! ELF files around arbitrary sections, so that what is tried is their content.

/// A section.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    /// `SHF_*`.
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) content: &'a [u8],
}

/// A loadable segment, or one of another type.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    /// `PT_*`.
    pub(super) kind: u32,
    /// `PF_*`.
    pub(super) flags: u32,
    pub(super) address: u64,
    pub(super) content: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Code.
    pub(super) fn code(address: u64, content: &'a [u8]) -> Self {
        Segment { kind: 1, flags: 5, address, content }
    }
}

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;

/// A library of x86_64 with these segments and sections.
pub(super) fn file(segments: &[Segment<'_>], sections: &[Section<'_>]) -> Vec<u8> {
    let mut at = HEADER + SEGMENT * segments.len();
    let mut content: Vec<u8> = Vec::new();
    let mut place = |bytes: &[u8]| {
        let place = at as u64;
        content.extend(bytes);
        at += bytes.len();
        place
    };
    let mut headers = Vec::new();
    for Segment { kind, flags, address, content } in segments {
        let size = content.len() as u64;
        headers.extend(kind.to_le_bytes());
        headers.extend(flags.to_le_bytes());
        headers.extend([place(content), *address, *address, size, size, 1].map(u64::to_le_bytes).concat());
    }
    let mut names = vec![0];
    let mut list = vec![0; SECTION];
    let mut describe = |name: usize, kind: u32, flags: u64, address: u64, at: u64, size: usize| {
        list.extend((name as u32).to_le_bytes());
        list.extend(kind.to_le_bytes());
        list.extend([flags, address, at, size as u64, 0, 1, 0].map(u64::to_le_bytes).concat());
    };
    for Section { name, flags, address, content } in sections {
        describe(names.len(), SHT_PROGBITS, *flags, *address, place(content), content.len());
        names.extend(name.bytes().chain([0]));
    }
    describe(0, SHT_STRTAB, 0, 0, place(&names), names.len());
    let sections_at = place(&[]);
    let count = (list.len() / SECTION) as u16;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // A library (ET_DYN) of x86_64.
    file.extend([3_u16, 62, 1, 0].map(u16::to_le_bytes).concat());
    file.extend([0, HEADER as u64, sections_at].map(u64::to_le_bytes).concat());
    let sizes =
        [0, 0, HEADER as u16, SEGMENT as u16, segments.len() as u16, SECTION as u16, count, count - 1];
    file.extend(sizes.map(u16::to_le_bytes).concat());
    [file, headers, content, list].concat()
}
