//! A record of the spans that a test opens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter::LevelFilter};

/// A second dispatcher, which records nothing. With a single dispatcher, `tracing` asks only the subscriber of the
/// thread that opens a span first. If that thread has no subscriber, `tracing` would turn this span off for the
/// recording thread too.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

/// The spans of one thread, in the order in which they were opened. Clones share the record.
#[derive(Clone, Default)]
pub struct RecordedSpans(Arc<Mutex<Vec<RecordedSpan>>>);

/// A span with the values of its fields as texts.
#[derive(Clone, Debug, Default)]
pub struct RecordedSpan {
    /// The name in the source, which is not `otel.name`.
    pub name: &'static str,
    /// The position of the parent in the record.
    pub parent: Option<usize>,
    /// The positions of the spans from which this span follows.
    pub follows: Vec<usize>,
    /// The fields that have a value.
    pub fields: BTreeMap<&'static str, String>,
    /// Whether the span has ended.
    pub is_closed: bool,
}

impl RecordedSpan {
    /// Returns the value of a field, or an empty text.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The position of a span in the record.
#[derive(Clone, Copy)]
struct Position(usize);

impl RecordedSpans {
    /// Records the spans of this thread up to this level, until the guard is dropped. Tasks of a runtime with one
    /// thread are included.
    pub fn begin(level: LevelFilter) -> (Self, DefaultGuard) {
        LazyLock::force(&SECOND);
        let spans = Self::default();
        let subscriber = tracing_subscriber::registry().with(spans.clone().with_filter(level));
        (spans, tracing::subscriber::set_default(subscriber))
    }

    /// Returns all spans so far.
    pub fn all(&self) -> Vec<RecordedSpan> {
        self.list().clone()
    }

    /// Returns the positions of the spans with this name.
    pub fn positions(&self, name: &str) -> Vec<usize> {
        let named = |(at, span): (usize, &RecordedSpan)| (span.name == name).then_some(at);
        self.list().iter().enumerate().filter_map(named).collect()
    }

    /// Returns one line for each span: its name, indented by its depth.
    pub fn tree(&self) -> Vec<String> {
        let spans = self.list();
        let depth = |span: &RecordedSpan| {
            std::iter::successors(span.parent, |at| spans.get(*at).and_then(|span| span.parent)).count()
        };
        spans.iter().map(|span| format!("{}{}", "  ".repeat(depth(span)), span.name)).collect()
    }

    fn list(&self) -> MutexGuard<'_, Vec<RecordedSpan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, position: Option<Position>, change: impl FnOnce(&mut RecordedSpan)) {
        if let Some(Position(at)) = position {
            self.list().get_mut(at).map(change);
        }
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RecordedSpans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| position(&parent));
        let mut recorded = RecordedSpan {
            name: attributes.metadata().name(),
            parent: parent.map(|Position(at)| at),
            ..RecordedSpan::default()
        };
        attributes.record(&mut Fields(&mut recorded.fields));
        let mut list = self.list();
        span.extensions_mut().insert(Position(list.len()));
        list.push(recorded);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.change(context.span(id).and_then(|span| position(&span)), |span| {
            values.record(&mut Fields(&mut span.fields));
        });
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let follows = context.span(follows).and_then(|span| position(&span));
        self.change(context.span(id).and_then(|span| position(&span)), |span| {
            span.follows.extend(follows.map(|Position(at)| at));
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.change(context.span(&id).and_then(|span| position(&span)), |span| span.is_closed = true);
    }
}

fn position<'a, S: LookupSpan<'a>>(span: &tracing_subscriber::registry::SpanRef<'a, S>) -> Option<Position> {
    span.extensions().get::<Position>().copied()
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}
