//! The single flight, under every order in which threads can take its locks (loom). The file is the library's own; only
//! its lock is another.
#![expect(clippy::unwrap_used, reason = "a failure is a panic")]

#[path = "../../src/cache/flight/single.rs"]
mod single;
mod sync;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use single::{Flights, Load, Panicked};

type Shared = Arc<Flights<&'static str, usize>>;

/// What is fetched: ready when somebody opens the gate.
#[derive(Default)]
struct Gate {
    open: Mutex<(bool, Option<Waker>)>,
    fetches: AtomicUsize,
}

impl Gate {
    fn load(self: &Arc<Self>) -> Load<usize> {
        let gate = Arc::clone(self);
        let number = gate.fetches.fetch_add(1, Ordering::SeqCst);
        Box::pin(poll_fn(move |context| {
            let mut open = gate.open.lock().unwrap();
            if open.0 {
                return Poll::Ready(number);
            }
            open.1 = Some(context.waker().clone());
            Poll::Pending
        }))
    }

    fn open(&self) {
        let waker = {
            let mut open = self.open.lock().unwrap();
            open.0 = true;
            open.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn every_order(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    // Every order with at most three switches that no lock forced; all of them would take hours.
    model.preemption_bound = Some(3);
    model.check(test);
}

/// Whether it was woken, for polls by hand.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn who_waits_is_served_and_what_overlaps_is_fetched_once() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        let other = {
            let (flights, gate) = (Arc::clone(&flights), Arc::clone(&gate));
            loom::thread::spawn(move || {
                let boarded = flights.board("key", || gate.load());
                let joined = boarded.joined();
                (loom::future::block_on(boarded).unwrap(), joined)
            })
        };
        let opener = {
            let gate = Arc::clone(&gate);
            loom::thread::spawn(move || gate.open())
        };
        let boarded = flights.board("key", || gate.load());
        let joined = boarded.joined();
        let mine = (loom::future::block_on(boarded).unwrap(), joined);
        let theirs = other.join().unwrap();
        opener.join().unwrap();
        assert_eq!(gate.fetches(), 2 - usize::from(mine.1) - usize::from(theirs.1));
        assert!(!(mine.1 && theirs.1), "somebody started it");
        if mine.1 || theirs.1 {
            assert_eq!(mine.0, theirs.0);
        }
        assert_eq!(flights.len(), 0);
    });
}

/// Who has been served and asks again wants what is new, also while the flight is being taken off the list.
#[test]
fn what_has_landed_is_not_joined() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        gate.open();
        let twice = |flights: &Shared, gate: &Arc<Gate>| {
            let first = loom::future::block_on(flights.board("key", || gate.load())).unwrap();
            let second = loom::future::block_on(flights.board("key", || gate.load())).unwrap();
            assert!(second > first, "{second} was fetched before {first} was served");
        };
        let other = {
            let (flights, gate) = (Arc::clone(&flights), Arc::clone(&gate));
            loom::thread::spawn(move || twice(&flights, &gate))
        };
        twice(&flights, &gate);
        other.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn one_who_gives_up_at_any_moment_strands_nobody() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        // Started by the one who will give up, so that its waker is what the fetch knows.
        let starter = flights.board("key", || gate.load());
        let patient = flights.board("key", || unreachable!("one is under way"));
        assert!(patient.joined());
        let gives_up = {
            let flights = Arc::clone(&flights);
            let gate = Arc::clone(&gate);
            drop(starter);
            loom::thread::spawn(move || {
                let mut impatient = flights.board("key", || gate.load());
                let woken = Waker::from(Arc::new(Woken::default()));
                let _ = std::pin::Pin::new(&mut impatient).poll(&mut Context::from_waker(&woken));
                drop(impatient);
            })
        };
        let opener = {
            let gate = Arc::clone(&gate);
            loom::thread::spawn(move || gate.open())
        };
        assert_eq!(loom::future::block_on(patient), Ok(0));
        gives_up.join().unwrap();
        opener.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn when_all_give_up_the_fetch_is_dropped_and_the_list_is_empty() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        let leave = |flights: &Shared, gate: &Arc<Gate>| {
            let mut boarded = pin!(flights.board("key", || gate.load()));
            let _ = boarded.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        };
        let other = {
            let (flights, gate) = (Arc::clone(&flights), Arc::clone(&gate));
            loom::thread::spawn(move || leave(&flights, &gate))
        };
        leave(&flights, &gate);
        other.join().unwrap();
        assert_eq!(flights.len(), 0);
        assert_eq!(Arc::strong_count(&gate), 1, "a fetch that nobody waits for is still there");
    });
}

