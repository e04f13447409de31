//! How many idle workers of other containers may make room for calls that wait.
//!
//! A call that workers of its own will come to within the time of a start waits for them: a new worker would be there no
//! sooner. For the others it is as many as have something to do, and need not wait. Calls that waited that long while no
//! worker of their own moved wait no longer: what is known of run times does not hold for what those run.

/// A start is worth while for work that lasts this part of it.
const SHARE: u64 = 4;

/// The workers of one kind of calls, and what is known of these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    /// Workers, those that are being started too.
    pub(crate) workers: usize,
    /// Calls that queue for them already.
    pub(crate) queued: usize,
    /// How long a worker takes to start, in ns.
    pub(crate) start_ns: u64,
    /// How long a call runs, in ns, if one has ended.
    pub(crate) run_ns: Option<u64>,
    /// For how long none of them began to start, was ready, or ended a call.
    pub(crate) still_ns: u64,
}

impl Own {
    /// How many workers may make room for those that wait, and in how many ns the next one may, if nothing moves until then.
    /// `waited` tells how long each of `waiting` has waited, in ns; the oldest comes first.
    pub(crate) fn due(&self, waiting: usize, waited: impl Iterator<Item = u64>) -> (usize, Option<u64>) {
        let beyond = self.worth(waiting.saturating_sub(self.reach()));
        if self.workers == 0 {
            return (beyond, None);
        }
        let (mut due, mut next) = (0, None);
        for ns in waited {
            let left = self.start_ns.saturating_sub(ns.min(self.still_ns));
            if left > 0 {
                next = Some(left);
                break;
            }
            due += 1;
        }
        (due.max(beyond), next)
    }

    /// How many of those that wait get a worker within the time of a start.
    fn reach(&self) -> usize {
        match self.run_ns {
            _ if self.workers == 0 => 0,
            None => usize::MAX,
            Some(run_ns) => {
                let ends = (self.workers as u64).saturating_mul(self.start_ns) / run_ns.max(1);
                usize::try_from(ends).unwrap_or(usize::MAX).saturating_sub(self.queued)
            }
        }
    }

    /// How many workers are worth their start for so many calls: as many as get work for a quarter of it.
    fn worth(&self, calls: usize) -> usize {
        let Some(run_ns) = self.run_ns else { return calls };
        let work = (calls as u64).saturating_mul(run_ns).div_ceil((self.start_ns / SHARE).max(1));
        usize::try_from(work).unwrap_or(usize::MAX).clamp(usize::from(calls > 0), calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const OWN: Own = Own { workers: 2, queued: 0, start_ns: 10 * S, run_ns: None, still_ns: 60 * S };

    #[test]
    fn who_is_due() {
        let runs = |s| Own { run_ns: Some(s * S), still_ns: S, ..OWN };
        type Case = (&'static str, Own, &'static [u64], (usize, Option<u64>));
        let table: [Case; 11] = [
            ("nothing waits", OWN, &[], (0, None)),
            ("there is nobody to wait for", Own { workers: 0, ..OWN }, &[0, 0], (2, None)),
            ("one worker is enough for all", Own { workers: 0, ..runs(1) }, &[0, 0], (1, None)),
            ("nothing is known but the start", OWN, &[9, 1], (0, Some(S))),
            ("they waited as long as a start takes", OWN, &[12, 10, 8], (2, Some(2 * S))),
            ("its workers moved since", Own { still_ns: 7 * S, ..OWN }, &[12, 10, 8], (0, Some(3 * S))),
            ("its workers come to them in time", runs(5), &[30, 30, 30, 30], (0, Some(9 * S))),
            ("not to all", runs(5), &[30, 30, 30, 30, 0], (1, Some(9 * S))),
            ("not behind others", Own { queued: 3, ..runs(5) }, &[30, 30], (1, Some(9 * S))),
            ("longer than a start", runs(21), &[0, 0], (2, Some(10 * S))),
            ("as known, yet nothing moves", Own { still_ns: 60 * S, ..runs(0) }, &[11, 10], (2, None)),
        ];
        for (name, own, waited, expected) in table {
            let waited_ns = waited.iter().map(|s| s * S);
            assert_eq!(own.due(waited.len(), waited_ns), expected, "{name}");
        }
    }
}
