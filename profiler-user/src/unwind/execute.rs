//! Running the instructions of call-frame information (DWARF 5, section 6.4.2 and 7.24).

use std::ops::Range;

use profiler_common::unwind::rule::Rule;

use super::{
    arch::Arch,
    cfi::{Cie, Fde},
    cursor::Cursor,
    expression,
    state::{Cfa, Saved, State},
    steps::Steps,
};

/// States that may be remembered at a time; compilers remember one or two.
const MOST_REMEMBERED: usize = 16;

/// Appends the rules of a frame description inside a window of addresses.
///
/// From an instruction on that cannot be understood the rule is [`Rule::UNSUPPORTED`].
pub(super) fn rules(fde: &Fde, instructions: &[u8], address: u64, window: &Range<u64>, steps: &mut Steps) {
    let mut machine = Machine::new(&fde.cie, Some(fde.cie.initial), fde.code.start);
    let mut cursor = Cursor::new(instructions, address);
    let end = fde.code.end.min(window.end);
    loop {
        let from = machine.location;
        let (next, rule) = match machine.run_to_next_location(&mut cursor) {
            Some(next) => (next.unwrap_or(end), machine.state.rule(fde.cie.arch, fde.cie.signal)),
            None => (end, Rule::UNSUPPORTED),
        };
        if next > from && next > window.start {
            steps.push(from.max(window.start), rule);
        }
        if next >= end {
            return;
        }
    }
}

/// The state that a common information entry's instructions lead to; `None` where they cannot be understood.
pub(super) fn initial(cie: &Cie, instructions: &[u8], address: u64) -> Option<State> {
    let mut machine = Machine::new(cie, None, 0);
    match machine.run_to_next_location(&mut Cursor::new(instructions, address))? {
        None => Some(machine.state),
        Some(_) => None,
    }
}

struct Machine<'cie> {
    cie: &'cie Cie,
    /// What restore goes back to; a common information entry has nothing to restore.
    initial: Option<State>,
    state: State,
    remembered: Vec<State>,
    location: u64,
}

impl<'cie> Machine<'cie> {
    fn new(cie: &'cie Cie, initial: Option<State>, location: u64) -> Self {
        // Nothing said means that a register is what it was; so the return address is where the call left it.
        let called = State { ra: Saved::Register(cie.return_address), ..State::default() };
        Self { cie, initial, state: initial.unwrap_or(called), remembered: Vec::new(), location }
    }

    /// Runs up to and including the next instruction that sets the location, which it gives back, or to the end.
    /// `None` on the outside means that an instruction cannot be understood.
    fn run_to_next_location(&mut self, cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
        while let Some(instruction) = cursor.u8() {
            let operand = u64::from(instruction & 0x3f);
            match instruction >> 6 {
                0 => {
                    if let Some(location) = self.extended(instruction, cursor)? {
                        self.location = location;
                        return Some(Some(location));
                    }
                }
                1 => {
                    self.location = self.advanced(operand)?;
                    return Some(Some(self.location));
                }
                2 => {
                    let offset = self.factored(cursor.uleb()?.try_into().ok()?)?;
                    self.set(operand, Saved::AtCfa(offset));
                }
                _ => self.restore(operand)?,
            }
        }
        Some(None)
    }

