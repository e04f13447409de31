//! The bytes of a fuzzer as a list of choices: past its end every choice is the first one, so every input means something.

/// What is left of the bytes.
#[derive(Debug)]
pub(crate) struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`; a small bound costs one byte.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let more = if bound > 256 { u32::from(self.byte()) << 8 } else { 0 };
        (more | u32::from(self.byte())) % bound
    }

    pub(crate) fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == bound - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(u32::try_from(from.len()).unwrap()) as usize]
    }

    /// Any number, mostly one at which arithmetic goes wrong.
    pub(crate) fn wild(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX - u64::from(self.byte()),
            3 => u64::from(u32::MAX),
            4 => 1 << (self.byte() % 64),
            _ => u64::from(self.below(65_536)),
        }
    }
}
