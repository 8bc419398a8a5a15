//! Parts of a file, read piece by piece.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use super::{Error, Result};

/// Bytes that one pread fetches at least, where the part has so many. Search tables and frame descriptions are read at
/// neighbouring places.
const CHUNK: usize = 16 << 10;

/// A part of a file, or bytes in memory, behind a window that moves.
#[derive(Debug)]
pub(super) struct Bytes {
    /// `None` where all of it is in the chunk.
    file: Option<Arc<File>>,
    /// Start in the file, bytes.
    offset: u64,
    len: u64,
    chunk: Vec<u8>,
    /// Distance of the chunk from the start.
    chunk_at: u64,
    /// Bytes that may still be fetched.
    budget: u64,
}

impl Bytes {
    /// A part of a file. It may claim to be longer than the file: what is not there cannot be read.
    pub(super) fn of_file(file: &Arc<File>, offset: u64, len: u64) -> Self {
        let len = len.min(u64::MAX - offset);
        Self { file: Some(Arc::clone(file)), offset, len, chunk: Vec::new(), chunk_at: 0, budget: 0 }
    }

    /// Bytes in memory.
    pub(super) fn in_memory(chunk: Vec<u8>) -> Self {
        Self { file: None, offset: 0, len: chunk.len() as u64, chunk, chunk_at: 0, budget: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Says how many bytes may be fetched from now on. Without, none may.
    pub(super) fn allow(&mut self, budget: u64) {
        self.budget = budget;
    }

    /// Gives the memory of the window back.
    pub(super) fn release(&mut self) {
        if self.file.is_some() {
            self.chunk = Vec::new();
        }
    }

    /// Exactly `len` bytes, `at` from the start.
    pub(super) fn read(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let found = self.read_up_to(at, len)?;
        if found.len() == len { Ok(found) } else { Err(Error::Damaged("layout")) }
    }

    /// `len` bytes, or fewer at the end of the part; it is an error where the file ends before.
    pub(super) fn read_up_to(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let have = at.checked_sub(self.chunk_at).and_then(|from| usize::try_from(from).ok());
        let from = match have {
            Some(from) if from.checked_add(len).is_some_and(|end| end <= self.chunk.len()) => from,
            _ if len == 0 => return Ok(&[]),
            _ => {
                self.fetch(at, len.max(CHUNK).min(left))?;
                0
            }
        };
        self.chunk.get(from..from + len).ok_or(Error::Damaged("layout"))
    }

    fn fetch(&mut self, at: u64, len: usize) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::Damaged("layout"));
        };
        self.budget = self.budget.checked_sub(len as u64).ok_or(Error::TooLarge("call-frame information"))?;
        if self.chunk.capacity() > 4 * CHUNK.max(len) {
            self.chunk = Vec::new();
        }
        self.chunk.resize(len, 0);
        self.chunk_at = at;
        let mut filled = 0;
        while let Some(rest) = self.chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, self.offset.saturating_add(at).saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.chunk.clear();
                    return Err(error.into());
                }
            }
        }
        self.chunk.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_across_chunks_and_stops_at_both_ends() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3 * CHUNK).map(|index| (index / 3) as u8).collect();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        let mut bytes = Bytes::of_file(&file, 10, 2 * CHUNK as u64);
        bytes.allow(1 << 20);
        for at in [0, 5, CHUNK - 3, CHUNK, 2 * CHUNK - 9, 1] {
            assert_eq!(bytes.read(at as u64, 9).unwrap(), &content[10 + at..][..9]);
        }
        assert!(matches!(bytes.read(2 * CHUNK as u64 - 8, 9), Err(Error::Damaged(_))));
        assert_eq!(bytes.read_up_to(2 * CHUNK as u64 - 8, 9).unwrap().len(), 8);
        assert_eq!(bytes.read_up_to(u64::MAX, 9).unwrap().len(), 0);
        // Longer than the file.
        let mut bytes = Bytes::of_file(&file, 3 * CHUNK as u64 - 4, u64::MAX);
        bytes.allow(1 << 20);
        assert_eq!(bytes.read_up_to(0, 4).unwrap().len(), 4);
        assert!(bytes.read_up_to(0, 5).is_err());
        assert!(bytes.read(1 << 60, 1).is_err());
    }

    #[test]
    fn the_budget_ends() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 4 * CHUNK]).unwrap();
        let mut bytes = Bytes::of_file(&Arc::new(file), 0, 4 * CHUNK as u64);
        bytes.allow(2 * CHUNK as u64);
        assert!(bytes.read(0, 1).is_ok());
        assert!(bytes.read(CHUNK as u64, 1).is_ok());
        assert!(matches!(bytes.read(0, 1), Err(Error::TooLarge(_))));
    }
}
