//! What a task's row and a record hold that no index needs, as one blob each: a column more costs a write as much as a
//! hundred bytes.
//!
//! Numbers are big-endian. `migrations/0006_ends.sql` and `tests/powerloss` know the layouts too.

use super::memo;
use super::rows::Memoized;
use super::slots::{code_of, state_of};
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, TaskId};
use bursa_core::resources::Resources;
use bursa_core::task::{TaskSpec, TaskState};
use bursa_core::time::Wall;
use bursa_core::timings::Timings;
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};

/// Bytes of a container and of resources: what is left says which of them are there.
const CONTAINER: usize = 16;
const RESOURCES: usize = 24;

/// What a task asks for, beside its arguments: 88 bytes, 16 more with a container, 24 more with resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) group: GroupId,
    pub(super) function: FunctionId,
    pub(super) endpoint: EndpointId,
    pub(super) retries: u32,
    pub(super) retry_on_error: u32,
    /// Stored as all ones for none.
    pub(super) timeout_ms: Option<u64>,
    pub(super) deadline: Wall,
    pub(super) submitted: Wall,
    /// Bytes of its arguments.
    pub(super) size: u64,
    pub(super) container: Option<ContainerId>,
    pub(super) resources: Option<Resources>,
}

impl Asked {
    pub(super) fn of(spec: &TaskSpec) -> Self {
        Self {
            group: spec.group,
            function: spec.function,
            endpoint: spec.endpoint,
            retries: spec.retries,
            retry_on_error: spec.retry_on_error,
            timeout_ms: spec.timeout_ms,
            deadline: spec.deadline,
            submitted: spec.submitted,
            size: spec.args.len() as u64,
            container: spec.container.as_ref().map(|named| named.container),
            resources: spec.resources.as_deref().copied(),
        }
    }

    /// The same with its deadline by its distance from the submit, which a repeat computes anew.
    pub(super) const fn at_any_time(self) -> Self {
        Self { deadline: Wall(self.deadline.0.saturating_sub(self.submitted.0)), submitted: Wall(0), ..self }
    }

    pub(super) fn pack(&self) -> Packed {
        let mut packed = Packed::default();
        packed.put(self.group.as_bytes());
        packed.put(self.function.as_bytes());
        packed.put(self.endpoint.as_bytes());
        packed.put(&self.retries.to_be_bytes());
        packed.put(&self.retry_on_error.to_be_bytes());
        packed.put(&self.timeout_ms.unwrap_or(u64::MAX).to_be_bytes());
        packed.put(&self.deadline.0.to_be_bytes());
        packed.put(&self.submitted.0.to_be_bytes());
        packed.put(&self.size.to_be_bytes());
        packed.put(self.container.as_ref().map_or(&[], |id| id.as_bytes().as_slice()));
        if let Some(Resources { cores, memory_mb, gpus, nodes, ranks_per_node }) = self.resources {
            packed.put(&memory_mb.to_be_bytes());
            for count in [cores, gpus, nodes, ranks_per_node] {
                packed.put(&count.to_be_bytes());
            }
        }
        packed
    }

    fn unpack(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            group: GroupId::from_bytes(take(bytes)?),
            function: FunctionId::from_bytes(take(bytes)?),
            endpoint: EndpointId::from_bytes(take(bytes)?),
            retries: u32::from_be_bytes(take(bytes)?),
            retry_on_error: u32::from_be_bytes(take(bytes)?),
            timeout_ms: Some(u64::from_be_bytes(take(bytes)?)).filter(|ms| *ms < u64::MAX),
            deadline: Wall(u64::from_be_bytes(take(bytes)?)),
            submitted: Wall(u64::from_be_bytes(take(bytes)?)),
            size: u64::from_be_bytes(take(bytes)?),
            container: take_if(bytes, |left| left == CONTAINER || left == CONTAINER + RESOURCES)
                .map(ContainerId::from_bytes),
            resources: (bytes.len() == RESOURCES).then(|| Self::resources(bytes)).flatten(),
        })
    }

    fn resources(bytes: &mut &[u8]) -> Option<Resources> {
        let memory_mb = u64::from_be_bytes(take(bytes)?);
        let mut count = || Some(u32::from_be_bytes(take(bytes)?));
        Some(Resources {
            memory_mb,
            cores: count()?,
            gpus: count()?,
            nodes: count()?,
            ranks_per_node: count()?,
        })
    }

    /// The blob in this column.
    pub(super) fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        read(row, column, Self::unpack)
    }
}