    /// An instruction whose upper two bits are zero; gives back the new location where it sets one.
    fn extended(&mut self, instruction: u8, cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
        match instruction {
            // DW_CFA_nop
            0x00 => {}
            // DW_CFA_set_loc
            0x01 => {
                let location = self.cie.encoding.read(cursor, None)?;
                return (location >= self.location).then_some(Some(location));
            }
            // DW_CFA_advance_loc1, 2, 4 and DW_CFA_MIPS_advance_loc8
            0x02 => return self.advanced(cursor.u8()?.into()).map(Some),
            0x03 => return self.advanced(cursor.u16()?.into()).map(Some),
            0x04 => return self.advanced(cursor.u32()?.into()).map(Some),
            0x1d => return self.advanced(cursor.u64()?).map(Some),
            // DW_CFA_offset_extended
            0x05 => {
                let register = cursor.uleb()?;
                let offset = self.factored(cursor.uleb()?.try_into().ok()?)?;
                self.set(register, Saved::AtCfa(offset));
            }
            // DW_CFA_offset_extended_sf
            0x11 => {
                let register = cursor.uleb()?;
                let offset = self.factored(cursor.sleb()?)?;
                self.set(register, Saved::AtCfa(offset));
            }
            // DW_CFA_GNU_negative_offset_extended
            0x2f => {
                let register = cursor.uleb()?;
                let offset = self.factored(i64::try_from(cursor.uleb()?).ok()?)?;
                self.set(register, Saved::AtCfa(offset.checked_neg()?));
            }
            // DW_CFA_restore_extended
            0x06 => self.restore(cursor.uleb()?)?,
            // DW_CFA_undefined
            0x07 => self.set(cursor.uleb()?, Saved::Undefined),
            // DW_CFA_same_value
            0x08 => {
                let register = cursor.uleb()?;
                let saved = match register {
                    _ if register == self.sp() => Saved::Unknown,
                    _ if register == self.cie.return_address => Saved::Register(register),
                    _ => Saved::Unchanged,
                };
                self.set(register, saved);
            }
            // DW_CFA_register
            0x09 => {
                let register = cursor.uleb()?;
                let other = cursor.uleb()?;
                self.set(register, Saved::Register(other));
            }
            // DW_CFA_expression
            0x10 => {
                let register = cursor.uleb()?;
                let place = block(cursor)?;
                self.set(register, expression::place(place, self.cie.arch).map_or(Saved::Unknown, Saved::At));
            }
            // DW_CFA_val_offset and DW_CFA_val_offset_sf
            0x14 | 0x15 => {
                let register = cursor.uleb()?;
                let is_cfa = cursor.uleb()? == 0;
                self.set(
                    register,
                    if register == self.sp() && is_cfa { Saved::Unchanged } else { Saved::Unknown },
                );
            }
            // DW_CFA_val_expression
            0x16 => {
                let register = cursor.uleb()?;
                block(cursor)?;
                self.set(register, Saved::Unknown);
            }
            // DW_CFA_remember_state
            0x0a => {
                if self.remembered.len() == MOST_REMEMBERED {
                    return None;
                }
                self.remembered.push(self.state);
            }
            // DW_CFA_restore_state
            0x0b => self.state = self.remembered.pop()?,
            // DW_CFA_AARCH64_negate_ra_state, also with the address that signing depends on: whether the return address is
            // signed can be seen from itself.
            0x2c | 0x2d if self.cie.arch == Arch::Aarch64 => {}
            // DW_CFA_GNU_args_size says how much a call's arguments take; the CFA already accounts for that.
            0x2e => {
                cursor.uleb()?;
            }
            _ => self.define_cfa(instruction, cursor)?,
        }
        Some(None)
    }

    fn define_cfa(&mut self, instruction: u8, cursor: &mut Cursor<'_>) -> Option<()> {
        self.state.cfa = match (instruction, self.state.cfa) {
            // DW_CFA_def_cfa
            (0x0c, _) => Cfa::Offset { register: cursor.uleb()?, offset: cursor.uleb()?.try_into().ok()? },
            // DW_CFA_def_cfa_sf
            (0x12, _) => Cfa::Offset {
                register: cursor.uleb()?,
                offset: cursor.sleb().and_then(|n| self.factored(n))?,
            },
            // DW_CFA_def_cfa_register, _offset and _offset_sf change a register and offset, and nothing else.
            (0x0d, Cfa::Offset { offset, .. }) => Cfa::Offset { register: cursor.uleb()?, offset },
            (0x0e, Cfa::Offset { register, .. }) => {
                Cfa::Offset { register, offset: cursor.uleb()?.try_into().ok()? }
            }
            (0x13, Cfa::Offset { register, .. }) => {
                Cfa::Offset { register, offset: cursor.sleb().and_then(|n| self.factored(n))? }
            }
            // DW_CFA_def_cfa_expression
            (0x0f, _) => expression::place(block(cursor)?, self.cie.arch).map_or(Cfa::Unknown, Cfa::Place),
            _ => return None,
        };
        Some(())
    }

    fn sp(&self) -> u64 {
        self.cie.arch.sp().into()
    }

    fn advanced(&self, delta: u64) -> Option<u64> {
        self.location.checked_add(delta.checked_mul(self.cie.code_factor)?)
    }

    fn factored(&self, offset: i64) -> Option<i64> {
        offset.checked_mul(self.cie.data_factor)
    }

    fn column<'state>(&self, state: &'state mut State, register: u64) -> Option<&'state mut Saved> {
        match register {
            _ if register == u64::from(self.cie.arch.fp()) => Some(&mut state.fp),
            _ if register == self.sp() => Some(&mut state.sp),
            _ if register == self.cie.return_address => Some(&mut state.ra),
            _ => None,
        }
    }

    fn set(&mut self, register: u64, saved: Saved) {
        let mut state = self.state;
        if let Some(column) = self.column(&mut state, register) {
            *column = saved;
            self.state = state;
        }
    }

    fn restore(&mut self, register: u64) -> Option<()> {
        let mut initial = self.initial?;
        if let Some(&mut saved) = self.column(&mut initial, register) {
            self.set(register, saved);
        }
        Some(())
    }
}

/// A block of bytes after its length.
fn block<'data>(cursor: &mut Cursor<'data>) -> Option<&'data [u8]> {
    let len = cursor.uleb()?;
    cursor.take(len)
}

#[cfg(test)]
mod tests;
