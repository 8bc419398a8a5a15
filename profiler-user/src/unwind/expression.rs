//! The few shapes of DWARF expressions (DWARF 5, section 2.5) that a rule can hold.
//!
//! Expressions may be any program; those in call-frame information are one of a handful. They are run here on symbols
//! instead of values; whatever leads out of the shapes has no result.

use super::{arch::Arch, cursor::Cursor};

/// Where an expression leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Register + offset.
    Register { register: u8, offset: i64 },
    /// The word at (register + offset) + add.
    Deref { register: u8, offset: i64, add: i64 },
    /// An entry of a procedure linkage table, see [`profiler_common::unwind::rule::kind::PLT`].
    Plt { second_half: u8 },
}

/// A value on the expression's stack.
#[derive(Clone, Copy)]
enum Value {
    Constant(i64),
    Place(Place),
}

/// Values on the stack at a time.
const MOST_VALUES: usize = 8;

const DW_OP_DEREF: u8 = 0x06;
const DW_OP_CONST1U: u8 = 0x08;
const DW_OP_CONST1S: u8 = 0x09;
const DW_OP_CONST2U: u8 = 0x0a;
const DW_OP_CONST2S: u8 = 0x0b;
const DW_OP_CONST4U: u8 = 0x0c;
const DW_OP_CONST4S: u8 = 0x0d;
const DW_OP_CONST8U: u8 = 0x0e;
const DW_OP_CONST8S: u8 = 0x0f;
const DW_OP_CONSTU: u8 = 0x10;
const DW_OP_CONSTS: u8 = 0x11;
const DW_OP_AND: u8 = 0x1a;
const DW_OP_MINUS: u8 = 0x1c;
const DW_OP_PLUS: u8 = 0x22;
const DW_OP_PLUS_UCONST: u8 = 0x23;
const DW_OP_SHL: u8 = 0x24;
const DW_OP_GE: u8 = 0x2a;
const DW_OP_LIT0: u8 = 0x30;
const DW_OP_LIT15: u8 = DW_OP_LIT0 + 15;
const DW_OP_LIT31: u8 = 0x4f;
const DW_OP_BREG0: u8 = 0x70;
const DW_OP_BREG7: u8 = DW_OP_BREG0 + 7;
const DW_OP_BREG16: u8 = DW_OP_BREG0 + 16;
const DW_OP_BREG31: u8 = 0x8f;
const DW_OP_BREGX: u8 = 0x92;
const DW_OP_NOP: u8 = 0x96;

/// Where an expression leads, if a rule can hold it.
pub(super) fn place(expression: &[u8], arch: Arch) -> Option<Place> {
    if arch == Arch::X86_64
        && let Some(second_half) = plt(expression)
    {
        return Some(Place::Plt { second_half });
    }
    let mut cursor = Cursor::new(expression, 0);
    let mut stack = Vec::new();
    while let Some(operation) = cursor.u8() {
        let value = match operation {
            DW_OP_CONST1U => Value::Constant(cursor.u8()?.into()),
            DW_OP_CONST1S => Value::Constant(cursor.signed(1)?),
            DW_OP_CONST2U => Value::Constant(cursor.u16()?.into()),
            DW_OP_CONST2S => Value::Constant(cursor.signed(2)?),
            DW_OP_CONST4U => Value::Constant(cursor.u32()?.into()),
            DW_OP_CONST4S => Value::Constant(cursor.signed(4)?),
            DW_OP_CONST8U | DW_OP_CONST8S => Value::Constant(cursor.signed(8)?),
            DW_OP_CONSTU => Value::Constant(cursor.uleb()?.cast_signed()),
            DW_OP_CONSTS => Value::Constant(cursor.sleb()?),
            DW_OP_LIT0..=DW_OP_LIT31 => Value::Constant((operation - DW_OP_LIT0).into()),
            DW_OP_BREG0..=DW_OP_BREG31 => register((operation - DW_OP_BREG0).into(), cursor.sleb()?, arch)?,
            DW_OP_BREGX => register(cursor.uleb()?, cursor.sleb()?, arch)?,
            DW_OP_DEREF => deref(stack.pop()?)?,
            DW_OP_PLUS_UCONST => add(stack.pop()?, Value::Constant(cursor.uleb()?.cast_signed()))?,
            DW_OP_PLUS => add(stack.pop()?, stack.pop()?)?,
            DW_OP_MINUS => match stack.pop()? {
                Value::Constant(constant) => add(stack.pop()?, Value::Constant(constant.checked_neg()?))?,
                Value::Place(_) => return None,
            },
            DW_OP_NOP => continue,
            _ => return None,
        };
        if stack.len() == MOST_VALUES {
            return None;
        }
        stack.push(value);
    }
    match stack.pop()? {
        Value::Place(place) => Some(place),
        Value::Constant(_) => None,
    }
}

