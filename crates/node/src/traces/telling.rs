//! Hears what happens in a node, and tells a collector: all that knows OpenTelemetry's library.

use super::Collector;
use super::spans::{Rollouts, Said, Span, Works, part};
use crate::driver::{Gone, Handle};
use content::fact::{JournalName, Position};
use content::{AppName, NodeId, Role};
use engine::door::{Answer, Event, Request};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Facts that are read at once.
const PAGE: u32 = 100;

/// Tells what a node does.
pub(crate) struct Teller {
    exporter: SpanExporter,
    handle: Handle,
    events: Receiver<Event>,
    node: NodeId,
    /// The journal of an origin, and how far it was read.
    journals: Vec<(JournalName, Option<Position>)>,
    rollouts: Rollouts,
    works: Works,
    /// Whether the collector took what it was told last: that it does not is said once.
    is_taken: bool,
}

impl Teller {
    /// Of a node whose driver does not run yet, so that nothing that happens is missed.
    pub(crate) fn new(
        collector: &Collector,
        handle: Handle,
        (node, name, role): (NodeId, &str, Role),
        journals: Vec<JournalName>,
    ) -> Result<Self, String> {
        let client = HyperClient::with_default_connector(PATIENCE, None);
        let exporter =
            SpanExporter::builder().with_http().with_http_client(client).with_endpoint(collector.to_string());
        let mut exporter = exporter.with_timeout(PATIENCE).build().map_err(|error| error.to_string())?;
        exporter.set_resource(&resource(node, name, role));
        Ok(Self {
            exporter,
            events: handle.events.subscribe(),
            handle,
            node,
            journals: journals.into_iter().map(|journal| (journal, None)).collect(),
            rollouts: Rollouts::default(),
            works: Works::default(),
            is_taken: true,
        })
    }

    /// Ends with the node.
    pub(crate) async fn run(mut self) {
        let ended = self.tell_all().await;
        tracing::debug!(?ended, "traces end");
    }

    async fn tell_all(&mut self) -> Result<(), Gone> {
        self.read_on().await?;
        loop {
            let spans = match self.events.recv().await {
                Ok(Event::Phase { app, release, phase }) => {
                    let now = SystemTime::now();
                    match self.works.phase(now, (&app, release, phase)) {
                        Some(begin) => self.part(&app, (begin, now)).await?,
                        None => Vec::new(),
                    }
                }
                Ok(Event::Appended { .. }) | Err(RecvError::Lagged(_)) => self.read_on().await?,
                Ok(_) => Vec::new(),
                Err(RecvError::Closed) => return Ok(()),
            };
            if !spans.is_empty() {
                self.tell(spans).await;
            }
        }
    }

    /// What has ended by facts that are new. The first time there is nothing to tell: what began before is not known.
    async fn read_on(&mut self) -> Result<Vec<Span>, Gone> {
        let mut spans = Vec::new();
        for (journal, at) in &mut self.journals {
            loop {
                let (from, most) = at.map_or((Position { generation: 1, index: 0 }, 0), |at| (at, PAGE));
                let asked = Request::Journal { journal: journal.clone(), from, most };
                let Answer::Journal { entries, stands } = self.handle.ask(asked).await? else { return Err(Gone) };
                let now = SystemTime::now();
                entries.iter().for_each(|entry| spans.extend(self.rollouts.fact(now, &entry.fact)));
                let next = entries.last().map(|entry| Position { index: entry.at.index + 1, ..entry.at });
                match (at.is_some(), next) {
                    (true, Some(next)) => *at = Some(next),
                    (true, None) => break,
                    (false, _) => {
                        *at = Some(stands);
                        break;
                    }
                }
            }
        }
        Ok(spans)
    }

    async fn part(&self, app: &AppName, times: (SystemTime, SystemTime)) -> Result<Vec<Span>, Gone> {
        let Answer::Status(status) = self.handle.ask(Request::Status).await? else { return Err(Gone) };
        let own = status.nodes.iter().find(|known| known.node == self.node);
        let app = own.and_then(|own| own.apps.iter().find(|known| known.app == *app));
        Ok(app.map(|app| part(self.node, app, times)).unwrap_or_default())
    }

    async fn tell(&mut self, spans: Vec<Span>) {
        let told = self.exporter.export(spans.into_iter().map(data).collect()).await;
        match (&told, self.is_taken) {
            (Err(error), true) => {
                tracing::warn!(%error, "the collector takes no spans; what is told meanwhile is lost, and all else goes on");
            }
            (Ok(()), false) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        self.is_taken = told.is_ok();
    }
}

fn resource(node: NodeId, name: &str, role: Role) -> Resource {
    let role = if role == Role::Origin { "origin" } else { "agent" };
    Resource::builder_empty()
        .with_service_name("tiding")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_string()),
            KeyValue::new("host.name", name.to_owned()),
            KeyValue::new("tiding.role", role),
        ])
        .build()
}

fn data(span: Span) -> SpanData {
    let (trace, id) = (TraceId::from_bytes(span.trace), SpanId::from_bytes(span.id));
    let said = span.said.into_iter().map(|(key, said)| match said {
        Said::Text(text) => KeyValue::new(key, text),
        Said::Number(number) => KeyValue::new(key, number),
    });
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: span.begin,
        end_time: span.end,
        attributes: said.collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.trouble.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("tiding").build(),
    }
}
