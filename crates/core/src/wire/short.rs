//! Short items: what is said of every task, as lists without names (FABRIC §2).
//!
//! `[kind, fields…]`: fields at the end that say nothing are left out, and unknown ones there are skipped. All other
//! items, and failures, have named fields.

use super::blob::Blob;
use super::message::{Assign, Attempt, Done, Item};
use super::msgpack::{List, Problem, Reader, put_bin, put_list, put_nil, put_str, put_uint};
use crate::container::{Container, ContainerKind};
use crate::id::{ContainerId, Hash, TaskId, UserId, WorkerId};
use crate::limits;
use crate::resources::Resources;
use crate::secrets::Secrets;
use crate::shelf::Shelf;
use crate::task::{Begun, Outcome};
use crate::timings::Timings;
use std::collections::BTreeMap;
use std::sync::Arc;

const ASSIGN: u64 = 0;
const RESULT: u64 = 1;
const ACK: u64 = 2;
const STARTED: u64 = 3;

/// By their numbers on the wire, which are those of their declaration, as those of `Outcome::ALL` are.
const BEGUN: [Begun; 3] = [Begun::Yes, Begun::No, Begun::Unknown];

/// What the `Assign`s of a message said and later ones need not repeat: most tasks in a row are calls of one function by
/// one user, and few containers are used by many.
#[derive(Debug, Default)]
pub(super) struct Before {
    last: Option<(UserId, Hash)>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
}

/// Writes `item`, short or named. An error is a bug.
pub(super) fn write(
    out: &mut Vec<u8>,
    item: &Item,
    before: &mut Before,
) -> Result<(), rmp_serde::encode::Error> {
    match item {
        Item::Assign(assign) => write_assign(out, assign, before),
        Item::Result(done) => write_result(out, done)?,
        Item::Ack { task, attempt, outcome } => {
            head(out, 4, ACK, task, *attempt);
            put_uint(out, *outcome as u64);
        }
        Item::Started { task, attempt, worker } => {
            head(out, 4, STARTED, task, *attempt);
            put_uint(out, u64::from(worker.0));
        }
        item => rmp_serde::encode::write_named(out, item)?,
    }
    Ok(())
}

fn head(out: &mut Vec<u8>, fields: usize, kind: u64, task: &TaskId, attempt: Attempt) {
    put_list(out, fields);
    put_uint(out, kind);
    put_bin(out, task.as_bytes());
    put_uint(out, attempt.0);
}

fn write_assign(out: &mut Vec<u8>, assign: &Assign, before: &mut Before) {
    let this = Some((assign.user, assign.hash));
    let repeats = std::mem::replace(&mut before.last, this) == this;
    let container = assign.container.as_ref();
    let unknown = container.filter(|new| !before.containers.contains_key(&new.container));
    let fields = match (container, assign.timeout_ms) {
        _ if assign.secrets.is_some() => 13,
        _ if assign.resources.is_some() => 12,
        _ if unknown.is_some() => 11,
        (_, Some(_)) => 9,
        (Some(_), None) => 8,
        (None, None) if repeats => 5,
        (None, None) => 7,
    };
    head(out, fields, ASSIGN, &assign.task, assign.attempt);
    write_blob(out, &assign.args);
    put_uint(out, assign.ttl_ms);
    if fields > 5 {
        put_some(out, (!repeats).then_some(assign.user.as_bytes().as_slice()));
        put_some(out, (!repeats).then_some(assign.hash.0.as_slice()));
    }
    if fields > 7 {
        put_some(out, container.map(|named| named.container.as_bytes().as_slice()));
    }
    match assign.timeout_ms {
        Some(timeout_ms) => put_uint(out, timeout_ms),
        None if fields > 8 => put_nil(out),
        None => {}
    }
    if let Some(new) = unknown {
        put_uint(out, new.kind as u64);
        put_str(out, &new.location);
        before.containers.insert(new.container, Arc::clone(new));
    } else if fields > 11 {
        put_nil(out);
        put_nil(out);
    }
    if let Some(asked) = &assign.resources {
        write_resources(out, asked);
    } else if fields > 12 {
        put_nil(out);
    }
    if let Some(secrets) = &assign.secrets {
        put_bin(out, secrets.block());
    }
}

fn write_resources(out: &mut Vec<u8>, asked: &Resources) {
    put_list(out, 5);
    put_uint(out, u64::from(asked.cores));
    put_uint(out, asked.memory_mb);
    put_uint(out, u64::from(asked.gpus));
    put_uint(out, u64::from(asked.nodes));
    put_uint(out, u64::from(asked.ranks_per_node));
}

fn read_resources(reader: &mut Reader<'_>) -> Result<Arc<Resources>, Problem> {
    let mut list = reader.list()?;
    let asked = Resources {
        cores: list.must()?.small()?,
        memory_mb: list.must()?.uint()?,
        gpus: list.must()?.small()?,
        nodes: list.must()?.small()?,
        ranks_per_node: list.must()?.small()?,
    };
    list.skip()?;
    Ok(Arc::new(asked))
}

