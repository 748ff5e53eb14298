//! Transactions of many threads at once: whatever they do to each other, it is as if one had followed the other. Each with
//! a control that does the same without a transaction and is found out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use strongroom::{CollectionDef, Durability, Result, Session, Transaction};

use crate::chance::Chance;
use crate::engines::with_session;

const ACCOUNTS: CollectionDef<u64, u64> = CollectionDef::bincode("accounts").durability(Durability::Buffered);
const MAIL: CollectionDef<(&str, u64), u64> = CollectionDef::cbor("mail");
const ON_CALL: CollectionDef<&str, bool> = CollectionDef::bincode("on-call");

const COUNT: u64 = 8;
const EACH: u64 = 1000;
const THREADS: u64 = 4;
const TRANSFERS: u64 = 300;

fn open_accounts(session: &Session) {
    let accounts = session.collection(&ACCOUNTS).unwrap();
    (0..COUNT).for_each(|account| assert!(accounts.put(&account, &EACH).is_ok()));
}

fn total(session: &Session) -> u64 {
    session.collection(&ACCOUNTS).unwrap().iter().unwrap().map(|row| row.unwrap().1).sum()
}

fn transfer(transaction: &mut Transaction, from: u64, to: u64, amount: u64) -> Result<()> {
    transaction.durability(Durability::Buffered);
    let (has, gets) = (transaction.get(&ACCOUNTS, &from)?.unwrap(), transaction.get(&ACCOUNTS, &to)?.unwrap());
    let amount = amount.min(has);
    transaction.put(&ACCOUNTS, &from, &(has - amount))?;
    transaction.put(&ACCOUNTS, &to, &(gets + amount)).map(drop)
}

/// The same, with what was read a moment ago, whether it still holds or not.
fn transfer_blindly(session: &Session, from: u64, to: u64, amount: u64) -> Result<()> {
    let accounts = session.collection(&ACCOUNTS)?;
    let (has, gets) = (accounts.get(&from)?.unwrap(), accounts.get(&to)?.unwrap());
    std::thread::yield_now();
    let (batch, amount) = (session.batch().durability(Durability::Buffered), amount.min(has));
    batch.put(&ACCOUNTS, &from, &(has - amount))?.put(&ACCOUNTS, &to, &(gets + amount))?.commit().map(drop)
}

/// Lets threads transfer between random accounts, and an auditor sum them up meanwhile in transactions. Returns how often
/// the sum was another than it must be, in the end too.
fn run_bank(session: &Session, is_validated: bool) -> u64 {
    open_accounts(session);
    let (wrong, ended, audits) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let expected = COUNT * EACH;
    std::thread::scope(|scope| {
        let tellers = (0..THREADS).map(|thread| {
            scope.spawn(move || {
                let mut chance = Chance::new(thread + 1);
                for _ in 0..TRANSFERS {
                    let (from, step) =
                        (chance.below(COUNT as usize) as u64, 1 + chance.below(COUNT as usize - 1) as u64);
                    let (to, amount) = ((from + step) % COUNT, chance.below(50) as u64);
                    match is_validated {
                        true => session.transact(|transaction| transfer(transaction, from, to, amount)).unwrap(),
                        false => transfer_blindly(session, from, to, amount).unwrap(),
                    }
                }
            })
        });
        let tellers: Vec<_> = tellers.collect();
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                // Before the commit too: what a transaction reads is of one moment.
                let mut audit = session.transaction();
                let sum: u64 = (0..COUNT).map(|account| audit.get(&ACCOUNTS, &account).unwrap().unwrap()).sum();
                wrong.fetch_add(u64::from(sum != expected), Ordering::SeqCst);
                audits.fetch_add(u64::from(audit.commit().is_ok()), Ordering::SeqCst);
            }
        });
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
        ended.store(true, Ordering::SeqCst);
    });
    println!("audits that were committed: {audits:?}");
    wrong.into_inner() + u64::from(total(session) != expected)
}

