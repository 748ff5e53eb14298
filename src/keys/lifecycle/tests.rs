//! The lifecycle by itself, and in every interleaving of everything that can happen to it.

mod checks;
mod model;

use super::*;

const HERE: (Incarnation, u64) = (Incarnation::new([1; 16]), 7);

fn after(events: &[Event]) -> Lifecycle {
    events.iter().fold(Lifecycle::of([1]), |lifecycle, &event| lifecycle.after(event).expect("a possible event"))
}

fn hindrances(lifecycle: &Lifecycle, scans: &[u64], backups: usize) -> Vec<Hindrance> {
    let holders = Holders { scans: scans.iter().map(|&era| (era, 1)).collect(), backups };
    lifecycle.can_destroy(1, &holders, HERE).err().unwrap_or_default()
}

const WHOLE: [Event; 4] =
    [Event::Added(2), Event::Drained(2), Event::SweepBegan { at_first_row: true }, Event::SweepEnded { era: 5 }];

#[test]
fn each_step_is_needed() {
    assert!(hindrances(&after(&WHOLE), &[], 0).is_empty());
    assert_eq!(hindrances(&after(&WHOLE[..0]), &[], 0), [Hindrance::Writing]);
    assert_eq!(hindrances(&after(&WHOLE[..1]), &[], 0), [Hindrance::Draining]);
    assert_eq!(hindrances(&after(&WHOLE[..2]), &[], 0), [Hindrance::Unproven]);
    assert_eq!(hindrances(&after(&WHOLE[..3]), &[], 0), [Hindrance::Unproven]);
    let partly = [WHOLE[0], WHOLE[1], Event::SweepBegan { at_first_row: false }, WHOLE[3]];
    assert_eq!(hindrances(&after(&partly), &[], 0), [Hindrance::Unproven]);
    let before_the_drain = [WHOLE[0], WHOLE[2], WHOLE[1], WHOLE[3]];
    assert_eq!(hindrances(&after(&before_the_drain), &[], 0), [Hindrance::Unproven]);
    let met_one = [WHOLE[0], WHOLE[1], WHOLE[2], Event::Found(1), WHOLE[3]];
    assert_eq!(hindrances(&after(&met_one), &[], 0), [Hindrance::Unproven]);
    let met_one_later = [&WHOLE[..], &[WHOLE[2], Event::Found(1)]].concat();
    assert_eq!(hindrances(&after(&met_one_later), &[], 0), [Hindrance::Unproven]);
}

#[test]
fn who_still_holds_something_is_named() {
    let clean = after(&WHOLE);
    assert_eq!(hindrances(&clean, &[4], 0), [Hindrance::Scans(1)]);
    assert_eq!(hindrances(&clean, &[5, 6], 0), []);
    assert_eq!(hindrances(&clean, &[1, 4, 5], 2), [Hindrance::Scans(2), Hindrance::Backups(2)]);
    assert_eq!(
        hindrances(&after(&WHOLE[..2]), &[9], 1),
        [Hindrance::Unproven, Hindrance::Scans(1), Hindrance::Backups(1)]
    );
}

#[test]
fn what_cannot_happen_is_refused() {
    let clean = after(&WHOLE);
    assert_eq!(clean.after(Event::Added(2)), Err(Refused));
    assert_eq!(clean.after(Event::Retired(2)), Err(Refused), "it is written under");
    assert_eq!(clean.after(Event::Found(1)), Err(Refused), "no sweep is under way");
    assert_eq!(clean.after(Event::SweepEnded { era: 6 }), Err(Refused));
    assert_eq!(after(&WHOLE[..2]).after(Event::Retired(1)), Err(Refused), "nothing is proven of it");
    let retired = clean.after(Event::Retired(1)).unwrap();
    assert_eq!((retired.stage(1), retired.stage(2)), (None, Some(Stage::Writing)));
}

#[test]
fn a_later_ring_tells_what_its_writer_did_not() {
    let met = after(&WHOLE).met(&[2, 3]);
    assert_eq!((met.stage(1), met.stage(2), met.stage(3)), (None, Some(Stage::Draining), Some(Stage::Writing)));
}