fn write_result(out: &mut Vec<u8>, done: &Done) -> Result<(), rmp_serde::encode::Error> {
    let silent = matches!(&done.output, Blob::Here(output) if output.is_empty());
    let fields = match (&done.failure, silent) {
        (Some(_), _) => 10,
        (None, false) => 9,
        (None, true) => 8,
    };
    head(out, fields, RESULT, &done.task, done.attempt);
    put_uint(out, done.outcome as u64);
    put_uint(out, done.begun as u64);
    write_blob(out, &done.payload);
    put_uint(out, done.run_ns);
    put_bin(out, done.timings.pack().as_ref());
    if fields > 8 {
        write_blob(out, &done.output);
    }
    done.failure.as_ref().map_or(Ok(()), |failure| rmp_serde::encode::write_named(out, failure))
}

fn put_some(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => put_bin(out, bytes),
        None => put_nil(out),
    }
}

fn write_blob(out: &mut Vec<u8>, blob: &Blob) {
    match blob {
        Blob::Here(bytes) => put_bin(out, bytes),
        Blob::Frame(index) => put_uint(out, u64::from(*index)),
        Blob::Stream(id) => {
            put_list(out, 1);
            put_uint(out, *id);
        }
    }
}

/// Reads one item, short or named.
pub(super) fn read(reader: &mut Reader<'_>, before: &mut Before, shelf: &mut Shelf) -> Result<Item, Problem> {
    if !reader.is_list() {
        return reader.value();
    }
    let mut list = reader.list()?;
    let kind = list.must()?.uint()?;
    let task = TaskId::from_bytes(list.must()?.id()?);
    let attempt = Attempt(list.must()?.uint()?);
    let item = match kind {
        ASSIGN => {
            let args = read_blob(list.must()?, shelf)?;
            let ttl_ms = list.must()?.uint()?;
            let user = list.may()?.map(Reader::id).transpose()?.map(UserId::from_bytes);
            let hash = list.may()?.map(Reader::id).transpose()?.map(Hash);
            let container = list.may()?.map(Reader::id).transpose()?.map(ContainerId::from_bytes);
            let timeout_ms = list.may()?.map(Reader::uint).transpose()?;
            let container = read_container(&mut list, container, before)?;
            let resources = list.may()?.map(read_resources).transpose()?;
            let secrets = list.may()?.map(read_secrets).transpose()?;
            let last = before.last;
            let (Some(user), Some(hash)) =
                (user.or(last.map(|(user, _)| user)), hash.or(last.map(|(_, hash)| hash)))
            else {
                return Err("an assignment without user or function".to_owned());
            };
            before.last = Some((user, hash));
            Item::Assign(Box::new(Assign {
                task,
                attempt,
                user,
                hash,
                container,
                resources,
                args,
                secrets,
                ttl_ms,
                timeout_ms,
            }))
        }
        RESULT => Item::Result(Box::new(Done {
            task,
            attempt,
            outcome: numbered(&Outcome::ALL, list.must()?)?,
            begun: numbered(&BEGUN, list.must()?)?,
            payload: read_blob(list.must()?, shelf)?,
            run_ns: list.must()?.uint()?,
            timings: list
                .may()?
                .map_or(Ok(Timings::default()), |timings| timings.bin().map(Timings::unpack))?,
            output: list.may()?.map_or(Ok(Blob::empty()), |output| read_blob(output, shelf))?,
            failure: list.may()?.map(Reader::value).transpose()?,
        })),
        ACK => Item::Ack { task, attempt, outcome: numbered(&Outcome::ALL, list.must()?)? },
        STARTED => Item::Started { task, attempt, worker: WorkerId(list.must()?.small()?) },
        kind => return Err(format!("an item of the unknown kind {kind}")),
    };
    list.skip()?;
    Ok(item)
}

/// The container of an `Assign`: its kind and location are said once in a message.
fn read_container(
    list: &mut List<'_, '_>,
    container: Option<ContainerId>,
    before: &mut Before,
) -> Result<Option<Arc<Container>>, Problem> {
    let kind = list.may()?.map(|kind| numbered(&ContainerKind::ALL, kind)).transpose()?;
    let location = list.may()?.map(Reader::str).transpose()?;
    let Some(container) = container else { return Ok(None) };
    let (Some(kind), Some(location)) = (kind, location) else {
        let known = before.containers.get(&container).cloned().map(Some);
        return known.ok_or_else(|| "an assignment in a container that nobody described".to_owned());
    };
    if location.len() > limits::LOCATION_BYTES {
        return Err(format!("the location of a container has {} bytes", location.len()));
    }
    let named = Arc::new(Container { container, kind, location: location.to_owned() });
    before.containers.insert(container, Arc::clone(&named));
    Ok(Some(named))
}

fn read_secrets(reader: &mut Reader<'_>) -> Result<Secrets, Problem> {
    match reader.bin()? {
        block if block.len() <= limits::CALL_SECRETS_BYTES => Ok(Secrets::of_block(block)),
        block => Err(format!("a call with {} bytes of secrets", block.len())),
    }
}

fn numbered<T: Copy>(all: &[T], reader: &mut Reader<'_>) -> Result<T, Problem> {
    let number = reader.small()? as usize;
    all.get(number)
        .copied()
        .ok_or_else(|| format!("{number} is no outcome, kind, nor word for whether it began"))
}

fn read_blob(reader: &mut Reader<'_>, shelf: &mut Shelf) -> Result<Blob, Problem> {
    match reader.0.first() {
        Some(0xc4..=0xc6) => Ok(Blob::Here(shelf.keep(reader.bin()?))),
        Some(0x91) => Ok(Blob::Stream(reader.list()?.must()?.uint()?)),
        _ => reader.small().map(Blob::Frame),
    }
}