#[test]
fn transfers_between_accounts_keep_their_sum() {
    with_session(|session| assert_eq!(run_bank(session, true), 0));
}

#[test]
fn control_transfers_that_prove_nothing_lose_money() {
    with_session(|session| assert!(run_bank(session, false) > 0));
}

/// Both doctors are on call; each leaves if the other stays. Returns how many stay.
fn leave_at_once(session: &Session, is_validated: bool) -> usize {
    let on_call = session.collection(&ON_CALL).unwrap();
    ["ada", "bob"].iter().for_each(|name| assert!(on_call.put(name, &true).is_ok()));
    let both_have_read = Arc::new(Barrier::new(2));
    std::thread::scope(|scope| {
        for (me, other) in [("ada", "bob"), ("bob", "ada")] {
            let both_have_read = both_have_read.clone();
            scope.spawn(move || {
                let mut is_first = true;
                let work = |transaction: &mut Transaction| {
                    let stays = transaction.get(&ON_CALL, &other)?.unwrap();
                    if std::mem::take(&mut is_first) {
                        both_have_read.wait();
                    }
                    if stays { transaction.put(&ON_CALL, &me, &false).map(drop) } else { Ok(()) }
                };
                match is_validated {
                    true => session.transact(work).unwrap(),
                    false => {
                        let on_call = session.collection(&ON_CALL).unwrap();
                        let stays = on_call.get(&other).unwrap().unwrap();
                        both_have_read.wait();
                        if stays {
                            on_call.put(&me, &false).unwrap();
                        }
                    }
                }
            });
        }
    });
    ["ada", "bob"].iter().filter(|name| on_call.get(name).unwrap().unwrap()).count()
}

#[test]
fn two_who_rely_on_each_other_do_not_both_leave() {
    with_session(|session| (0..20).for_each(|_| assert_eq!(leave_at_once(session, true), 1)));
}

#[test]
fn control_without_a_transaction_both_leave() {
    with_session(|session| assert_eq!(leave_at_once(session, false), 0));
}

/// Each thread moves every message to a folder of its own. Returns how many copies there are.
fn move_at_once(session: &Session, is_validated: bool) -> usize {
    const MESSAGES: u64 = 30;
    const FOLDERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mail = session.collection(&MAIL).unwrap();
    (0..MESSAGES).for_each(|number| assert!(mail.put(&("inbox", number), &number).is_ok()));
    let moved = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for folder in FOLDERS {
            let (moved, mail) = (&moved, &mail);
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let was_mine = match is_validated {
                        true => session.transact(|transaction| {
                            let Some(found) = transaction.get(&MAIL, &("inbox", number))? else { return Ok(false) };
                            transaction.put(&MAIL, &(folder, number), &found)?;
                            transaction.delete(&MAIL, &("inbox", number))?;
                            Ok::<_, strongroom::Error>(true)
                        }),
                        false => mail.get(&("inbox", number)).map(|found| {
                            std::thread::sleep(std::time::Duration::from_micros(200));
                            found.map(|found| mail.put(&(folder, number), &found).unwrap()).is_some()
                        }),
                    };
                    moved.fetch_add(u64::from(was_mine.unwrap()), Ordering::SeqCst);
                }
            });
        }
    });
    if is_validated {
        assert_eq!(moved.into_inner(), MESSAGES, "each was moved by one of them");
        assert_eq!(mail.prefix(("inbox",)).unwrap().count(), 0);
    }
    FOLDERS.iter().map(|folder| mail.prefix((*folder,)).unwrap().count()).sum()
}

#[test]
fn a_message_is_moved_once_whoever_moves_it() {
    with_session(|session| assert_eq!(move_at_once(session, true), 30));
}

#[test]
fn control_without_a_transaction_there_are_copies() {
    with_session(|session| assert!(move_at_once(session, false) > 30));
}
