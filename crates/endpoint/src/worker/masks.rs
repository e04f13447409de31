//! Values of secrets in what a worker wrote: `***` stands there instead.
//!
//! A worker keeps what its calls had for as long as it lives: a later call may print what an earlier one left somewhere.

use aho_corasick::{AhoCorasick, MatchKind};
use bursa_core::limits;
use bursa_core::secrets::Secrets;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;

const MASK: &[u8] = b"***";
/// Lines of a longer value that are looked for by themselves: what is shorter is found everywhere.
const LINE: usize = 8;

/// What one worker's output is searched for. `Debug` shows none of it.
#[derive(Default)]
pub struct Masks {
    /// The newest last.
    values: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Made when something was written.
    finder: OnceLock<Option<AhoCorasick>>,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({})", self.values.len())
    }
}

impl Masks {
    /// These too, from now on; of a value of several lines also each line, as it may be shown by itself.
    pub fn add(&mut self, secrets: &Secrets) {
        let mut is_new = false;
        for value in secrets.values() {
            is_new |= self.hide(value, limits::MASK_LEAST_BYTES);
            for line in value.split(|byte| *byte == b'\n') {
                is_new |= self.hide(line.trim_ascii(), LINE);
            }
        }
        if is_new {
            self.finder = OnceLock::new();
        }
    }

    fn hide(&mut self, value: &[u8], least: usize) -> bool {
        if value.len() < least || self.values.iter().any(|known| **known == *value) {
            return false;
        }
        self.bytes += value.len();
        self.values.push_back(value.into());
        while self.bytes > limits::MASKS_BYTES
            && let Some(oldest) = self.values.pop_front()
        {
            self.bytes -= oldest.len();
        }
        true
    }

    /// What was written. One as long as a record keeps may have lost its beginning, and begin amid a value.
    #[must_use]
    pub fn mask(&self, output: Bytes) -> Bytes {
        if self.values.is_empty() || output.is_empty() {
            return output;
        }
        // The longest counts: a value may begin as a shorter one does.
        let made = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&self.values).ok();
        let Some(finder) = self.finder.get_or_init(made) else { return Bytes::from_static(MASK) };
        let is_cut = output.len() >= limits::OUTPUT_BYTES;
        let rest = self.values.iter().filter(|_| is_cut).filter_map(|value| rest_of(value, &output)).max();
        let mut masked = rest.map_or_else(Vec::new, |_| MASK.to_vec());
        finder.replace_all_with_bytes(&output[rest.unwrap_or(0)..], &mut masked, |_, _, masked| {
            masked.extend_from_slice(MASK);
            true
        });
        masked.into()
    }
}

/// How many bytes of the end of `value` the output begins with, if so many that they tell something.
fn rest_of(value: &[u8], output: &[u8]) -> Option<usize> {
    let lengths = limits::MASK_LEAST_BYTES..value.len();
    lengths.rev().find(|len| output.starts_with(&value[value.len() - len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(values: &[&str]) -> Masks {
        let mut masks = Masks::default();
        masks.add(&Secrets::of(values.iter().map(|value| ("NAME", value.as_bytes()))));
        masks
    }

    fn masked(masks: &Masks, output: &str) -> String {
        String::from_utf8(masks.mask(output.to_owned().into()).to_vec()).unwrap()
    }

    #[test]
    fn every_occurrence_is_masked_and_nothing_else() {
        let masks = masks(&["s3cr3t", "s3cr3t-and-more", "abc", ""]);
        for (output, expected) in [
            ("", ""),
            ("nothing", "nothing"),
            ("s3cr3ts3cr3t s3cr3", "****** s3cr3"),
            ("a s3cr3t-and-more, s3cr3t-and", "a ***, ***-and"),
            ("ss3cr3t abc", "s*** abc"),
        ] {
            assert_eq!(masked(&masks, output), expected);
        }
        assert!(!format!("{masks:?}").contains("s3cr3t"));
    }

    #[test]
    fn lines_of_a_key_are_masked_by_themselves() {
        let masks = masks(&["-----BEGIN KEY-----\nAAAABBBBCCCC\nxy\n"]);
        assert_eq!(masked(&masks, "-----BEGIN KEY-----\\nAAAABBBBCCCC\\nxy\\n"), "***\\n***\\nxy\\n");
    }

    #[test]
    fn what_was_cut_amid_a_value_shows_no_rest_of_it() {
        let masks = masks(&["s3cr3t-value"]);
        let cut = |begin: &str| masked(&masks, &format!("{begin}{}", "x".repeat(limits::OUTPUT_BYTES)));
        assert!(cut("t-value and s3cr3t-value").starts_with("*** and ***x"));
        assert!(cut("lue").starts_with("luex"));
        assert_eq!(masked(&masks, "t-value"), "t-value");
    }

    #[test]
    fn they_are_bounded_and_the_newest_count() {
        let mut masks = Masks::default();
        let value = |n: usize| format!("{n}{}", "v".repeat(limits::CALL_SECRETS_BYTES / 2));
        for n in 0..30 {
            masks.add(&Secrets::of([("NAME", value(n).as_bytes())]));
        }
        assert_eq!(masks.bytes, masks.values.iter().map(|value| value.len()).sum::<usize>());
        assert!(masks.bytes <= limits::MASKS_BYTES);
        assert_eq!(masked(&masks, &value(29)), "***");
    }
}
