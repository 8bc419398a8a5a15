//! What reading tables has to know of the architecture that a file's code is for.
//!
//! A value and not a type, unlike [`Architecture`]: files say themselves what they are for, and a stack that was recorded
//! on one machine is walked again on another.

use profiler_common::unwind::{
    Aarch64, Architecture, X86_64,
    rule::{Rule, ra},
};

/// An architecture whose code can be unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// The one that the agent is built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The one that the agent is built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// By the ELF header's `e_machine`.
    pub(super) fn of_elf(machine: u16) -> Option<Self> {
        match machine {
            // EM_X86_64
            62 => Some(Self::X86_64),
            // EM_AARCH64
            183 => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Number of the stack pointer.
    pub(super) const fn sp(self) -> u8 {
        match self {
            Self::X86_64 => X86_64::SP,
            Self::Aarch64 => Aarch64::SP,
        }
    }

    /// Number of the frame pointer.
    pub(super) const fn fp(self) -> u8 {
        match self {
            Self::X86_64 => X86_64::FP,
            Self::Aarch64 => Aarch64::FP,
        }
    }

    /// The register in which a call leaves the return address, if it is one.
    pub(super) const fn link(self) -> Option<u8> {
        match self {
            Self::X86_64 => X86_64::LINK,
            Self::Aarch64 => Aarch64::LINK,
        }
    }

    /// How many general registers there are.
    pub(super) const fn general(self) -> usize {
        match self {
            Self::X86_64 => size_of::<<X86_64 as Architecture>::General>() / 8,
            Self::Aarch64 => size_of::<<Aarch64 as Architecture>::General>() / 8,
        }
    }

    /// The least size of an instruction.
    pub(super) const fn instruction_bytes(self) -> u8 {
        match self {
            Self::X86_64 => 1,
            Self::Aarch64 => 4,
        }
    }

    /// The type of a relocation by which a dynamic linker adds the address that a file is loaded at: R_X86_64_RELATIVE,
    /// R_AARCH64_RELATIVE.
    pub(super) const fn relative_relocation(self) -> u64 {
        match self {
            Self::X86_64 => 8,
            Self::Aarch64 => 1027,
        }
    }

    /// The rule where a function has done nothing yet.
    pub(super) const fn called(self) -> Rule {
        match self.link() {
            None => Rule::offset(self.sp(), 8),
            Some(link) => Rule { ra: ra::REGISTER, ra_register: link, ..Rule::offset(self.sp(), 0) },
        }
    }
}
