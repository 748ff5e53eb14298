//! Many at once: of a change that names a version one happens, and a message is moved once.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::support::{Client, Service};

/// Answers of everybody at once.
fn at_once<T: Send>(count: usize, ask: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let ask = &ask;
        let barrier = &barrier;
        let asking: Vec<_> = (0..count)
            .map(|number| {
                scope.spawn(move || {
                    barrier.wait();
                    ask(number)
                })
            })
            .collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    })
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|&&found| found == status).count()
}

#[test]
fn of_many_changes_to_one_version_one_happens() {
    let service = Service::begin();
    let anna = service.user("contoso");
    for round in 0..10 {
        let (path, tag) = anna.store("contoso", "inbox", &format!("round {round}"), "");
        let statuses = at_once(8, |number| {
            let body = json!({"seen": number % 2 == 0}).to_string();
            anna.ask("PATCH", &path, &[("if-match", &tag)], body.as_bytes()).status
        });
        assert_eq!((count(&statuses, 204), count(&statuses, 412)), (1, 7), "{statuses:?}");
        let statuses =
            at_once(4, |_| anna.ask("DELETE", &path, &[("if-match", &anna.get(&path).header("etag"))], b"").status);
        assert_eq!(count(&statuses, 204), 1, "{statuses:?}");
    }
}

/// In which folders the message is.
fn whereabouts(client: &Client, id: &str) -> Vec<&'static str> {
    let folders = ["inbox", "sent", "archive", "one", "two"];
    folders.into_iter().filter(|folder| client.ids("contoso", folder).iter().any(|found| found == id)).collect()
}

#[test]
fn a_message_that_many_move_elsewhere_is_in_one_place() {
    let service = Service::begin();
    let anna = service.user("contoso");
    for folder in ["one", "two"] {
        anna.ask("PUT", &format!("/t/contoso/folders/{folder}"), &[], b"");
    }
    for round in 0..10 {
        let (path, tag) = anna.store("contoso", "inbox", &format!("round {round}"), "");
        let id = path.rsplit('/').next().unwrap();
        let statuses = at_once(10, |number| match number {
            // Somebody marks it meanwhile.
            0 => anna.ask("PATCH", &path, &[("if-match", &tag)], br#"{"seen":true}"#).status,
            _ => anna.post(&format!("{path}/move"), &json!({"to": (["archive", "one", "two"][number % 3])})).status,
        });
        let places = whereabouts(&anna, id);
        assert_eq!(places.len(), 1, "{places:?} {statuses:?}");
        assert_ne!(places[0], "inbox");
        // Three asked for that very move, which is one move; the others found nothing to move.
        let moves = &statuses[1..];
        assert_eq!((count(moves, 204), count(moves, 404)), (3, 6), "{statuses:?}");
        let path = format!("/t/contoso/folders/{}/messages/{id}", places[0]);
        assert_eq!(anna.get(&path).json()["subject"], format!("round {round}"));
    }
}

#[test]
fn a_folder_that_many_make_is_made_once() {
    let service = Service::begin();
    let anna = service.user("contoso");
    let statuses = at_once(8, |_| anna.ask("PUT", "/t/contoso/folders/new", &[], b"").status);
    assert_eq!((count(&statuses, 201), count(&statuses, 204)), (1, 7), "{statuses:?}");
}
