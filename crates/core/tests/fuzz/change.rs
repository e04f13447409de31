//! Real bytes, a little changed: closer to what a decoder believes than random ones.

use super::tape::Tape;

/// Changes a few bytes: overwritten, cut out, doubled, or put in.
pub(crate) fn mutate(tape: &mut Tape<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..tape.below(5) {
        let len = u32::try_from(bytes.len()).unwrap();
        let at = tape.below(len + 1) as usize;
        let upto = (at + tape.below(9) as usize).min(bytes.len());
        match tape.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..upto)),
            2 => bytes.splice(at..at, [tape.byte()]).for_each(drop),
            3 => {
                let again = bytes[at..upto].to_vec();
                bytes.splice(at..at, again).for_each(drop);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = tape.byte();
                }
            }
        }
    }
}