#[test]
fn a_panic_reaches_all_who_wait_and_nobody_else() {
    every_order(|| {
        let flights = Shared::default();
        let panics = || -> Load<usize> { Box::pin(poll_fn(|_| std::panic::resume_unwind(Box::new(())))) };
        let other = {
            let flights = Arc::clone(&flights);
            loom::thread::spawn(move || loom::future::block_on(flights.board("key", panics)))
        };
        assert_eq!(loom::future::block_on(flights.board("key", panics)), Err(Panicked));
        assert_eq!(other.join().unwrap(), Err(Panicked));
        assert_eq!(flights.len(), 0);
        let well = flights.board("key", || Box::pin(std::future::ready(7)));
        assert_eq!(loom::future::block_on(well), Ok(7));
    });
}

#[test]
fn another_key_is_another_flight() {
    every_order(|| {
        let (flights, shut, open) = (Shared::default(), Arc::new(Gate::default()), Arc::new(Gate::default()));
        open.open();
        let mut stuck = pin!(flights.board("stuck", || shut.load()));
        assert!(stuck.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let other = {
            let flights = Arc::clone(&flights);
            loom::thread::spawn(move || loom::future::block_on(flights.board("free", || open.load())))
        };
        assert_eq!(other.join().unwrap(), Ok(0));
        assert_eq!(flights.len(), 1);
    });
}

/// Held and never polled again, as a future in a `select!` that went another way is.
struct Held<F>(F);

impl<F: std::future::Future + Unpin> Held<F> {
    fn polled_once(mut future: F) -> Self {
        let _ = std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
        Self(future)
    }
}

#[test]
fn one_who_is_held_and_never_polled_again_holds_up_nobody() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        let held = Held::polled_once(flights.board("key", || gate.load()));
        let other = {
            let (flights, gate) = (Arc::clone(&flights), Arc::clone(&gate));
            loom::thread::spawn(move || loom::future::block_on(flights.board("key", || gate.load())))
        };
        let opener = {
            let gate = Arc::clone(&gate);
            loom::thread::spawn(move || gate.open())
        };
        assert_eq!(other.join().unwrap(), Ok(0));
        opener.join().unwrap();
        drop(held.0);
        assert_eq!(flights.len(), 0);
    });
}

/// The flight goes on though nobody who waits is polled.
#[test]
fn a_driver_lands_a_flight_whose_waiters_are_not_polled() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        let boarded = flights.board("key", || gate.load());
        let driver = boarded.driver();
        let held = Held::polled_once(boarded);
        let driver = loom::thread::spawn(move || loom::future::block_on(driver));
        let opener = {
            let gate = Arc::clone(&gate);
            loom::thread::spawn(move || gate.open())
        };
        driver.join().unwrap();
        opener.join().unwrap();
        assert_eq!(Arc::strong_count(&gate), 1, "the fetch is over");
        assert_eq!(loom::future::block_on(held.0), Ok(0));
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn a_driver_ends_when_all_have_left_whatever_it_does() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        let boarded = flights.board("key", || gate.load());
        let driver = boarded.driver();
        let driver = loom::thread::spawn(move || loom::future::block_on(driver));
        let mut boarded = pin!(boarded);
        let _ = boarded.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let opener = {
            let gate = Arc::clone(&gate);
            loom::thread::spawn(move || gate.open())
        };
        boarded.set(flights.board("other", || Box::pin(std::future::pending())));
        driver.join().unwrap();
        opener.join().unwrap();
        assert_eq!(Arc::strong_count(&gate), 1, "a fetch that nobody waits for is still there");
        assert_eq!(flights.len(), 1);
    });
}

/// Its runtime ends: those who wait in another one go on by themselves.
#[test]
fn a_driver_that_is_dropped_strands_nobody() {
    every_order(|| {
        let (flights, gate) = (Shared::default(), Arc::new(Gate::default()));
        let boarded = flights.board("key", || gate.load());
        let driver = boarded.driver();
        let ends = loom::thread::spawn(move || drop(Held::polled_once(driver)));
        let opener = {
            let gate = Arc::clone(&gate);
            loom::thread::spawn(move || gate.open())
        };
        assert_eq!(loom::future::block_on(boarded), Ok(0));
        ends.join().unwrap();
        opener.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}
