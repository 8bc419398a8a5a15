//! How a sampling interrupt ended.

/// How one sampling interrupt ("tick") ended. Every tick ends in exactly one of these, and each has one counter.
///
/// The discriminants are the counters' indices in [`CpuState::outcomes`](crate::layout::CpuState) and the value in a
/// stack's [header](crate::stack::Header).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The stack reaches from the interrupted instruction to the thread's first function.
    Complete = 0,
    /// The user stack has more frames than are kept; the leaf side is there.
    TooDeep = 1,
    /// A word of the user stack could not be read (not present, or not mapped); the leaf side is there.
    UnreadableMemory = 2,
    /// What was found cannot be: the stack does not rise, or there is no code at the return address.
    LostChain = 3,
    /// A 32-bit task: the kernel side is there, the user side is not walked.
    Compat32 = 4,
    /// The kernel stack has more frames than are kept; the leaf side is there, and the whole user stack.
    KernelTooDeep = 5,
    /// The sample counts for its process, but this window had no room left for its stack.
    StackTableFull = 6,
    /// The sample counts for its process, but its stack's hash belongs to other stacks already.
    StackCollision = 7,
    /// The sample is in no profile: this window had no room for another combination of process, thread and stack.
    CountTableFull = 8,
    /// The CPU was idle: not CPU time, in no profile.
    Idle = 9,
    /// The process was not among those that were asked for.
    NotSelected = 10,
    /// The timer ran late by whole periods while a task ran, or the kernel skipped the program: a tick that never came to be a
    /// sample. See [`late`](crate::late).
    Missed = 11,
    /// There is no unwind rule for code on the stack; the leaf side is there.
    NoRow = 12,
    /// There is a rule for code on the stack, but of no kind that can be followed; the leaf side is there.
    UnsupportedRule = 13,
    /// An address on the stack lies in no known mapping of the process; the leaf side is there.
    UnmappedPc = 14,
    /// The process's mappings were not known yet: the stack is what frame pointers show, and may lack frames.
    NewProcess = 15,
    /// Rules were not loaded yet: from there on the stack is what frame pointers show, and may lack frames.
    TableNotLoaded = 16,
    /// An object has no rules that can be read, or no room for them: as for [`Outcome::TableNotLoaded`].
    NoTable = 17,
    /// The kernel side passed the sample on with its stack's memory, for user space to walk: it then ends in another
    /// outcome. What still counts here got lost on the way.
    Deferred = 18,
}

/// Number of outcomes, and of counters.
pub const OUTCOMES: usize = 19;

impl Outcome {
    /// All outcomes in the order of their discriminants.
    pub const ALL: [Self; OUTCOMES] = [
        Self::Complete,
        Self::TooDeep,
        Self::UnreadableMemory,
        Self::LostChain,
        Self::Compat32,
        Self::KernelTooDeep,
        Self::StackTableFull,
        Self::StackCollision,
        Self::CountTableFull,
        Self::Idle,
        Self::NotSelected,
        Self::Missed,
        Self::NoRow,
        Self::UnsupportedRule,
        Self::UnmappedPc,
        Self::NewProcess,
        Self::TableNotLoaded,
        Self::NoTable,
        Self::Deferred,
    ];

    /// The outcome with this discriminant; `None` for a number that is none.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        if (index as usize) < OUTCOMES { Some(Self::ALL[index as usize]) } else { None }
    }

    /// The name under which the outcome appears in logs, JSON and profile comments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::TooDeep => "too_deep",
            Self::UnreadableMemory => "unreadable_memory",
            Self::LostChain => "lost_chain",
            Self::Compat32 => "compat_32bit",
            Self::KernelTooDeep => "kernel_too_deep",
            Self::StackTableFull => "stack_table_full",
            Self::StackCollision => "stack_collision",
            Self::CountTableFull => "count_table_full",
            Self::Idle => "idle",
            Self::NotSelected => "not_selected",
            Self::Missed => "missed",
            Self::NoRow => "no_row",
            Self::UnsupportedRule => "unsupported_rule",
            Self::UnmappedPc => "unmapped_pc",
            Self::NewProcess => "new_process",
            Self::TableNotLoaded => "table_not_loaded",
            Self::NoTable => "no_table",
            Self::Deferred => "deferred",
        }
    }

    /// What became of the sample.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Complete => Kind::Complete,
            Self::TooDeep
            | Self::UnreadableMemory
            | Self::LostChain
            | Self::Compat32
            | Self::KernelTooDeep
            | Self::NoRow
            | Self::UnsupportedRule
            | Self::UnmappedPc
            | Self::NewProcess
            | Self::TableNotLoaded
            | Self::NoTable => Kind::Truncated,
            Self::StackTableFull | Self::StackCollision => Kind::StackLost,
            Self::CountTableFull | Self::Missed | Self::Deferred => Kind::SampleLost,
            Self::Idle | Self::NotSelected => Kind::NotSampled,
        }
    }
}

/// What became of a tick, coarser than [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// In the profile with its whole stack.
    Complete,
    /// In the profile with the leaf side of its stack.
    Truncated,
    /// In the profile of its process without a stack.
    StackLost,
    /// In no profile although CPU time was spent.
    SampleLost,
    /// In no profile because no CPU time that was asked for was spent.
    NotSampled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_the_discriminants() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
            assert_eq!(Outcome::from_index(index as u8), Some(outcome));
        }
        assert_eq!(Outcome::from_index(OUTCOMES as u8), None);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OUTCOMES);
    }
}
