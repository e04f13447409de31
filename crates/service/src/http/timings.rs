//! Where the time of a task went, as the API shows it.

use bursa_core::timings::Timings;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Where the time of a task went, in seconds. All but `worker_start` add up to `total`: from the submit to the result's
/// arrival at the service, which then writes it to disk. Of a task that ran more than once: the last execution, and all
/// before it in `queue`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskTimings {
    /// In the service, until it was on disk.
    pub(crate) store: f64,
    /// In the service, until it was sent to the endpoint.
    pub(crate) queue: f64,
    /// Between service and manager, both ways.
    pub(crate) network: f64,
    /// At the manager, for an executor.
    pub(crate) manager: f64,
    /// Between manager and executor, both ways.
    pub(crate) node_network: f64,
    /// At the executor, for a worker.
    pub(crate) worker_wait: f64,
    /// Of `worker_wait`: while a worker was being started.
    pub(crate) worker_start: f64,
    /// Between executor and worker, both ways, and behind other calls in the worker's pipe.
    pub(crate) pipe: f64,
    /// In the worker: the arguments deserialized, and the function if this was its first call there.
    pub(crate) load: f64,
    /// In the worker: the function itself.
    pub(crate) run: f64,
    /// In the worker: the result serialized.
    pub(crate) dump: f64,
    pub(crate) total: f64,
}

impl TaskTimings {
    /// Of a call that ran for `run_ns`; `None`: nothing is known.
    pub(crate) fn of(timings: &Timings, run_ns: u64) -> Option<Self> {
        let seconds = |ns| Duration::from_nanos(ns).as_secs_f64();
        let parts = timings.parts(run_ns);
        (!timings.is_empty()).then(|| Self {
            store: seconds(parts.store),
            queue: seconds(parts.queue),
            network: seconds(parts.network),
            manager: seconds(parts.manager),
            node_network: seconds(parts.node_network),
            worker_wait: seconds(parts.wait),
            worker_start: seconds(timings.start),
            pipe: seconds(parts.pipe),
            load: seconds(parts.load),
            run: seconds(parts.run),
            dump: seconds(parts.dump),
            total: seconds(timings.store.saturating_add(timings.queue).saturating_add(timings.endpoint)),
        })
    }
}
