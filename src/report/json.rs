//! A report as one JSON document: the model as it is.

use crate::engine::line::spelled_out;
use serde::Serialize;

use super::model::Report;

/// The version of the document's schema.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    r#type: &'static str,
    generator: Generator,
    #[serde(flatten)]
    report: &'a Report,
}

#[derive(Serialize)]
struct Generator {
    name: &'static str,
    version: &'static str,
}

/// With a line end.
pub fn render(report: &Report) -> String {
    let generator = Generator { name: "divulge", version: env!("CARGO_PKG_VERSION") };
    let document = Document { schema: SCHEMA, r#type: "report", generator, report };
    let text =
        serde_json::to_string_pretty(&document).expect("a report holds nothing but strings, numbers and lists of them");
    spelled_out(text) + "\n"
}

#[cfg(test)]
mod tests {
    use crate::report::model::sample;

    #[test]
    fn the_document_holds_hosts_flows_and_totals() {
        let document: serde_json::Value = serde_json::from_str(&super::render(&sample::report())).expect("it is JSON");
        assert_eq!((&document["schema"], &document["type"]), (&1.into(), &"report".into()));
        assert_eq!(document["totals"]["findings"], 3);
        assert_eq!(document["hosts"][1]["facts"][0]["places"][0]["count"], 2);
        assert_eq!(document["flows"][1]["verdict"], "edited");
    }
}