fn register(number: u64, offset: i64, arch: Arch) -> Option<Value> {
    let register = u8::try_from(number).ok().filter(|&register| usize::from(register) < arch.general())?;
    Some(Value::Place(Place::Register { register, offset }))
}

fn deref(value: Value) -> Option<Value> {
    match value {
        Value::Place(Place::Register { register, offset }) => {
            Some(Value::Place(Place::Deref { register, offset, add: 0 }))
        }
        _ => None,
    }
}

fn add(one: Value, other: Value) -> Option<Value> {
    let (place, constant) = match (one, other) {
        (Value::Constant(one), Value::Constant(other)) => {
            return Some(Value::Constant(one.checked_add(other)?));
        }
        (Value::Place(place), Value::Constant(constant))
        | (Value::Constant(constant), Value::Place(place)) => (place, constant),
        (Value::Place(_), Value::Place(_)) => return None,
    };
    let place = match place {
        Place::Register { register, offset } => {
            Place::Register { register, offset: offset.checked_add(constant)? }
        }
        Place::Deref { register, offset, add } => {
            Place::Deref { register, offset, add: add.checked_add(constant)? }
        }
        Place::Plt { .. } => return None,
    };
    Some(Value::Place(place))
}

/// What GNU linkers write on x86_64 for the lazy procedure linkage table (binutils, bfd/elfxx-x86.h): its entries are 16 bytes,
/// and the part from some byte of the entry on, a literal below 16, runs after a push.
fn plt(expression: &[u8]) -> Option<u8> {
    let &[
        DW_OP_BREG7,
        8,
        DW_OP_BREG16,
        0,
        DW_OP_LIT15,
        DW_OP_AND,
        literal @ DW_OP_LIT0..=DW_OP_LIT15,
        DW_OP_GE,
        EIGHT_TIMES,
        DW_OP_SHL,
        DW_OP_PLUS,
    ] = expression
    else {
        return None;
    };
    const EIGHT_TIMES: u8 = DW_OP_LIT0 + 3;
    Some(literal - DW_OP_LIT0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_occur() {
        for (expression, expected) in [
            // libcrypto: the word at sp + 272, and 8 more.
            (&[0x77, 0x90, 2, 0x06, 0x23, 8][..], Some(Place::Deref { register: 7, offset: 272, add: 8 })),
            // GCC, functions that align their stack.
            (&[0x76, 0x78, 0x06], Some(Place::Deref { register: 6, offset: -8, add: 0 })),
            (&[0x76, 0], Some(Place::Register { register: 6, offset: 0 })),
            (&[0x92, 12, 16, 0x96], Some(Place::Register { register: 12, offset: 16 })),
            (&[0x38, 0x77, 0, 0x22], Some(Place::Register { register: 7, offset: 8 })),
            (&[0x77, 0, 0x06, 0x08, 0xff, 0x22], Some(Place::Deref { register: 7, offset: 0, add: 255 })),
            (&[0x77, 0, 0x06, 0x09, 0xff, 0x22], Some(Place::Deref { register: 7, offset: 0, add: -1 })),
            (&[0x77, 0, 0x0a, 0, 1, 0x22], Some(Place::Register { register: 7, offset: 256 })),
            (&[0x77, 0, 0x0b, 0, 0xff, 0x22], Some(Place::Register { register: 7, offset: -256 })),
            (&[0x77, 0, 0x0c, 0, 1, 0, 0, 0x1c], Some(Place::Register { register: 7, offset: -256 })),
            (
                &[0x77, 0, 0x0d, 0xff, 0xff, 0xff, 0xff, 0x22],
                Some(Place::Register { register: 7, offset: -1 }),
            ),
            (
                &[0x77, 0, 0x0e, 1, 0, 0, 0, 0, 0, 0, 0, 0x22],
                Some(Place::Register { register: 7, offset: 1 }),
            ),
            (&[0x77, 0, 0x10, 0x80, 1, 0x22], Some(Place::Register { register: 7, offset: 128 })),
            (&[0x77, 0, 0x11, 0x7f, 0x22], Some(Place::Register { register: 7, offset: -1 })),
            (
                &[0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22],
                Some(Place::Plt { second_half: 11 }),
            ),
        ] {
            assert_eq!(place(expression, Arch::X86_64), expected, "{expression:x?}");
        }
    }

    #[test]
    fn anything_else_has_no_result() {
        for expression in [
            &[][..],
            &[0x38],
            &[0x06],
            &[0x22],
            &[0x77],
            &[0x77, 0, 0x77, 0, 0x22],
            &[0x77, 0, 0x06, 0x06],
            &[0x80, 0],
            // libcrypto: the word at sp + 8 * r9 + 8.
            &[0x77, 8, 0x79, 0, 0x38, 0x1e, 0x22, 0x06, 0x23, 8],
            &[0x30; 9],
            &[0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x40, 0x2a, 0x33, 0x24, 0x22],
            &[0x77, 16, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22],
        ] {
            assert_eq!(place(expression, Arch::X86_64), None, "{expression:x?}");
        }
    }
}
