//! What call-frame information says at one instruction, and the rule for it.

use profiler_common::unwind::rule::{Rule, fp, kind, ra};

use super::{arch::Arch, expression::Place};

/// How the CFA is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cfa {
    /// Nothing was said, or something that no rule can hold.
    #[default]
    Unknown,
    /// Register + offset.
    Offset { register: u64, offset: i64 },
    /// An expression.
    Place(Place),
}

/// How one of the caller's registers is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Saved {
    /// Nothing was said, or that it is what it was. The stack pointer without a word is the CFA.
    #[default]
    Unchanged,
    /// It is lost.
    Undefined,
    /// At CFA + offset.
    AtCfa(i64),
    /// In another register.
    Register(u64),
    /// At the place that an expression leads to.
    At(Place),
    /// Some way that no rule can hold.
    Unknown,
}

/// All that matters at one instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) cfa: Cfa,
    /// Of the frame pointer.
    pub(super) fp: Saved,
    /// Of the stack pointer.
    pub(super) sp: Saved,
    /// Of the return address.
    pub(super) ra: Saved,
}

impl State {
    /// The rule that says the same. `signal`: the frame is one that the kernel made to run a signal handler.
    pub(super) fn rule(&self, arch: Arch, signal: bool) -> Rule {
        if self.ra == Saved::Undefined {
            return Rule::END;
        }
        // So glibc describes its rt_sigreturn trampoline (sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c): the stack
        // pointer is at the `struct ucontext` that the kernel wrote, which has the caller's in its byte 160.
        let in_context = Place::Deref { register: arch.sp(), offset: 160, add: 0 };
        if arch == Arch::X86_64 && signal && self.cfa == Cfa::Place(in_context) {
            return Rule::SIGNAL;
        }
        self.ordinary(arch).unwrap_or(Rule::UNSUPPORTED)
    }

