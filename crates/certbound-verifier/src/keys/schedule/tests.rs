//! Tests single rules, and the rules that apply in every sequence of demands, fetches and pauses.

use proptest::prelude::*;

use super::*;

const START: u64 = 1_800_000_000;

/// A schedule whose clock and issuer the test controls, and a record of the schedule's actions.
#[derive(Clone)]
struct World {
    schedule: Schedule,
    now: UnixTime,
    flight: Option<Flight>,
    /// The time of each fetch. The flag is true if an unknown key caused the fetch.
    begun: Vec<(u64, bool)>,
    /// The time at which the fetch of the present keys began.
    fetched: Option<u64>,
    /// The number of failed fetches since the last success, and the time at which the last failed fetch ended.
    failures: (u32, u64),
}

impl World {
    fn new() -> Self {
        let now = UnixTime::from_secs(START);
        let schedule = Schedule::default();
        Self { schedule, now, flight: None, begun: Vec::new(), fetched: None, failures: (0, 0) }
    }

    /// A world whose keys were fetched now.
    fn with_keys() -> Self {
        let mut world = Self::new();
        assert_eq!(world.demand(Wanted::Unknown), Answer::Wait);
        world.end(End::Keys);
        world
    }

    fn secs(&self) -> u64 {
        self.now.as_secs() - START
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn age(&self) -> u64 {
        self.fetched.map_or(u64::MAX, |fetched| self.secs() - fetched)
    }

    fn demand(&mut self, wanted: Wanted) -> Answer {
        self.demand_by(wanted, true)
    }

    /// Makes a demand, and checks the rules that apply to every demand.
    fn demand_by(&mut self, wanted: Wanted, may_fetch: bool) -> Answer {
        let believed = self.age() < 24 * 3600;
        let lost = self.flight.filter(|flight| self.now.since(flight.began) >= LOST_AFTER);
        if lost.is_some() {
            self.failures = (self.failures.0 + 1, self.secs());
            self.flight = None;
        }
        let Decision { answer, begin } = self.schedule.demand(self.now, wanted, may_fetch);
        if let Some(flight) = begin {
            assert!(may_fetch, "a token that is refused anyway began a fetch");
            assert!(self.flight.is_none(), "two fetches at once");
            let (times, ended) = self.failures;
            if times > 0 {
                let pause = (10 << (times - 1).min(10)).min(300);
                assert!(self.secs() >= ended + pause, "{times} failures, the last at {ended}");
            }
            let by_unknown = believed && wanted == Wanted::Unknown;
            let last = self.begun.iter().rev().find(|(_, by_unknown)| *by_unknown);
            if let Some((last, _)) = last.filter(|_| by_unknown && times == 0) {
                assert!(self.secs() >= last + 30, "two unknown keys within 30 s");
            }
            if wanted == Wanted::Known {
                assert!(self.age() >= 3600, "young keys were fetched again");
            }
            self.begun.push((self.secs(), by_unknown));
            self.flight = Some(flight);
        }
        match answer {
            Answer::Use => assert!(believed && wanted == Wanted::Known),
            Answer::Unknown => assert!(believed && wanted == Wanted::Unknown && self.failures.0 == 0),
            Answer::Unavailable => {
                assert!(!believed || (wanted == Wanted::Unknown && self.failures.0 > 0));
            }
            Answer::Wait => assert!(may_fetch && self.flight.is_some()),
        }
        if wanted == Wanted::Known && believed {
            let idle = self.failures.0 == 0 && self.age() >= 3600 + 600;
            assert!(answer == Answer::Use || idle, "a known key waited, or was refused");
            assert!(!(may_fetch && idle && answer == Answer::Use), "keys of {} s were used", self.age());
        }
        answer
    }

    /// Ends the fetch in progress.
    fn end(&mut self, end: End) {
        let Some(flight) = self.flight.take() else { return };
        assert!(self.schedule.ended(flight, self.now, end));
        if end == End::Keys {
            self.fetched = Some(flight.began.as_secs() - START);
            self.failures = (0, 0);
        } else {
            self.failures = (self.failures.0 + 1, self.secs());
        }
        if end == End::Withdrawn {
            self.fetched = None;
        }
        assert!(!self.schedule.ended(flight, self.now, End::Keys), "a fetch ends once");
        for wanted in [Wanted::Known, Wanted::Unknown] {
            assert_ne!(
                self.schedule.answer(self.now, wanted),
                Answer::Wait,
                "those who waited have an answer"
            );
        }
    }
}

#[test]
fn an_unknown_key_asks_at_once_after_the_first_fetch_and_then_every_30_s() {
    let mut world = World::with_keys();
    assert_eq!(world.demand(Wanted::Unknown), Answer::Wait, "the first fetch costs no cool-down");
    world.end(End::Keys);
    for _ in 0..30 {
        assert_eq!(world.demand(Wanted::Unknown), Answer::Unknown);
        world.pass(1);
    }
    assert_eq!(world.demand(Wanted::Unknown), Answer::Wait);
    assert_eq!(world.begun.len(), 3);
}

#[test]
fn a_failure_is_tried_again_after_10_s_doubling_to_300() {
    let mut world = World::with_keys();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert_eq!(world.demand(Wanted::Unknown), Answer::Wait);
        world.end(End::Failed);
        let ended = world.secs();
        while world.demand(Wanted::Unknown) == Answer::Unavailable {
            assert_eq!(world.demand(Wanted::Known), Answer::Use, "the last good keys");
            let left = world.schedule.retry_after(world.now);
            world.pass(1);
            assert!(left.as_secs() > 0);
        }
        pauses.push(world.secs() - ended);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    world.end(End::Keys);
    assert_eq!(world.demand(Wanted::Unknown), Answer::Unknown, "and a success ends it");
}

#[test]
fn keys_are_refreshed_ahead_every_hour_and_believed_for_a_day() {
    let mut world = World::with_keys();
    world.pass(3599);
    assert_eq!((world.demand(Wanted::Known), world.begun.len()), (Answer::Use, 1));
    world.pass(1);
    assert_eq!((world.demand(Wanted::Known), world.begun.len()), (Answer::Use, 2));
    world.end(End::Failed);
    world.pass(24 * 3600 - 3601);
    assert_eq!(world.demand(Wanted::Known), Answer::Use);
    world.end(End::Failed);
    world.pass(1);
    assert_eq!(world.demand(Wanted::Known), Answer::Unavailable, "not for ever");
}

#[test]
fn keys_that_were_withdrawn_are_believed_no_more() {
    let mut world = World::with_keys();
    world.pass(3600);
    assert_eq!(world.demand(Wanted::Known), Answer::Use);
    world.end(End::Withdrawn);
    assert_eq!(world.schedule.quiet(), None);
    for wanted in [Wanted::Known, Wanted::Unknown] {
        assert_eq!(world.demand(wanted), Answer::Unavailable);
    }
    world.pass(10);
    assert_eq!(world.demand(Wanted::Unknown), Answer::Wait, "a failure's pause");
    world.end(End::Keys);
    assert_eq!(world.demand(Wanted::Known), Answer::Use);
}

#[test]
fn keys_that_nobody_asked_for_are_refreshed_before_they_are_used() {
    let mut world = World::with_keys();
    world.pass(3600 + 600);
    assert_eq!(world.demand_by(Wanted::Known, false), Answer::Use, "for a token that is refused anyway");
    assert_eq!(world.demand(Wanted::Known), Answer::Wait);
    world.end(End::Failed);
    assert_eq!(world.demand(Wanted::Known), Answer::Use, "an issuer that is away keeps nobody waiting");
}

#[test]
fn a_fetch_that_never_ends_is_given_up() {
    let mut world = World::with_keys();
    assert_eq!(world.demand(Wanted::Unknown), Answer::Wait);
    let lost = world.flight.unwrap();
    world.pass(60);
    assert_eq!(world.demand(Wanted::Unknown), Answer::Unavailable);
    assert!(!world.schedule.ended(lost, world.now, End::Keys), "its result comes too late");
    world.pass(10);
    assert_eq!(world.demand(Wanted::Unknown), Answer::Wait);
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    for failed in [false, true] {
        let mut world = World::with_keys();
        world.demand(Wanted::Unknown);
        world.end(if failed { End::Failed } else { End::Keys });
        let now = world.now.minus(Duration::from_secs(365 * 24 * 3600));
        let decision = world.schedule.demand(now, Wanted::Known, true);
        assert_eq!(
            (decision.answer, decision.begin.is_some()),
            (Answer::Use, !failed),
            "keys of unknown age"
        );
        let later = now.plus(UNKNOWN_EVERY);
        if let Some(flight) = decision.begin {
            assert!(world.schedule.ended(flight, now, End::Keys));
        }
        let decision = world.schedule.demand(later, Wanted::Unknown, true);
        assert!(decision.begin.is_some(), "the pauses began anew");
        let expired = later.plus(KEEP_FOR);
        assert_eq!(world.schedule.answer(expired, Wanted::Known), Answer::Unavailable);
        let earlier = world.schedule.demand(now.minus(Duration::from_secs(3600)), Wanted::Unknown, true);
        assert_eq!(earlier.begin, None, "the fetch under way was given up as a failure");
    }
}

/// An event for a schedule.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Demand(Wanted, bool),
    End(End),
}

