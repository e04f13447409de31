//! What tasks ask for of a node: kept with them.

use super::*;
use bursa_core::resources::Resources;

const ASKED: Resources = Resources { cores: 2, memory_mb: 4_096, gpus: 1, nodes: 3, ranks_per_node: 4 };

fn asking(n: u64) -> TaskSpec {
    TaskSpec { resources: Some(Arc::new(ASKED)), ..spec(n, b"a") }
}

#[test]
fn accepted_tasks_come_back_with_what_they_ask_for() {
    let mut w = world();
    hub(&mut w.store, vec![accept(vec![asking(1), spec(2, b"a"), asking(3)])]);
    let again = hub(&mut w.store, vec![accept(vec![asking(1)])]);
    assert_eq!(again, [Answer::Accepted { known: vec![task(1)], hits: vec![] }]);
    let less = TaskSpec { resources: Some(Arc::new(Resources { cores: 1, ..ASKED })), ..spec(1, b"a") };
    for other in [spec(1, b"a"), less] {
        assert_eq!(hub(&mut w.store, vec![accept(vec![other])]), [Answer::Conflict { task: task(1) }]);
    }
    let reader = Reader::open(&w.paths).unwrap();
    let shown = |n| reader.task(w.user.no, &task(n)).unwrap().unwrap().resources;
    assert_eq!((shown(1), shown(2)), (Some(ASKED), None));
    drop(w.store);
    let store = SqliteStore::open(&w.paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let found = store.recover().unwrap().tasks;
    let specs: Vec<&TaskSpec> = found.iter().map(|task| &task.spec).collect();
    assert_eq!(specs, [&asking(1), &spec(2, b"a"), &asking(3)]);
}
