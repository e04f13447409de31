//! Containers: kept, hidden, and there for what was accepted; a database of before them.

use super::*;

fn add(w: &mut World) {
    let change = Change::AddContainer {
        container: (*image()).clone(),
        user_no: w.user.no,
        name: "py".into(),
        description: "with numpy".into(),
        now: Wall(7),
    };
    assert_eq!(registry(&mut w.store, change), Changed::Done);
}

fn delete(w: &mut World, by: i64) -> Changed {
    let user_no = w.user.no + by;
    registry(&mut w.store, Change::DeleteContainer { container: image().container, user_no })
}

#[test]
fn accepted_tasks_come_back_with_their_container_also_when_it_was_deleted() {
    let mut w = world();
    add(&mut w);
    let contained = |n| TaskSpec { container: Some(image()), ..spec(n, b"a") };
    hub(&mut w.store, vec![accept(vec![contained(1), spec(2, b"a"), contained(3)])]);
    let again = hub(&mut w.store, vec![accept(vec![contained(1)])]);
    assert_eq!(again, [Answer::Accepted { known: vec![task(1)], hits: vec![] }]);
    assert_eq!(hub(&mut w.store, vec![accept(vec![spec(1, b"a")])]), [Answer::Conflict { task: task(1) }]);
    assert_eq!(delete(&mut w, 1), Changed::NotFound, "another user");
    assert_eq!(delete(&mut w, 0), Changed::Done);
    assert_eq!(delete(&mut w, 0), Changed::NotFound);
    let reader = Reader::open(&w.paths).unwrap();
    assert!(reader.container(&image().container).unwrap().is_none());
    assert_eq!(reader.task(w.user.no, &task(1)).unwrap().unwrap().container, Some(image().container));
    drop(w.store);
    let store = SqliteStore::open(&w.paths, MEMO, Arc::new(Metrics::default())).unwrap();
    let found = store.recover().unwrap().tasks;
    let specs: Vec<&TaskSpec> = found.iter().map(|task| &task.spec).collect();
    assert_eq!(specs, [&contained(1), &spec(2, b"a"), &contained(3)]);
    let of = |n: usize| specs[n].container.as_ref().unwrap();
    assert!(Arc::ptr_eq(of(0), of(2)), "one for all");
}

#[test]
fn a_database_of_before_containers_is_brought_up() {
    let mut w = ends::upgraded(4);
    assert_eq!(w.store.recover().unwrap().tasks[0].spec.container, None);
    add(&mut w);
    let reader = Reader::open(&w.paths).unwrap();
    assert_eq!(reader.function(&FunctionId::from_bytes([3; 16])).unwrap().unwrap().container, None);
    let row = reader.container(&image().container).unwrap().unwrap();
    assert_eq!((row.container, row.name, row.registered), ((*image()).clone(), "py".to_owned(), Wall(7)));
}
