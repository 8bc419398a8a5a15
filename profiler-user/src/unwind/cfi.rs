//! Records of call-frame information: common information entries (CIE) and frame description entries (FDE), as in
//! .eh_frame (Linux Standard Base Core 5.0, section 10.6) and .debug_frame (DWARF 5, section 6.4.1).

use std::{ops::Range, sync::Arc};

use super::{arch::Arch, cursor::Cursor, execute, pointer::Encoding, state::State};

/// The two sections' dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    EhFrame,
    DebugFrame,
}

/// Bytes that the head of a record takes at most.
pub(super) const LONGEST_HEAD: usize = 20;

/// What the head of a record says. Places count from the section's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Place of the first byte after the head.
    pub(super) body: u64,
    /// Place of the first byte after the record.
    pub(super) end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A length of zero, which ends .eh_frame.
    End,
    Cie,
    Fde {
        /// Place of the CIE.
        cie: u64,
    },
}

impl Head {
    /// Reads the head of the record at a place.
    pub(super) fn parse(bytes: &[u8], at: u64, dialect: Dialect) -> Option<Self> {
        let mut cursor = Cursor::new(bytes, at);
        let mut length = u64::from(cursor.u32()?);
        if length == 0 {
            return Some(Self { kind: Kind::End, body: cursor.address(), end: cursor.address() });
        }
        let long = length == 0xffff_ffff;
        if long {
            length = cursor.u64()?;
        } else if length >= 0xffff_fff0 {
            // Reserved (DWARF 5, section 7.2.2).
            return None;
        }
        let id_at = cursor.address();
        let end = id_at.checked_add(length)?;
        // .eh_frame has four bytes there whatever the length, and counts from them backwards.
        let kind = match dialect {
            Dialect::EhFrame => match cursor.u32()? {
                0 => Kind::Cie,
                distance => Kind::Fde { cie: id_at.checked_sub(distance.into())? },
            },
            Dialect::DebugFrame => match if long { cursor.u64()? } else { cursor.u32()?.into() } {
                u64::MAX => Kind::Cie,
                0xffff_ffff if !long => Kind::Cie,
                cie => Kind::Fde { cie },
            },
        };
        (cursor.address() <= end).then_some(Self { kind, body: cursor.address(), end })
    }
}

/// What frame descriptions have in common.
#[derive(Debug)]
pub(super) struct Cie {
    /// What the code is for.
    pub(super) arch: Arch,
    /// Of the addresses in frame descriptions.
    pub(super) encoding: Encoding,
    pub(super) code_factor: u64,
    pub(super) data_factor: i64,
    /// Number of the column of the return address.
    pub(super) return_address: u64,
    /// Whether the frames are those of signal handlers.
    pub(super) signal: bool,
    /// Whether frame descriptions have augmentation data.
    augmented: bool,
    /// The state at the start of each function.
    pub(super) initial: State,
}

impl Cie {
    /// Reads the body of a CIE; `address` is that of its first byte.
    pub(super) fn parse(body: &[u8], address: u64, dialect: Dialect, arch: Arch) -> Option<Self> {
        let mut cursor = Cursor::new(body, address);
        let version = cursor.u8()?;
        if !matches!(version, 1 | 3 | 4) {
            return None;
        }
        let augmentation = cursor.string()?;
        if augmentation == b"eh" {
            // GCC 2's table of exceptions.
            cursor.take(8)?;
        }
        // Addresses of eight bytes without a segment are all that there is. Version 4 is .debug_frame's alone.
        if version == 4 && (dialect == Dialect::EhFrame || (cursor.u8()?, cursor.u8()?) != (8, 0)) {
            return None;
        }
        let code_factor = cursor.uleb()?;
        let data_factor = cursor.sleb()?;
        let return_address = if version == 1 { cursor.u8()?.into() } else { cursor.uleb()? };
        let mut cie = Self {
            arch,
            encoding: Encoding::ABSOLUTE,
            code_factor,
            data_factor,
            return_address,
            signal: false,
            augmented: false,
            initial: State::default(),
        };
        cie.augment(augmentation, &mut cursor)?;
        cie.initial = execute::initial(&cie, cursor.left(), cursor.address())?;
        Some(cie)
    }

    fn augment(&mut self, augmentation: &[u8], cursor: &mut Cursor<'_>) -> Option<()> {
        let Some((b'z', letters)) = augmentation.split_first() else {
            // Without a length of the data only "eh" and nothing can be skipped.
            return matches!(augmentation, b"" | b"eh").then_some(());
        };
        self.augmented = true;
        let len = cursor.uleb()?;
        let address = cursor.address();
        let mut data = Cursor::new(cursor.take(len)?, address);
        for letter in letters {
            match letter {
                b'R' => self.encoding = Encoding(data.u8()?),
                // The personality routine.
                b'P' => {
                    Encoding(data.u8()?).read_number(&mut data)?;
                }
                // How the frame descriptions' pointers to language-specific data are written.
                b'L' => {
                    data.u8()?;
                }
                b'S' => self.signal = true,
                // Letters that change nothing here (on aarch64 B, which key signs return addresses, and G, tagged stacks), and
                // those to come: the length says how to get past their data.
                _ => break,
            }
        }
        Some(())
    }
}

/// The frame description of a range of code.
#[derive(Clone, Debug)]
pub(super) struct Fde {
    pub(super) cie: Arc<Cie>,
    /// Addresses of the code.
    pub(super) code: Range<u64>,
    /// Places of the instructions, from the section's start.
    pub(super) instructions: Range<u64>,
}

impl Fde {
    /// Reads the fixed part of a frame description from the start of its body; `address` is that of its first byte.
    /// `head` is the head of the record.
    ///
    /// What follows the range is skipped by its length; `body` needs to reach [`Self::FIXED`] bytes, or as far as the
    /// record does.
    pub(super) fn parse(body: &[u8], address: u64, head: &Head, cie: Arc<Cie>) -> Option<Self> {
        let mut cursor = Cursor::new(body, address);
        let start = cie.encoding.read(&mut cursor, None)?;
        let length = cie.encoding.read_number(&mut cursor)?;
        let augmentation = if cie.augmented { cursor.uleb()? } else { 0 };
        let read = cursor.address().wrapping_sub(address);
        let at = head.body.checked_add(read)?.checked_add(augmentation)?;
        let code = start..start.checked_add(length)?;
        (at <= head.end).then_some(Self { cie, code, instructions: at..head.end })
    }

    /// Bytes that the fixed part takes at most: two pointers and the length of the augmentation data.
    pub(super) const FIXED: u64 = 30;
}
