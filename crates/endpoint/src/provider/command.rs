//! Runs the commands of a scheduler.

use super::scheduler::Call;
use bursa_core::limits;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A command that takes longer is given up: a scheduler under load answers within seconds.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// What a program printed; or why not, in its own words.
pub(super) async fn run(call: Call) -> Result<String, String> {
    let name = call.words.first().cloned().unwrap_or_default();
    let mut command = Command::new(&name);
    command.args(call.words.iter().skip(1)).kill_on_drop(true);
    // A scheduler passes the environment on to the job and may keep it where others can read it.
    command.env_remove("BURSA_TOKEN");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it says why itself.
            let _ = stdin.write_all(call.stdin.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(LONGEST, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{name} cannot be run: {error}")),
        Err(_) => return Err(format!("{name} took longer than {} s", LONGEST.as_secs())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let said = &said[..said.floor_char_boundary(limits::TROUBLE_BYTES / 2)];
    Err(format!("{name} failed ({}): {said}", output.status))
}
