//! Tables with aligned columns.

use crate::escape;

/// A table, or a few lines of a name and a value.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row. Text of clients is escaped, so that it cannot control the terminal.
    pub(super) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| escape::line(&cell).to_string()).collect());
    }

    /// Returns the lines.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_text_is_escaped() {
        let mut table = Table::new(&["ID", "CONSUMER"]);
        table.add(["1".to_owned(), "é".to_owned()]);
        table.add(["long".to_owned(), "a\u{1b}[2Jb".to_owned()]);
        let text = table.text();
        assert!(text.starts_with("ID    CONSUMER\n1     é\nlong  a"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
