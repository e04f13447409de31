//! What a task costs the store: `cargo test -p bursa-service --release -- --ignored --nocapture costs`, and the same under
//! `valgrind --tool=callgrind --toggle-collect='*SqliteStore*apply*'` for instructions, with BATCH tasks in each submit.

use super::*;

const ARGS: &[u8] = b"thirty bytes of arguments ....";
const TASKS: u64 = 16_384;

/// Bytes that this process has written.
fn written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

fn ended(n: u64) -> Op {
    end(n, TaskState::Success, b"ten bytes.")
}

#[test]
#[ignore = "a measurement"]
fn costs() {
    let step = std::env::var("BATCH").map_or(256, |text| text.parse::<usize>().unwrap());
    let batch = step as u64;
    let mut w = world();
    let count = if batch == 1 { 1_024 } else { TASKS };
    // The first ones have statements to prepare and pages to make.
    for first in [0, batch] {
        hub(&mut w.store, vec![accept((first..first + batch).map(|n| spec(n, ARGS)).collect())]);
        hub(&mut w.store, (first..first + batch).map(ended).collect());
    }
    let (mut accepts, mut ends) = (0, 0);
    for first in (2 * batch..2 * batch + count).step_by(step) {
        let tasks = (first..first + batch).map(|n| spec(n, ARGS)).collect();
        let before = written();
        hub(&mut w.store, vec![accept(tasks)]);
        let between = written();
        hub(&mut w.store, (first..first + batch).map(ended).collect());
        accepts += between - before;
        ends += written() - between;
    }
    println!(
        "batch {batch}: {count} tasks, bytes written by accept {}, by end {}",
        accepts / count,
        ends / count
    );
    drop(w.store);
    let conn = rusqlite::Connection::open(&w.paths.database).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    conn.execute_batch("VACUUM").unwrap();
    let size: u64 =
        conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned() * 4_096;
    println!("{} bytes in the file for each", size / count);
}
