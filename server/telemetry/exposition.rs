//! Text forms of metrics: OpenMetrics, and the text format of Prometheus for scrapers that do not ask for OpenMetrics.

use std::borrow::Cow;
use std::collections::HashMap;

/// A text form of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Text format 0.0.4 of Prometheus.
    Prometheus,
}

impl Format {
    /// Returns the form that a scraper prefers by its `Accept` headers: OpenMetrics only if it is named.
    pub fn negotiate<'h>(accept: impl Iterator<Item = &'h str>) -> Self {
        let (mut open_metrics, mut plain) = (0.0_f64, 0.0_f64);
        for range in accept.flat_map(|header| header.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, String::new());
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = value.trim().trim_matches('"').to_owned(),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if matches!(version.as_str(), "" | "0.0.1" | "1.0.0") => {
                    open_metrics = open_metrics.max(quality);
                }
                "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Renders the text of `prometheus-client`. It writes a metric once per sub-registry, which is once per account, but
    /// both forms forbid interleaved metrics and repeated descriptions.
    pub(super) fn render(self, text: &str) -> String {
        let mut rendered = String::with_capacity(text.len());
        for family in families(text) {
            for (keyword, line) in &family.head {
                rendered.push_str(&self.description(&family, keyword, line));
            }
            rendered.extend(family.samples);
        }
        if self == Self::OpenMetrics {
            rendered.push_str("# EOF\n");
        }
        rendered
    }

    /// The text format describes samples by their full name, knows no units, and neither infos nor unknown metrics.
    fn description<'t>(self, family: &MetricFamily<'t>, keyword: &str, line: &'t str) -> Cow<'t, str> {
        if self == Self::OpenMetrics {
            return line.into();
        }
        let kind = family.kind();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let text = line.splitn(4, ' ').nth(3).unwrap_or_default().trim_end();
        let text = match (keyword, kind) {
            ("TYPE", "info") => "gauge",
            ("TYPE", "unknown") => "untyped",
            ("HELP" | "TYPE", _) => text,
            _ => return "".into(),
        };
        format!("# {keyword} {}{suffix} {text}\n", family.name).into()
    }
}

/// A metric with the samples of all accounts.
struct MetricFamily<'t> {
    name: &'t str,
    /// Descriptions: keyword and line.
    head: Vec<(&'t str, &'t str)>,
    samples: Vec<&'t str>,
}

impl<'t> MetricFamily<'t> {
    /// Returns the type as OpenMetrics names it.
    fn kind(&self) -> &'t str {
        let line = self.head.iter().find(|(keyword, _)| *keyword == "TYPE").map(|(_, line)| *line);
        line.and_then(|line| line.split_ascii_whitespace().nth(3)).unwrap_or_default()
    }
}

fn families(text: &str) -> Vec<MetricFamily<'_>> {
    let mut families: Vec<MetricFamily<'_>> = Vec::new();
    let mut places = HashMap::new();
    let mut current = 0;
    for line in text.split_inclusive('\n') {
        let Some(described) = line.strip_prefix("# ") else {
            if let Some(family) = families.get_mut(current) {
                family.samples.push(line);
            }
            continue;
        };
        let mut words = described.split_ascii_whitespace();
        let (Some(keyword), Some(name)) = (words.next(), words.next()) else { continue };
        current = *places.entry(name).or_insert(families.len());
        if current == families.len() {
            families.push(MetricFamily { name, head: Vec::new(), samples: Vec::new() });
        }
        let head = &mut families[current].head;
        if !head.iter().any(|(known, _)| *known == keyword) {
            head.push((keyword, line));
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scraper_gets_form_that_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (vec![], Format::Prometheus),
            (vec!["*/*"], Format::Prometheus),
            (vec!["text/html, text/plain"], Format::Prometheus),
            (vec!["application/openmetrics-text"], Format::OpenMetrics),
            (vec!["Application/OpenMetrics-Text; Version=\"1.0.0\""], Format::OpenMetrics),
            (vec![prometheus], Format::OpenMetrics),
            (vec!["text/plain", "application/openmetrics-text"], Format::OpenMetrics),
            (vec!["application/openmetrics-text;q=0.2, text/plain;q=0.9"], Format::Prometheus),
            (vec!["application/openmetrics-text;version=2.0.0"], Format::Prometheus),
            (vec!["application/openmetrics-text;q=0"], Format::Prometheus),
            (vec!["application/openmetrics-text;q=x, ;;,=;q"], Format::Prometheus),
        ] {
            assert_eq!(Format::negotiate(accept.iter().copied()), expected, "{accept:?}");
        }
    }

    #[test]
    fn text_format_describes_samples_by_full_name() {
        let text = "# HELP a_bytes A.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{account=\"x\"} 1\n\
                    # HELP b B c.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                    # HELP c C.\n# TYPE c gauge\nc 3\n# HELP a_bytes A.\n# TYPE a_bytes counter\n\
                    a_bytes_total{account=\"y\"} 2\n# EOF\n";
        let expected = "# HELP a_bytes_total A.\n# TYPE a_bytes_total counter\na_bytes_total{account=\"x\"} 1\n\
                        a_bytes_total{account=\"y\"} 2\n# HELP b_info B c.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                        # HELP c C.\n# TYPE c gauge\nc 3\n";
        assert_eq!(Format::Prometheus.render(text), expected);
    }
}
