//! Pages. Each is one file that asks for nothing else: no script of others, no font, no image, and its content security
//! policy says so by the digests of what is in it.

mod chart;
pub(crate) mod coverage;
pub(crate) mod report;
pub(crate) mod summary;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::text::{cut, is_link, visible};

const STYLE: &str = include_str!("style.css");

/// What a page is made of.
pub(crate) struct Page<'a> {
    /// For the browser's tab.
    pub(crate) title: &'a str,
    /// The heading, and what belongs to it.
    pub(crate) header: Markup,
    /// The sections, each with its id and heading: what the page's navigation leads to.
    pub(crate) sections: Vec<(&'static str, &'static str, Markup)>,
    /// The last words.
    pub(crate) footer: Markup,
    /// A script that adds something to what works without.
    pub(crate) script: Option<&'static str>,
}

impl Page<'_> {
    /// The page's text.
    pub(crate) fn render(self) -> String {
        let policy = policy(self.script);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    meta name="robots" content="noindex";
                    title { (cut(self.title, 200)) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        a.skip href="#main" { "Skip to the content" }
                        (self.header)
                        (navigation(&self.sections))
                    }
                    main id="main" {
                        @for (id, heading, content) in &self.sections {
                            section id=(id) aria-labelledby=(format!("{id}-heading")) {
                                h2 id=(format!("{id}-heading")) { (heading) }
                                (content)
                            }
                        }
                    }
                    footer { (self.footer) }
                    @if let Some(script) = self.script { script { (PreEscaped(script)) } }
                }
            }
        };
        visible(&page.into_string()) + "\n"
    }
}

fn navigation(sections: &[(&'static str, &'static str, Markup)]) -> Markup {
    html! {
        nav aria-label="On this page" {
            ul { @for (id, heading, _) in sections { li { a href=(format!("#{id}")) { (heading) } } } }
        }
    }
}

/// Nothing from anywhere, but for what is on the page itself.
fn policy(script: Option<&str>) -> String {
    let digest = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let script = script.map_or_else(|| "'none'".to_owned(), digest);
    format!(
        "default-src 'none'; style-src {}; script-src {script}; base-uri 'none'; form-action 'none'",
        digest(STYLE)
    )
}

/// A link where a browser may go there; otherwise the text alone.
fn link(url: &str, text: &str) -> Markup {
    html! {
        @if is_link(url) { a href=(url) { (text) } } @else { span { (text) } }
    }
}

/// A table that is wider than a phone is moved by itself, with the keyboard as well.
fn table(id: &str, caption: &str, head: Markup, rows: Markup) -> Markup {
    let label = format!("{id}-caption");
    html! {
        section.scroll tabindex="0" aria-labelledby=(label) {
            table {
                caption id=(label) { (caption) }
                thead { tr { (head) } }
                tbody { (rows) }
            }
        }
    }
}

/// The headings of a table's columns.
fn columns(names: &[&str]) -> Markup {
    html! { @for name in names { th scope="col" { (name) } } }
}

/// A word in a pill.
fn mark(class: &str, word: &str) -> Markup {
    html! { span class=(format!("mark {class}")) { (word) } }
}
