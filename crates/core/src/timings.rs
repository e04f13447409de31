//! Where the time of a task went: each hop adds its own durations to the result on its way back (F32: no times of day).
//!
//! Packed as LEB128 numbers in the order of the fields, zeros at the end left out: about 25 bytes on a link and in the
//! store. Further fields may be added at the end: an older reader skips them, and what is missing is zero.

/// Fields of [`Timings`].
const FIELDS: usize = 10;
/// Bytes of one number at most.
const NUMBER: usize = 10;

/// Nanoseconds, each between two moments on the clock of one process; zero is also "not known".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Worker: loading the function (the first time) and the arguments.
    pub load: u64,
    /// Worker: serializing the result.
    pub dump: u64,
    /// Executor: waited for a worker; its start is in it.
    pub wait: u64,
    /// Of this, the part in which a worker was being started.
    pub start: u64,
    /// Executor: all from the call's arrival to its end.
    pub executor: u64,
    /// Manager: waited for an executor.
    pub manager: u64,
    /// Manager: from giving it to an executor to the result.
    pub node: u64,
    /// Service: from the submit to its being on disk.
    pub store: u64,
    /// Service: from then to the last sending to the endpoint; executions that were lost are in it.
    pub queue: u64,
    /// Service: from the last sending to the result.
    pub endpoint: u64,
}

/// The time of a task from submit to result, cut into parts that add up to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// In the service until it was on disk.
    pub store: u64,
    /// In the service until it was sent.
    pub queue: u64,
    /// Between service and manager, both ways.
    pub network: u64,
    /// At the manager.
    pub manager: u64,
    /// Between manager and executor, both ways.
    pub node_network: u64,
    /// For a worker.
    pub wait: u64,
    /// Between executor and worker, both ways, and behind other calls in the worker's pipe.
    pub pipe: u64,
    /// Function and arguments loaded.
    pub load: u64,
    /// The function itself.
    pub run: u64,
    /// Result serialized.
    pub dump: u64,
}

impl Timings {
    /// The parts, of a call that ran for `run` nanoseconds. A clock's grain never makes one negative.
    #[must_use]
    pub const fn parts(&self, run: u64) -> Parts {
        let in_worker = self.load.saturating_add(run).saturating_add(self.dump);
        Parts {
            store: self.store,
            queue: self.queue,
            network: self.endpoint.saturating_sub(self.manager.saturating_add(self.node)),
            manager: self.manager,
            node_network: self.node.saturating_sub(self.executor),
            wait: self.wait,
            pipe: self.executor.saturating_sub(self.wait.saturating_add(in_worker)),
            load: self.load,
            run,
            dump: self.dump,
        }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    const fn all(&self) -> [u64; FIELDS] {
        let Self { load, dump, wait, start, executor, manager, node, store, queue, endpoint } = *self;
        [load, dump, wait, start, executor, manager, node, store, queue, endpoint]
    }

    /// As bytes.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let mut packed = Packed { bytes: [0; FIELDS * NUMBER], len: 0 };
        let all = self.all();
        let known = all.iter().rposition(|value| *value > 0).map_or(0, |last| last + 1);
        for value in &all[..known] {
            packed.push(*value);
        }
        packed
    }

    /// From bytes; what cannot be read is zero: durations are no reason to refuse a result.
    #[must_use]
    pub fn unpack(bytes: &[u8]) -> Self {
        let mut rest = bytes.iter();
        let mut all = [0; FIELDS];
        for value in &mut all {
            *value = number(&mut rest).unwrap_or(0);
        }
        let [load, dump, wait, start, executor, manager, node, store, queue, endpoint] = all;
        Self { load, dump, wait, start, executor, manager, node, store, queue, endpoint }
    }
}

/// The next number; `None` at the end, or if it has more than 64 bits.
fn number(rest: &mut std::slice::Iter<'_, u8>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// [`Timings`] as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    bytes: [u8; FIELDS * NUMBER],
    len: usize,
}

impl Packed {
    fn push(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            self.bytes[self.len] = if value == 0 { low } else { low | 0x80 };
            self.len += 1;
            if value == 0 {
                return;
            }
        }
    }
}

impl AsRef<[u8]> for Packed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Timings {
        Timings {
            load: 1,
            dump: 127,
            wait: 300,
            start: 128,
            executor: 5_000_000,
            manager: 7,
            node: 6_000_000,
            store: u64::MAX,
            queue: 0,
            endpoint: 7_000_000,
        }
    }

    #[test]
    fn packed_and_unpacked_is_the_same_whatever_is_missing() {
        for end in 0..=FIELDS {
            let mut all = some().all();
            all[end..].fill(0);
            let bytes: Vec<u8> = all
                .iter()
                .fold(Packed { bytes: [0; 100], len: 0 }, |mut packed, value| {
                    packed.push(*value);
                    packed
                })
                .as_ref()
                .to_vec();
            let timings = Timings::unpack(&bytes);
            assert_eq!(timings.all(), all);
            let packed = timings.pack();
            assert!(packed.as_ref().len() <= bytes.len() && Timings::unpack(packed.as_ref()) == timings);
        }
        assert!(Timings::default().pack().as_ref().is_empty());
    }

    #[test]
    fn bytes_that_are_no_numbers_are_zeros_and_further_ones_are_skipped() {
        assert_eq!(Timings::unpack(&[0xff; 200]), Timings::default());
        assert_eq!(Timings::unpack(&[5, 0x80]), Timings { load: 5, ..Timings::default() });
        let mut longer = some().pack().as_ref().to_vec();
        longer.extend([1, 2, 3]);
        assert_eq!(Timings::unpack(&longer), some());
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let timings = Timings { store: 100, queue: 20, ..some() };
        let run = 4_000_000;
        let p = timings.parts(run);
        let worker = p.wait + p.pipe + p.load + p.run + p.dump;
        assert_eq!(worker, timings.executor);
        let sum = p.store + p.queue + p.network + p.manager + p.node_network + worker;
        assert_eq!(sum, timings.store + timings.queue + timings.endpoint);
        assert_eq!(Timings::default().parts(9), Parts { run: 9, ..Parts::default() });
    }
}
