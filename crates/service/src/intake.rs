//! Submits between their arrival and their answer: how many may wait, so that a slow store fills no memory.

use bursa_core::limits;
use bursa_core::task::TaskSpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What waits now.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    tasks: AtomicUsize,
    bytes: AtomicUsize,
}

/// The place of one submit, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    intake: Arc<Intake>,
    tasks: usize,
    bytes: usize,
}

impl Intake {
    /// A place for a submit; `Err`: so many tasks wait that there is none. A submit that is alone always has one.
    pub(crate) fn admit(self: &Arc<Self>, submit: &[TaskSpec]) -> Result<Admitted, usize> {
        let (tasks, bytes) = (submit.len(), submit.iter().map(|spec| spec.args.len()).sum());
        let waiting = self.tasks.load(Relaxed);
        let full = waiting + tasks > limits::INTAKE_TASKS
            || self.bytes.load(Relaxed).saturating_add(bytes) > limits::INTAKE_BYTES;
        if full && waiting > 0 {
            return Err(waiting);
        }
        self.tasks.fetch_add(tasks, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(Admitted { intake: Arc::clone(self), tasks, bytes })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.intake.tasks.fetch_sub(self.tasks, Relaxed);
        self.intake.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::id::{EndpointId, FunctionId, GroupId, Hash, TaskId, UserId};
    use bursa_core::task::Args;
    use bursa_core::time::Wall;

    fn submit(tasks: usize, bytes: usize) -> Vec<TaskSpec> {
        let spec = TaskSpec {
            task: TaskId::from_bytes([1; 16]),
            user: UserId::from_bytes([1; 16]),
            group: GroupId::from_bytes([1; 16]),
            function: FunctionId::from_bytes([1; 16]),
            hash: Hash::of(b""),
            endpoint: EndpointId::from_bytes([1; 16]),
            container: None,
            resources: None,
            args: Args::Stored(bytes),
            retries: 0,
            retry_on_error: 0,
            timeout_ms: None,
            deadline: Wall(0),
            submitted: Wall(0),
            memoize: false,
        };
        vec![spec; tasks]
    }

    #[test]
    fn places_are_given_up_to_both_limits_and_again_when_they_are_free() {
        let intake = Arc::new(Intake::default());
        let large = intake.admit(&submit(1, 2 * limits::INTAKE_BYTES)).unwrap();
        assert_eq!(intake.admit(&submit(1, 1)).unwrap_err(), 1, "bytes");
        drop(large);
        let held: Vec<_> = (0..8).map(|_| intake.admit(&submit(limits::BATCH_TASKS, 0)).unwrap()).collect();
        assert_eq!(intake.admit(&submit(1, 0)).unwrap_err(), limits::INTAKE_TASKS);
        drop(held);
        assert!(intake.admit(&submit(1, 0)).is_ok());
    }
}
