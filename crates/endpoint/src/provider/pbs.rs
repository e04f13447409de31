//! PBS (OpenPBS, PBS Professional): the batch script, `qsub`, `qselect`, `qstat` and `qdel`.

use super::scheduler::{Call, Job, JobState, Request, Scheduler, block_of, job_name, quoted};
use super::script;
use bursa_core::id::BlockId;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The jobs of this user. One that ends between the two commands is no failure: 153 is an unknown job, 35 one that is over.
const STATUS: &str = "jobs=$(qselect -u \"$(id -un)\") || exit; [ -z \"$jobs\" ] || qstat -f $jobs || \
                      case $? in 35|153) ;; *) exit 1 ;; esac";
/// Ends the job of this name, if there is one.
const CANCEL: &str = "jobs=$(qselect -N \"$1\") || exit; [ -z \"$jobs\" ] || qdel $jobs";

/// PBS, by its commands.
#[derive(Debug, Clone, Copy)]
pub struct Pbs;

impl Scheduler for Pbs {
    fn name(&self) -> &'static str {
        "PBS"
    }

    fn script(&self, request: &Request<'_>) -> String {
        let blocks = &request.config.blocks;
        let mut script = script::head(request);
        let (minutes, seconds) = (blocks.walltime.as_secs() / 60, blocks.walltime.as_secs() % 60);
        let walltime = format!("walltime={:02}:{:02}:{seconds:02}", minutes / 60, minutes % 60);
        for (option, value) in [
            ("-N", &*job_name(request.block)),
            ("-j", "oe"),
            ("-o", "/dev/null"),
            ("-l", &select(request)),
            ("-l", "place=scatter"),
            ("-l", &walltime),
            ("-q", &blocks.partition),
            ("-A", &blocks.account),
            // A block that began anew by itself would bring executors back that are known to be gone.
            ("-r", "n"),
        ] {
            if !value.is_empty() {
                let _ = writeln!(script, "#PBS {option} {value}");
            }
        }
        if !blocks.options.is_empty() {
            let _ = writeln!(script, "{}", blocks.options);
        }
        // PBS would keep the output on the node until the end.
        let _ = writeln!(script, "exec >>{} 2>&1", quoted(&request.log.display().to_string()));
        if !blocks.worker_init.is_empty() {
            let _ = writeln!(script, "{}", blocks.worker_init);
        }
        script + &script::environment(request, "NCPUS") + &script::start(request, "$(cat \"$PBS_NODEFILE\")")
    }

    fn submit(&self, script: String) -> Call {
        Call { stdin: script, ..Call::new(["qsub"]) }
    }

    fn submitted(&self, stdout: &str) -> Result<String, String> {
        let job = stdout.trim();
        if job.starts_with(|c: char| c.is_ascii_digit()) && !job.contains(char::is_whitespace) {
            return Ok(job.to_owned());
        }
        Err(format!("qsub printed no job's name but '{job}'"))
    }

    fn status(&self) -> Call {
        Call::new(["sh", "-c", STATUS])
    }

    fn jobs(&self, stdout: &str) -> Result<Vec<Job>, String> {
        // A long value goes on on lines that begin with a tab.
        let text = stdout.replace("\r\n", "\n").replace("\n\t", "");
        Ok(text.split("Job Id:").skip(1).filter_map(job).collect())
    }

    fn cancel(&self, jobs: &[&str]) -> Call {
        Call::new(["qdel"]).with(jobs)
    }

    fn cancel_unknown(&self, block: BlockId) -> Call {
        Call::new(["sh", "-c", CANCEL, "sh", &job_name(block)])
    }
}

/// So many nodes of this kind, with one rank of an MPI on each.
fn select(request: &Request<'_>) -> String {
    let blocks = &request.config.blocks;
    let mut select = format!("select={}", blocks.nodes);
    if blocks.cores > 0 {
        let _ = write!(select, ":ncpus={}", blocks.cores);
    }
    // Where one executor commands all nodes, programs that calls start use their cores.
    let ranks = if blocks.nodes_each() > 1 { blocks.cores.max(1) } else { 1 };
    let _ = write!(select, ":mpiprocs={ranks}");
    let mem = if blocks.mem.is_empty() { String::new() } else { format!("mem={}", blocks.mem) };
    for part in [&mem, &blocks.gres, &blocks.constraint] {
        if !part.is_empty() {
            let _ = write!(select, ":{part}");
        }
    }
    select
}

/// What `qstat -f` prints of one job: its id, then `name = value` on each line.
fn job(text: &str) -> Option<Job> {
    let (job, attributes) = text.split_once('\n')?;
    let job = job.trim();
    let attributes: BTreeMap<&str, &str> = attributes
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let get = |name: &str| attributes.get(name).copied();
    let why = get("comment").map_or(String::new(), |comment| format!(": {comment}"));
    let state = match get("job_state")? {
        "R" | "E" | "S" | "U" | "B" => {
            let seconds = |name: &str| get(name).and_then(seconds);
            let used = seconds("resources_used.walltime").unwrap_or(0);
            JobState::Running(
                seconds("Resource_List.walltime").map(|whole| whole.saturating_sub(used) * 1_000),
            )
        }
        "F" | "C" | "X" => {
            let code = get("Exit_status").map_or(String::new(), |code| format!(" with status {code}"));
            JobState::Ended(format!("PBS job {job} ended{code}{why}"))
        }
        "H" => JobState::Waiting(format!("PBS job {job} is held{why}")),
        "W" => JobState::Waiting(format!("PBS job {job} waits for its time{why}")),
        _ => JobState::Waiting(format!("PBS job {job} is queued{why}")),
    };
    Some(Job { block: block_of(get("Job_Name")?)?, job: job.to_owned(), state })
}

/// `HH:MM:SS`.
fn seconds(time: &str) -> Option<u64> {
    let parts = time.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    (parts.len() == 3).then(|| parts.iter().fold(0, |sum, part| sum * 60 + part))
}

#[cfg(test)]
#[path = "pbs_tests.rs"]
mod tests;