fn event() -> impl Strategy<Value = Event> {
    let wanted = prop_oneof![Just(Wanted::Known), Just(Wanted::Unknown)];
    prop_oneof![
        2 => (0_u64..12).prop_map(Event::Pass),
        1 => (0_u64..400).prop_map(Event::Pass),
        1 => (3000_u64..100_000).prop_map(Event::Pass),
        // Three of four tokens may start a fetch.
        6 => (wanted, 0..4).prop_map(|(wanted, hopeless)| Event::Demand(wanted, hopeless != 0)),
        3 => prop_oneof![6 => Just(End::Keys), 1 => Just(End::Withdrawn), 5 => Just(End::Failed)].prop_map(Event::End),
    ]
}

fn after(events: &[Event]) -> World {
    let mut world = World::new();
    for event in events {
        match event {
            Event::Pass(seconds) => world.pass(*seconds),
            Event::Demand(wanted, may_fetch) => {
                world.demand_by(*wanted, *may_fetch);
            }
            Event::End(end) => world.end(*end),
        }
    }
    world
}

/// Returns the largest number of fetches that began within `seconds` seconds.
fn most_within(begun: &[(u64, bool)], seconds: u64) -> usize {
    let from = |(at, (begin, _)): (usize, &(u64, bool))| {
        begun[at..].iter().take_while(|(other, _)| *other < begin + seconds).count()
    };
    begun.iter().enumerate().map(from).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Checks the rules in [`World::demand_by`]. In addition, at most 3 fetches begin within 10 s, and at most 4 within
    /// 30 s, in every order of demands, ends and pauses.
    #[test]
    fn fetches_are_bounded_in_every_sequence(events in prop::collection::vec(event(), 0..200)) {
        let world = after(&events);
        prop_assert!(most_within(&world.begun, 10) <= 3, "{:?}", world.begun);
        prop_assert!(most_within(&world.begun, 30) <= 4, "{:?}", world.begun);
    }

    /// Makes up to 7 demands in each round of 1 s to 4 s, in any mixture. Either all fetches succeed, or all fetches
    /// fail.
    #[test]
    fn a_flood_is_answered_by_few_fetches(
        flood in prop::collection::vec((prop::collection::vec((any::<bool>(), 0..4), 1..8), 0..4_u64), 300),
        good: bool,
        start in prop::collection::vec(event(), 0..20),
    ) {
        let mut world = after(&start);
        world.begun.clear();
        let from = world.secs();
        for (demands, takes) in flood {
            for (known, hopeless) in demands {
                let wanted = if known { Wanted::Known } else { Wanted::Unknown };
                world.demand_by(wanted, hopeless != 0);
            }
            world.pass(takes);
            world.end(if good { End::Keys } else { End::Failed });
            world.pass(1);
        }
        let seconds = world.secs() - from;
        // If fetches succeed, one begins in every 30 s, one is a refresh, and one is in progress. If they fail, the
        // pauses are 10, 20, 40 ... s.
        let most = if good { seconds / 30 + 3 } else { 8 + seconds / 300 };
        prop_assert!(world.begun.len() as u64 <= most, "{} in {seconds} s", world.begun.len());
    }

    /// Once the issuer answers again, the first demand after the pause gets the issuer's keys.
    #[test]
    fn recovery_comes_within_the_pause(events in prop::collection::vec(event(), 0..60)) {
        let mut world = after(&events);
        world.end(End::Failed);
        let recovered = world.secs();
        let pause = match world.failures {
            (0, _) => 30,
            (times, _) => (10 << (times - 1).min(10)).min(300),
        };
        world.begun.clear();
        while world.begun.is_empty() {
            world.demand(Wanted::Unknown);
            prop_assert!(world.secs() <= recovered + pause);
            world.pass(1);
        }
        world.end(End::Keys);
        prop_assert_eq!(world.schedule.answer(world.now, Wanted::Known), Answer::Use);
        prop_assert_eq!(world.schedule.answer(world.now, Wanted::Unknown), Answer::Unknown);
    }

    /// If one token with a known key is verified in each minute, the keys are never older than an hour and a minute.
    #[test]
    fn steady_traffic_keeps_the_keys_young(events in prop::collection::vec(event(), 0..40), flood: bool) {
        let mut world = after(&events);
        world.demand(Wanted::Unknown);
        world.end(End::Keys);
        world.pass(400);
        for minute in 0..300 {
            if flood {
                world.demand(Wanted::Unknown);
            }
            world.demand(Wanted::Known);
            world.end(End::Keys);
            prop_assert!(minute == 0 || world.age() <= 3600 + 60);
            world.pass(60);
        }
    }

    /// After any sequence of events, a clock that is set back delays the fetch of new keys by at most 11 minutes.
    #[test]
    fn a_clock_set_back_stops_no_recovery(
        events in prop::collection::vec(event(), 0..60),
        back in 0_u64..100_000_000,
    ) {
        let World { mut schedule, now, .. } = after(&events);
        let from = now.minus(Duration::from_secs(back));
        let longest = SET_BACK + LOST_AFTER + LONGEST_PAUSE;
        let mut now = from;
        let flight = loop {
            if let Some(flight) = schedule.demand(now, Wanted::Unknown, true).begin {
                break flight;
            }
            now = now.plus(Duration::from_secs(1));
            prop_assert!(now.since(from) <= longest);
        };
        prop_assert!(schedule.ended(flight, now, End::Keys));
        prop_assert_eq!(schedule.answer(now, Wanted::Known), Answer::Use);
        prop_assert_eq!(schedule.answer(now, Wanted::Unknown), Answer::Unknown);
    }

    /// After the clock is set back, old keys are used for at most 24 hours and 5 minutes more, counted from the next
    /// demand.
    #[test]
    fn a_clock_set_back_prolongs_no_keys(
        events in prop::collection::vec(event(), 0..60),
        back in 0_u64..100_000_000,
    ) {
        let World { mut schedule, now, .. } = after(&events);
        let now = now.minus(Duration::from_secs(back));
        if let Some(flight) = schedule.demand(now, Wanted::Known, true).begin {
            prop_assert!(schedule.ended(flight, now, End::Failed));
        }
        let later = now.plus(KEEP_FOR + SET_BACK);
        prop_assert_eq!(schedule.answer(later, Wanted::Known), Answer::Unavailable);
    }

    /// In the quiet time, a demand for a known key is answered with the present keys and begins no fetch.
    #[test]
    fn the_quiet_time_is_quiet(events in prop::collection::vec(event(), 0..60), at in 0_u64..100_000) {
        let world = after(&events);
        if let Some((from, until)) = world.schedule.quiet() {
            let now = from.plus(Duration::from_secs(at)).max(world.now);
            if now < until {
                let decision = world.schedule.clone().demand(now, Wanted::Known, true);
                prop_assert_eq!(decision, Decision { answer: Answer::Use, begin: None });
            }
        }
    }
}