/// What a terminal record says, beside what the task gave back: 62 bytes, and about 25 of timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) task: TaskId,
    pub(super) group: GroupId,
    pub(super) state: TaskState,
    pub(super) memo: Option<Memoized>,
    pub(super) starts: u32,
    pub(super) ended: Wall,
    pub(super) run_ns: u64,
    /// Bytes of the user's results up to this one, their tasks' arguments included: what lies between two is a difference.
    pub(super) total: u64,
    pub(super) timings: Timings,
}

impl Record {
    pub(super) fn pack(&self) -> Packed {
        let mut packed = Packed::default();
        packed.put(self.task.as_bytes());
        packed.put(self.group.as_bytes());
        packed.put(&[code_of(self.state), memo::code_of(self.memo)]);
        packed.put(&self.starts.to_be_bytes());
        packed.put(&self.ended.0.to_be_bytes());
        packed.put(&self.run_ns.to_be_bytes());
        packed.put(&self.total.to_be_bytes());
        packed.put(self.timings.pack().as_ref());
        packed
    }

    fn unpack(bytes: &mut &[u8]) -> Option<Self> {
        let (task, group) = (TaskId::from_bytes(take(bytes)?), GroupId::from_bytes(take(bytes)?));
        let [state, memo] = take(bytes)?;
        Some(Self {
            task,
            group,
            state: state_of(state).unwrap_or(TaskState::Failed),
            memo: memo::of_code(memo),
            starts: u32::from_be_bytes(take(bytes)?),
            ended: Wall(u64::from_be_bytes(take(bytes)?)),
            run_ns: u64::from_be_bytes(take(bytes)?),
            total: u64::from_be_bytes(take(bytes)?),
            timings: Timings::unpack(bytes),
        })
    }

    /// The blob in this column.
    pub(super) fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        read(row, column, Self::unpack)
    }
}

fn take_if<const N: usize>(bytes: &mut &[u8], is_there: fn(usize) -> bool) -> Option<[u8; N]> {
    if is_there(bytes.len()) { take(bytes) } else { None }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn read<T>(row: &Row<'_>, column: usize, unpack: fn(&mut &[u8]) -> Option<T>) -> rusqlite::Result<T> {
    let mut blob = row.get_ref(column)?.as_blob()?;
    let size = blob.len();
    unpack(&mut blob).ok_or_else(|| {
        let short = FromSqlError::InvalidBlobSize { expected_size: 0, blob_size: size };
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(short))
    })
}

/// A blob, without a look at the heap.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: [u8; 192],
    len: usize,
}

impl Default for Packed {
    fn default() -> Self {
        Self { bytes: [0; 192], len: 0 }
    }
}

impl Packed {
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.len..][..part.len()].copy_from_slice(part);
        self.len += part.len();
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

    #[test]
    fn what_is_at_the_end_is_told_by_its_length() {
        let some = Resources { cores: 2, memory_mb: 4_096, gpus: 1, nodes: 3, ranks_per_node: 4 };
        for container in [None, Some(ContainerId::from_bytes([9; 16]))] {
            for resources in [None, Some(some)] {
                let asked = Asked {
                    group: GroupId::from_bytes([1; 16]),
                    function: FunctionId::from_bytes([2; 16]),
                    endpoint: EndpointId::from_bytes([3; 16]),
                    retries: 1,
                    retry_on_error: 2,
                    timeout_ms: None,
                    deadline: Wall(3),
                    submitted: Wall(4),
                    size: 5,
                    container,
                    resources,
                };
                let packed = asked.pack();
                assert_eq!(Asked::unpack(&mut packed.as_ref()), Some(asked));
            }
        }
    }
}
