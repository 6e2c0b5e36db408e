//! The page: one file without a script, that asks nobody for anything.

use std::fmt::Write as _;

use seedbank_engine::text::is_unseen;

use super::plot::Plot;
use super::svg;

const STYLE: &str = include_str!("style.css");

/// Even if a name were taken for markup, nothing would be run or fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page that grows from top to bottom.
#[derive(Debug)]
pub(super) struct ReportPage {
    title: String,
    body: String,
}

/// A table: names of columns, and rows of as many cells.
#[derive(Debug)]
pub(super) struct PageTable {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns at the left that hold words.
    words: usize,
}

impl ReportPage {
    pub(super) fn new(title: &str, about: &str, summary: &str) -> Self {
        let mut body = format!("<h1>{}</h1>\n", escape(title));
        if !about.trim().is_empty() {
            let _ = writeln!(body, "<p class=\"lead\">{}</p>", escape(about.trim()));
        }
        let _ = writeln!(body, "<p>{}</p>", escape(summary));
        Self {
            title: title.to_owned(),
            body,
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(text));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"note\">{}</p>", escape(text));
    }

    /// What is to be copied.
    pub(super) fn listing(&mut self, text: &str) {
        let _ = writeln!(self.body, "<pre>{}</pre>", escape(text.trim_end()));
    }

    pub(super) fn table(&mut self, table: &PageTable) {
        self.body.push_str(&table.html());
    }

    /// A table that is unfolded by who wants to see it.
    pub(super) fn folded(&mut self, title: &str, table: &PageTable) {
        let (title, table) = (escape(title), table.html());
        let _ = writeln!(
            self.body,
            "<details><summary>{title}</summary>\n{table}</details>"
        );
    }

    /// Those plots on which there is something to see.
    pub(super) fn plots(&mut self, plots: &[Plot]) {
        self.body.push_str("<div class=\"plots\">\n");
        for plot in plots.iter().filter(|plot| !plot.is_empty()) {
            self.body.push_str(&svg::figure(plot));
        }
        self.body.push_str("</div>\n");
    }

    pub(super) fn finish(self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n\
             </body>\n</html>\n",
            escape(&self.title),
            self.body
        )
    }
}

impl PageTable {
    /// Columns of which so many at the left hold words, the others numbers.
    pub(super) fn new(words: usize, head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
            words,
        }
    }

    /// # Panics
    /// If the row has other columns than the table.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(
            cells.len(),
            self.head.len(),
            "a row has the table's columns"
        );
        self.rows.push(cells);
    }

    /// Leaves out columns in which nothing is told.
    pub(super) fn without_empty_columns(mut self) -> Self {
        let tells = |column: usize| self.rows.iter().any(|row| !is_nothing(&row[column]));
        let kept: Vec<bool> = (0..self.head.len())
            .map(|column| column < self.words || tells(column))
            .collect();
        let keep = |cells: &mut Vec<String>| {
            let mut each = kept.iter();
            cells.retain(|_| *each.next().expect("as many"));
        };
        keep(&mut self.head);
        self.rows.iter_mut().for_each(keep);
        self
    }

    fn html(&self) -> String {
        let class = |column: usize| {
            if column < self.words {
                ""
            } else {
                " class=\"n\""
            }
        };
        let mut html = "<div class=\"table\"><table>\n<thead><tr>".to_owned();
        for (column, name) in self.head.iter().enumerate() {
            let _ = write!(html, "<th{}>{}</th>", class(column), escape(name));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(html, "<td{}>{}</td>", class(column), escape(cell));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

fn is_nothing(cell: &str) -> bool {
    matches!(cell, "" | "–" | "0")
}

/// Text that stands in markup as itself. Control characters, and those that nobody sees or that
/// turn the direction of writing, are shown as U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            _ if c.is_control() || is_unseen(c) => safe.push('\u{fffd}'),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_never_markup() {
        let hostile = "</pre><script>alert('1')</script>&\"\u{0}\u{202e}\u{200b}";
        let safe = escape(hostile);
        assert_eq!(
            safe,
            "&lt;/pre&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\
             \u{fffd}\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn a_column_in_which_nothing_is_told_is_left_out() {
        let mut table = PageTable::new(1, &["name", "done", "paid"]);
        table.row(vec!["a".to_owned(), "3".to_owned(), "–".to_owned()]);
        table.row(vec!["b".to_owned(), "0".to_owned(), "0".to_owned()]);
        let table = table.without_empty_columns();
        assert_eq!(table.head, ["name", "done"]);
        assert_eq!(table.rows[1], ["b", "0"]);
    }
}
