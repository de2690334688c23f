//! A table, once for each way to write it.

use std::fmt::Write as _;

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) heading: String,
    /// Empty where there is none.
    pub(super) unit: &'static str,
    pub(super) is_number: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// Its figures may not be used.
    pub(super) is_bad: bool,
}

impl Column {
    pub(super) fn text(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), unit: "", is_number: false }
    }

    pub(super) fn number(heading: impl Into<String>, unit: &'static str) -> Self {
        Self { heading: heading.into(), unit, is_number: true }
    }

    fn whole_heading(&self) -> String {
        if self.unit.is_empty() { self.heading.clone() } else { format!("{} ({})", self.heading, self.unit) }
    }
}

impl Table {
    /// The first cell of a row is its heading.
    pub(super) fn html(&self) -> String {
        let mut out = String::from("<div class=\"wide\" tabindex=\"0\"><table>\n");
        let _ = writeln!(out, "<caption>{}</caption>", escaped(&self.caption));
        out.push_str("<thead><tr>");
        for column in &self.columns {
            let class = if column.is_number { " class=\"n\"" } else { "" };
            let unit = match column.unit {
                "" => String::new(),
                unit => format!(" <span class=\"unit\">{}</span>", escaped(unit)),
            };
            let _ = write!(out, "<th scope=\"col\"{class}>{}{unit}</th>", escaped(&column.heading));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            out.push_str(if row.is_bad { "<tr class=\"bad\">" } else { "<tr>" });
            for (at, (cell, column)) in row.cells.iter().zip(&self.columns).enumerate() {
                let class = if column.is_number { " class=\"n\"" } else { "" };
                let cell = escaped(cell);
                let _ = match at {
                    0 => write!(out, "<th scope=\"row\"{class}>{cell}</th>"),
                    _ => write!(out, "<td{class}>{cell}</td>"),
                };
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        out
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = format!("{}\n\n", self.caption);
        let headings: Vec<String> = self.columns.iter().map(|it| piped(&it.whole_heading())).collect();
        let _ = writeln!(out, "| {} |", headings.join(" | "));
        let rules: Vec<&str> =
            self.columns.iter().map(|it| if it.is_number { "--:" } else { "---" }).collect();
        let _ = writeln!(out, "| {} |", rules.join(" | "));
        for row in &self.rows {
            let cells: Vec<String> = row.cells.iter().map(|cell| piped(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out.push('\n');
        out
    }
}

/// Text that may hold anything, inside HTML or SVG.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are no part of HTML or SVG.
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn piped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
