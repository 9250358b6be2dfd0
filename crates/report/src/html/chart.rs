//! The timings as a chart.
//!
//! Positions are percentages and heights are pixels, so that it is as wide as the screen and its text as large as the rest.

use maud::{Markup, html};

use crate::text::{cut, one_line};
use crate::timeline::{Ended, Span, SpanKind, Timeline};
use crate::words::{count, duration};

const ROW: usize = 34;
const TOP: usize = 20;
/// A label has to fit on a phone.
const MAX_LABEL: usize = 34;
/// What takes no time is to be seen all the same, in percent.
const MIN_WIDTH: f64 = 0.4;

/// The chart, in words for those who cannot see it, and in numbers.
pub(super) fn chart(timeline: &Timeline) -> Markup {
    html! {
        (drawing(timeline))
        @if timeline.left_out > 0 {
            p.soft { (count(timeline.left_out, "short step")) " left out." }
        }
        details {
            summary { "The chart in numbers" }
            (numbers(timeline))
        }
    }
}

/// What the chart shows, in a sentence or two.
fn description(timeline: &Timeline) -> String {
    let mut text = format!("The run took {}", duration(timeline.total_ms));
    let stages = timeline.spans.iter().filter(|span| span.kind == SpanKind::Stage);
    let stages: Vec<String> = stages.map(|span| format!("{} {}", span.name, duration(span.ms))).collect();
    if !stages.is_empty() {
        text.push_str(&format!(", by stages: {}", stages.join(", ")));
    }
    let longest =
        timeline.spans.iter().filter(|span| span.kind == SpanKind::Component).max_by_key(|span| span.ms);
    if let Some(longest) = longest {
        text.push_str(&format!(
            ". Up to {} built at once; the longest was {} with {}",
            count(timeline.at_once, "component"),
            longest.name,
            duration(longest.ms)
        ));
    }
    text.push('.');
    text
}

fn drawing(timeline: &Timeline) -> Markup {
    let height = TOP + ROW * timeline.spans.len() + 4;
    html! {
        p #chart-words { (description(timeline)) }
        svg.chart height=(height) role="img" aria-labelledby="chart-title" aria-describedby="chart-words" {
            title #chart-title { "Stages and components over time" }
            @for ms in ticks(timeline.total_ms) { (tick(ms, timeline.total_ms, height)) }
            @for (position, span) in timeline.spans.iter().enumerate() {
                (row(span, TOP + ROW * position, timeline.total_ms))
            }
        }
    }
}

fn tick(ms: u64, total: u64, height: usize) -> Markup {
    let x = percent(ms, total);
    let anchor = if x > 85.0 { "end" } else { "start" };
    html! {
        line x1=(at(x)) x2=(at(x)) y1="14" y2=(height) {}
        text.tick x=(at(x)) y="11" text-anchor=(anchor) { (round(ms, total)) }
    }
}

fn row(span: &Span, y: usize, total: u64) -> Markup {
    let class = match (span.ended, span.kind) {
        (Ended::Failed, _) => "failed",
        (_, SpanKind::Stage) => "stage",
        (_, SpanKind::Fetch) => "fetch",
        (_, SpanKind::Machine) => "machine",
        (_, SpanKind::Component) => "component",
    };
    let from = percent(span.from_ms, total).min(100.0 - MIN_WIDTH);
    let width = percent(span.ms, total).clamp(MIN_WIDTH, 100.0 - from);
    html! {
        text x="0" y=(y + 13) { (label(span)) }
        rect.track x="0" y=(y + 18) width="100%" height="10" rx="2" {}
        rect class=(class) x=(at(from)) y=(y + 18) width=(at(width)) height="10" rx="2" {}
    }
}

/// `mlnx-ofa_kernel, 1 min 40 s, failed`
fn label(span: &Span) -> String {
    let what = if span.kind == SpanKind::Stage { "Stage " } else { "" };
    let ended = if span.ended == Ended::Well { String::new() } else { format!(", {}", span.ended.word()) };
    format!("{what}{}, {}{ended}", cut(&one_line(&span.name), MAX_LABEL), duration(span.ms))
}

/// A round number in as few characters as go beside each other on a phone; in one unit for all of a chart.
fn round(ms: u64, total: u64) -> String {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    match total {
        _ if ms == 0 => "0".to_owned(),
        0..5_000 => format!("{ms} ms"),
        5_000..300_000 => format!("{} s", ms / 1000),
        _ if total < 5 * HOUR => format!("{} min", ms / MINUTE),
        _ => format!("{} h", ms / HOUR),
    }
}

/// Where lines stand: a few, at round numbers.
fn ticks(total: u64) -> Vec<u64> {
    const STEPS: &[u64] = &[
        50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
        900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000,
    ];
    let step = STEPS.iter().copied().find(|step| total / step <= 5).unwrap_or(total.max(1));
    let count = (total / step.max(1)).min(8);
    (0..=count).map(|n| n * step).collect()
}

#[expect(clippy::cast_precision_loss, reason = "positions on a screen")]
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part.min(whole) as f64 / whole.max(1) as f64
}

fn at(percent: f64) -> String {
    format!("{percent:.2}%")
}

fn numbers(timeline: &Timeline) -> Markup {
    let kind = |span: &Span| match span.kind {
        SpanKind::Stage => "stage",
        SpanKind::Fetch => "download",
        SpanKind::Machine => "machine",
        SpanKind::Component => "component",
    };
    let head = html! {
        th scope="col" { "What" }
        th scope="col" { "Kind" }
        th.number scope="col" { "Began after" }
        th.number scope="col" { "Took" }
        th scope="col" { "Ended" }
    };
    let rows = html! {
        @for span in &timeline.spans {
            tr {
                th scope="row" { (span.name) }
                td { (kind(span)) }
                td.number { (duration(span.from_ms)) }
                td.number { (duration(span.ms)) }
                td { (span.ended.word()) }
            }
        }
    };
    super::table("timings-numbers", "Stages, downloads and components by their beginning", head, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(124_000), [0, 30_000, 60_000, 90_000, 120_000]);
        let shown = |total| ticks(total).into_iter().map(|ms| round(ms, total)).collect::<Vec<_>>();
        assert_eq!(shown(124_000), ["0", "30 s", "60 s", "90 s", "120 s"]);
        assert_eq!(shown(520_000), ["0", "2 min", "4 min", "6 min", "8 min"]);
        assert_eq!(shown(4_500), ["0", "1000 ms", "2000 ms", "3000 ms", "4000 ms"]);
        assert_eq!(shown(40_000_000), ["0", "2 h", "4 h", "6 h", "8 h", "10 h"]);
        assert_eq!(ticks(0), [0]);
        for total in [1, 99, 1_000, 59_999, 3_600_000, 100_000_000, u64::MAX] {
            assert!(ticks(total).len() <= 9, "{total}");
        }
    }
}
