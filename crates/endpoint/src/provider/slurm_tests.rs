use super::*;
use crate::config::Config;
use crate::provider::script::sample;
use bursa_core::config::{Source, Values};
use std::path::Path;

const BLOCK: BlockId = sample::BLOCK;

fn script(set: &[(&str, &str)]) -> String {
    sample::script(&Slurm, "slurm", set, "/home/ada/.bursa/logs/hpc.block.log")
}

#[test]
fn the_least_script() {
    assert_eq!(
        script(&[("workers", "4")]),
        "#!/bin/sh
# A block of the endpoint hpc: one executor on each of its nodes.
#SBATCH --job-name=bursa-b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1
#SBATCH --output=/home/ada/.bursa/logs/hpc.block.log
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=0-01:00:00
#SBATCH --no-requeue
export BURSA_WORKERS=4
export BURSA_EXECUTORS=1
export BURSA_PYTHON='/opt/py thon'
srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=0 sh -c 'shift \"$SLURM_PROCID\"; \
exec /opt/bursa --home /home/ada/.bursa executor --endpoint hpc --id \"$1\"' sh 01010101-0101-0101-0101-010101010101
"
    );
}

#[test]
fn the_largest_script() {
    let set = [
        ("nodes_per_block", "2"),
        ("walltime", "1-12:30:00"),
        ("partition", "gpu"),
        ("account", "lab"),
        ("qos", "high"),
        ("constraint", "a100&nvme"),
        ("gres", "gpu:2"),
        ("cores_per_node", "8"),
        ("mem_per_node", "16G"),
        ("scheduler_options", "#SBATCH --exclusive\n#SBATCH --mail-type=NONE"),
        ("worker_init", "module load python\nsource ~/env/bin/activate"),
        ("launcher", "mpiexec"),
    ];
    assert_eq!(
        script(&set),
        "#!/bin/sh
# A block of the endpoint hpc: one executor on each of its nodes.
#SBATCH --job-name=bursa-b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1
#SBATCH --output=/home/ada/.bursa/logs/hpc.block.log
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=1-12:30:00
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --qos=high
#SBATCH --constraint=a100&nvme
#SBATCH --gres=gpu:2
#SBATCH --no-requeue
#SBATCH --exclusive
#SBATCH --mail-type=NONE
module load python
source ~/env/bin/activate
export BURSA_WORKERS=\"${SLURM_CPUS_ON_NODE:-0}\"
export BURSA_EXECUTORS=1
export BURSA_PYTHON='/opt/py thon'
mpiexec -n 2 sh -c 'shift \"${PMIX_RANK:-${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}}}\"; \
exec /opt/bursa --home /home/ada/.bursa executor --endpoint hpc --id \"$1\"' sh 01010101-0101-0101-0101-010101010101 \
02020202-0202-0202-0202-020202020202
"
    );
}

#[test]
fn a_single_executor_is_the_script_itself() {
    let all = script(&[("launcher", "single"), ("nodes_per_block", "4")]);
    assert!(
        all.contains("#SBATCH --nodes=4\n") && all.contains("one executor for all of its nodes"),
        "{all}"
    );
    assert!(
        all.contains("export BURSA_BLOCK_NODES=\"$(scontrol show hostnames)\"\nexec /opt/bursa"),
        "{all}"
    );
    let last = script(&[("launcher", "single")]);
    assert!(!last.contains("BURSA_BLOCK_NODES"), "{last}");
    let last = last.lines().last().unwrap();
    assert!(
        last.starts_with("exec /opt/bursa --home /home/ada/.bursa executor --endpoint hpc --id 0101"),
        "{last}"
    );
}

#[test]
fn what_squeue_prints_is_read() {
    let name = job_name(BLOCK);
    let jobs = Slurm.jobs(&format!(
        "7|{name}|PENDING|1:00:00|Resources\n8|another|RUNNING|5:00|None\n\nnonsense\n7|{name}|RUNNING|1-00:00:10|None\n\
         7|{name}|RUNNING|UNLIMITED|None\n7|{name}|TIMEOUT|0:00|TimeLimit\n"
    )).unwrap();
    let states: Vec<JobState> = jobs.into_iter().map(|job| job.state).collect();
    assert_eq!(
        states,
        [
            JobState::Waiting("Slurm job 7 is pending: Resources".into()),
            JobState::Running(Some(86_410_000)),
            JobState::Running(None),
            JobState::Ended("Slurm job 7 ended as TIMEOUT (TimeLimit)".into()),
        ]
    );
}

#[test]
fn the_number_of_a_job_is_read_or_what_came_instead_is_told() {
    assert_eq!(Slurm.submitted("17\n"), Ok("17".into()));
    assert_eq!(Slurm.submitted("17;cluster\n"), Ok("17".into()));
    assert_eq!(Slurm.submitted("hello\n"), Err("sbatch printed no job's number but 'hello'".into()));
}

#[test]
fn bad_values_are_refused() {
    for (name, value) in [
        ("provider", "condor"),
        ("max", "0"),
        ("min", "2"),
        ("parallelism", "0"),
        ("parallelism", "2"),
        ("walltime", "soon"),
        ("walltime", "00:00:10"),
        ("partition", "gpu --exclusive"),
        ("launcher", "ssh"),
        ("listen", "127.0.0.1:0"),
    ] {
        let mut values = Values::default();
        values.offer(&crate::config::blocks::KEYS[0], "slurm", Source::Flag);
        let mut keys = crate::config::blocks::KEYS.iter().chain(crate::config::KEYS);
        let key = keys.find(|key| key.name.split('.').nth(1) == Some(name)).unwrap();
        let mut values = if name == "provider" { Values::default() } else { values };
        values.offer(key, value, Source::Env);
        let error = Config::from_values(&values, Path::new("/h"), "lab").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} = '{value}' (from environment)", key.name)), "{error}");
    }
}
