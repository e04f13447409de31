//! What the store wrote must be true of what happened: no charge and no end without a cause (I4, I5).

use super::shape::{Act, Call, FAR_MS};
use super::store::{Record, is_hit};
use super::{Shape, World};
use crate::limits;
use crate::resources::Share;
use crate::task::{Ending, FailureCode, TaskState};

impl World {
    /// Looks at every record that was written since the last call.
    pub(super) fn check_records(&mut self) {
        for task in self.store.take_touched() {
            let Some(record) = self.store.record(&task) else { continue };
            let truth = self.check.tasks.entry(task).or_default();
            let charged = record.losses + record.maybes + record.errors;
            // A charge does not name its attempt on disk: a result that was charged before the service died, and not
            // acknowledged, is charged again after.
            let lives = self.check.lives.max(1);
            let happened = truth.excuses + truth.doubts + self.check.windows;
            let asked = truth.cancel_asked;
            let name = self.check.short(&task);
            let excused = charged <= happened * lives || self.check.environment_failed;
            self.check.expect("I5", excused, || {
                format!("{name} is charged {charged}, but only {happened} things happened to it")
            });
            let Some(ending) = &record.ending else { continue };
            let call = Call::of(&task, self.shape.calls);
            let explained = match ending.state {
                TaskState::Success => call.act == Act::Return || is_hit(ending),
                TaskState::Cancelled => asked,
                _ => self.is_explained(&call, record, ending, happened),
            };
            let (state, losses) = (ending.state, record.losses);
            let code = ending.failure.as_ref().map(|failure| failure.code);
            self.check.expect("I5", explained, || {
                format!("{name} ended {state} ({code:?}) after {losses} losses: nothing explains it")
            });
        }
    }

    /// Whether a failure has the cause that it names.
    fn is_explained(&self, call: &Call, record: &Record, ending: &Ending, happened: u32) -> bool {
        let Some(code) = ending.failure.as_ref().map(|failure| failure.code) else { return false };
        match code {
            FailureCode::UserError => call.act == Act::Raise,
            FailureCode::DeadlineExceeded => call.deadline_ms < FAR_MS,
            FailureCode::Timeout => call.timeout_ms.is_some() || call.deadline_ms < FAR_MS,
            FailureCode::Unsatisfiable => {
                let most_ms = self.shape.scheduler.map_or(u64::MAX, |scheduler| scheduler.walltime_ms);
                let too_large = |asks| Share::of(&asks, &Shape::HAS, self.shape.workers).is_none();
                call.timeout_ms.is_some_and(|ms| ms + limits::BLOCK_END_MS > most_ms)
                    || call.asks.is_some_and(too_large)
            }
            FailureCode::EndpointDeleted => {
                self.endpoints.iter().any(|e| e.id == record.spec.endpoint && e.deleted)
            }
            FailureCode::EnvironmentFailed => self.check.environment_failed,
            FailureCode::WorkerDied | FailureCode::ExecutorLost | FailureCode::WalltimeExceeded => {
                record.losses + 1 > record.spec.retries && happened >= 1
            }
            _ => false,
        }
    }
}
