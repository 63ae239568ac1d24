//! OTLP in the JSON of protobuf: lines as logs, counters as metrics.
//!
//! Metrics are read off the text that Prometheus scrapes, so both tell the same: `divulge_findings_total` there is the sum
//! `divulge.findings` here, which is what collectors turn into each other.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::SinkParts;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: everything since the start, so that a report that is lost costs nothing.
const CUMULATIVE: u8 = 2;

/// `ExportLogsServiceRequest`: one record a line.
pub fn logs(lines: &[String], parts: &SinkParts) -> Value {
    let records: Vec<Value> = lines.iter().map(|line| record(line)).collect();
    json!({"resourceLogs": [{"resource": resource(parts), "scopeLogs": [{"scope": scope(), "logRecords": records}]}]})
}

/// `ExportMetricsServiceRequest` of what `text` (OpenMetrics) counts since `began`.
pub fn metrics(text: &str, began: SystemTime, now: SystemTime, parts: &SinkParts) -> Value {
    let times = Times { began: nanos(began), now: nanos(now) };
    let list: Vec<Value> = families(text).iter().filter_map(|family| family.metric(&times)).collect();
    json!({"resourceMetrics": [{"resource": resource(parts), "scopeMetrics": [{"scope": scope(), "metrics": list}]}]})
}

/// Which process speaks: sums of several are told apart by it.
fn resource(parts: &SinkParts) -> Value {
    let attributes = [
        text_attribute("service.name", "divulge"),
        text_attribute("service.version", env!("CARGO_PKG_VERSION")),
        text_attribute("service.instance.id", &parts.instance),
        text_attribute("host.name", &parts.host),
    ];
    json!({"attributes": attributes})
}

fn scope() -> Value {
    json!({"name": "divulge", "version": env!("CARGO_PKG_VERSION")})
}

fn record(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    let (number, name) = match value["severity"].as_str() {
        Some("high") => (17, "ERROR"),
        Some("medium") => (13, "WARN"),
        _ => (9, "INFO"),
    };
    let mut attributes = Vec::new();
    for key in [
        "id", "session", "flow", "host", "method", "client", "kind", "location", "action", "rule", "user", "group",
        "verdict",
    ] {
        if let Some(text) = value[key].as_str() {
            attributes.push(text_attribute(&format!("divulge.{key}"), text));
        }
    }
    let event = if value["type"] == "flow" { "divulge.flow" } else { "divulge.finding" };
    let time = value["time"].as_str().and_then(|text| {
        let format = time::format_description::well_known::Rfc3339;
        Some(time::OffsetDateTime::parse(text, &format).ok()?.unix_timestamp_nanos().to_string())
    });
    json!({
        "timeUnixNano": time.unwrap_or_else(|| "0".into()),
        "severityNumber": number,
        "severityText": name,
        "eventName": event,
        "body": {"stringValue": line},
        "attributes": attributes,
    })
}

fn text_attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

struct Times {
    began: String,
    now: String,
}

/// All samples of one name.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    samples: Vec<Sample<'a>>,
}

#[derive(Debug)]
struct Sample<'a> {
    /// What follows the family's name: `_total`, `_bucket`, `_sum`, `_count`, or nothing.
    suffix: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: &'a str,
}

/// Reads the text that our own registry writes: no timestamps, no exemplars, no label with a quote in it.
fn families(text: &str) -> Vec<Family<'_>> {
    let mut all: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            all.push(Family { name, help: help.trim_end_matches('.'), ..Family::default() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            if let (Some(family), Some((_, kind))) = (all.last_mut(), rest.split_once(' ')) {
                family.kind = kind;
            }
        } else if let Some(family) = all.last_mut()
            && let Some(rest) = line.strip_prefix(family.name)
            && let Some((name, value)) = rest.rsplit_once(' ')
        {
            let (suffix, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
            let labels = labels.map(|(key, value)| (key, value.trim_matches('"'))).collect();
            family.samples.push(Sample { suffix, labels, value });
        }
    }
    all
}

impl Family<'_> {
    fn metric(&self, times: &Times) -> Option<Value> {
        let name = self.name.replacen('_', ".", 1);
        let (shape, data) = match self.kind {
            "counter" => {
                let points = self.points(times, "_total");
                ("sum", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true}))
            }
            "gauge" => ("gauge", json!({"dataPoints": self.points(times, "")})),
            "histogram" => {
                ("histogram", json!({"dataPoints": self.histograms(times), "aggregationTemporality": CUMULATIVE}))
            }
            _ => return None,
        };
        let some = data["dataPoints"].as_array().is_some_and(|points| !points.is_empty());
        some.then(|| json!({"name": name, "description": self.help, shape: data}))
    }

    fn points(&self, times: &Times, suffix: &str) -> Vec<Value> {
        let samples = self.samples.iter().filter(|sample| sample.suffix == suffix);
        samples
            .map(|sample| {
                let attributes = attributes(sample.labels.iter().copied());
                let mut point = json!({"attributes": attributes, "timeUnixNano": times.now, "asInt": sample.value});
                if suffix == "_total" {
                    point["startTimeUnixNano"] = times.began.as_str().into();
                }
                point
            })
            .collect()
    }

    fn histograms(&self, times: &Times) -> Vec<Value> {
        let mut points: BTreeMap<Vec<(&str, &str)>, Value> = BTreeMap::new();
        // Each bucket of the text counts all that is below it; each of a point, what the one before does not.
        let mut below: BTreeMap<Vec<(&str, &str)>, u64> = BTreeMap::new();
        for sample in &self.samples {
            let labels: Vec<_> = sample.labels.iter().copied().filter(|(key, _)| *key != "le").collect();
            let point = points.entry(labels.clone()).or_insert_with(|| {
                json!({
                    "attributes": attributes(labels.iter().copied()), "startTimeUnixNano": times.began, "timeUnixNano": times.now,
                    "bucketCounts": [], "explicitBounds": [],
                })
            });
            match sample.suffix {
                "_count" => point["count"] = sample.value.into(),
                "_sum" => point["sum"] = sample.value.parse::<f64>().unwrap_or_default().into(),
                "_bucket" => {
                    let count: u64 = sample.value.parse().unwrap_or_default();
                    let before = std::mem::replace(below.entry(labels).or_default(), count);
                    push(point, "bucketCounts", count.saturating_sub(before).to_string().into());
                    let bound =
                        sample.labels.iter().find(|(key, _)| *key == "le").map(|(_, bound)| bound.parse::<f64>());
                    if let Some(Ok(bound)) = bound
                        && bound.is_finite()
                    {
                        push(point, "explicitBounds", bound.into());
                    }
                }
                _ => {}
            }
        }
        points.into_values().collect()
    }
}

fn push(point: &mut Value, list: &str, value: Value) {
    if let Some(list) = point[list].as_array_mut() {
        list.push(value);
    }
}

fn attributes<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    labels.map(|(key, value)| text_attribute(key, value)).collect()
}