    fn ordinary(&self, arch: Arch) -> Option<Rule> {
        let number = |register: u64| {
            u8::try_from(register).ok().filter(|&register| usize::from(register) < arch.general())
        };
        let cfa = match (self.sp, self.ra) {
            (Saved::Unchanged, _) => self.cfa,
            // longjmp's last instructions: the caller's registers are in others, and nothing is read at the CFA. The
            // stack pointer can stand for it.
            (Saved::Register(register), Saved::Register(_)) => Cfa::Offset { register, offset: 0 },
            _ => return None,
        };
        let mut rule = match cfa {
            Cfa::Unknown => return None,
            Cfa::Offset { register, offset } => Rule::offset(number(register)?, offset.try_into().ok()?),
            Cfa::Place(Place::Register { register, offset }) => {
                Rule::offset(register, offset.try_into().ok()?)
            }
            Cfa::Place(Place::Deref { register, offset, add }) => Rule {
                cfa_register: register,
                cfa_offset: offset.try_into().ok()?,
                cfa_add: add.try_into().ok()?,
                ..Rule::special(kind::DEREF)
            },
            Cfa::Place(Place::Plt { second_half }) => {
                Rule { cfa_add: second_half.into(), ..Rule::special(kind::PLT) }
            }
        };
        match self.ra {
            Saved::AtCfa(offset) if arch.link().is_some() => match self.fp {
                Saved::AtCfa(fp) if fp.checked_add(8) == Some(offset) && i32::try_from(fp).is_ok() => {
                    rule.ra = ra::IN_RECORD;
                }
                // The other kinds have something else in that field.
                _ if rule.kind == kind::OFFSET => rule.cfa_add = offset.try_into().ok()?,
                _ => return None,
            },
            Saved::AtCfa(-8) => rule.ra = ra::AT_CFA,
            // The same place, relative to the register.
            Saved::At(Place::Register { register, offset })
                if arch.link().is_none()
                    && rule.kind == kind::OFFSET
                    && register == rule.cfa_register
                    && offset.checked_add(8) == Some(rule.cfa_offset.into()) =>
            {
                rule.ra = ra::AT_CFA;
            }
            Saved::Register(register) => {
                rule.ra = ra::REGISTER;
                rule.ra_register = number(register)?;
            }
            _ => return None,
        }
        // The return address can be had even where the frame pointer cannot.
        match self.fp {
            Saved::Unchanged => rule.fp = fp::UNCHANGED,
            Saved::Register(register) if register == u64::from(arch.fp()) => rule.fp = fp::UNCHANGED,
            Saved::AtCfa(_) if cfa != self.cfa => rule.fp = fp::UNDEFINED,
            Saved::AtCfa(offset) => match offset.try_into() {
                Ok(offset) => {
                    rule.fp = fp::AT_CFA;
                    rule.fp_offset = offset;
                }
                Err(_) => rule.fp = fp::UNDEFINED,
            },
            Saved::At(Place::Register { register, offset }) => match offset.try_into() {
                Ok(offset) => {
                    rule.fp = fp::AT_REGISTER;
                    rule.fp_register = register;
                    rule.fp_offset = offset;
                }
                Err(_) => rule.fp = fp::UNDEFINED,
            },
            Saved::Undefined | Saved::Register(_) | Saved::At(_) | Saved::Unknown => rule.fp = fp::UNDEFINED,
        }
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLED: State = State {
        cfa: Cfa::Offset { register: 7, offset: 8 },
        fp: Saved::Unchanged,
        sp: Saved::Unchanged,
        ra: Saved::AtCfa(-8),
    };

    fn with_fp(fp: Saved) -> Rule {
        State { fp, ..CALLED }.rule(Arch::X86_64, false)
    }

    fn with_ra(ra: Saved) -> Rule {
        State { ra, ..CALLED }.rule(Arch::X86_64, false)
    }

    fn with_cfa(cfa: Cfa) -> Rule {
        State { cfa, ..CALLED }.rule(Arch::X86_64, false)
    }

    #[test]
    fn frame_pointers() {
        let rule = Rule::offset(7, 8);
        assert_eq!(with_fp(Saved::Unchanged), rule);
        assert_eq!(with_fp(Saved::Register(6)), rule);
        assert_eq!(with_fp(Saved::AtCfa(-16)), Rule { fp: fp::AT_CFA, fp_offset: -16, ..rule });
        let at = Saved::At(Place::Register { register: 10, offset: 24 });
        assert_eq!(with_fp(at), Rule { fp: fp::AT_REGISTER, fp_register: 10, fp_offset: 24, ..rule });
        for lost in [
            Saved::Undefined,
            Saved::Register(3),
            Saved::Unknown,
            Saved::AtCfa(1 << 40),
            Saved::At(Place::Register { register: 6, offset: 1 << 40 }),
            Saved::At(Place::Plt { second_half: 1 }),
        ] {
            assert_eq!(with_fp(lost), Rule { fp: fp::UNDEFINED, ..rule });
        }
    }

    #[test]
    fn return_addresses() {
        let rule = Rule::offset(7, 8);
        assert_eq!(with_ra(Saved::Undefined), Rule::END);
        assert_eq!(with_ra(Saved::Register(12)), Rule { ra: ra::REGISTER, ra_register: 12, ..rule });
        assert_eq!(with_ra(Saved::At(Place::Register { register: 7, offset: 0 })), rule);
        for other in [
            Saved::Unchanged,
            Saved::Unknown,
            Saved::AtCfa(-16),
            Saved::Register(17),
            Saved::At(Place::Register { register: 7, offset: 8 }),
            Saved::At(Place::Register { register: 6, offset: 0 }),
        ] {
            assert_eq!(with_ra(other), Rule::UNSUPPORTED);
        }
    }

    #[test]
    fn stack_pointers() {
        let jumping = State { sp: Saved::Register(8), ra: Saved::Register(1), ..CALLED };
        let rule = Rule { ra: ra::REGISTER, ra_register: 1, ..Rule::offset(8, 0) };
        assert_eq!(jumping.rule(Arch::X86_64, false), rule);
        assert_eq!(
            State { fp: Saved::AtCfa(8), ..jumping }.rule(Arch::X86_64, false),
            Rule { fp: fp::UNDEFINED, ..rule }
        );
        assert_eq!(State { ra: Saved::AtCfa(-8), ..jumping }.rule(Arch::X86_64, false), Rule::UNSUPPORTED);
        assert_eq!(State { sp: Saved::AtCfa(-8), ..jumping }.rule(Arch::X86_64, false), Rule::UNSUPPORTED);
        assert_eq!(State { sp: Saved::Unknown, ..CALLED }.rule(Arch::X86_64, false), Rule::UNSUPPORTED);
    }

    #[test]
    fn canonical_frame_addresses() {
        assert_eq!(with_cfa(Cfa::Offset { register: 15, offset: -8 }), Rule::offset(15, -8));
        assert_eq!(with_cfa(Cfa::Place(Place::Register { register: 3, offset: 16 })), Rule::offset(3, 16));
        let deref = Place::Deref { register: 7, offset: 160, add: 0 };
        let rule = Rule { cfa_register: 7, cfa_offset: 160, ..Rule::special(kind::DEREF) };
        assert_eq!(with_cfa(Cfa::Place(deref)), rule);
        assert_eq!(
            State { cfa: Cfa::Place(deref), ..State::default() }.rule(Arch::X86_64, true),
            Rule::SIGNAL
        );
        assert_eq!(State { ..CALLED }.rule(Arch::X86_64, true), Rule::offset(7, 8));
        let plt = with_cfa(Cfa::Place(Place::Plt { second_half: 11 }));
        assert_eq!(plt, Rule { cfa_add: 11, ..Rule::special(kind::PLT) });
        for other in [
            Cfa::Unknown,
            Cfa::Offset { register: 16, offset: 8 },
            Cfa::Offset { register: 7, offset: 1 << 31 },
            Cfa::Place(Place::Register { register: 7, offset: -1 << 32 }),
            Cfa::Place(Place::Deref { register: 7, offset: 1 << 31, add: 8 }),
            Cfa::Place(Place::Deref { register: 7, offset: 0, add: 1 << 15 }),
        ] {
            assert_eq!(with_cfa(other), Rule::UNSUPPORTED);
        }
    }
}
