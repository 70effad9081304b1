//! Rows of measured figures: median, and the spread beside it.

/// Prints a row: what was measured, in which unit, and the median with the lowest and highest of all runs.
pub(crate) fn row(what: &str, unit: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let Some(median) = figures.get(figures.len() / 2) else { return };
    let (low, high) = (figures[0], figures[figures.len() - 1]);
    println!("| {what} | {} {unit} | {} - {} | {} |", show(*median), show(low), show(high), figures.len());
}

/// Prints the head of the table.
pub(crate) fn head() {
    println!("| measure | median | low - high | runs |\n|---|--:|---|--:|");
}

fn show(figure: f64) -> String {
    match figure.abs() {
        f if f >= 100.0 => format!("{figure:.0}"),
        f if f >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn figures_keep_three_digits() {
        assert_eq!([123.4, 12.34, 1.234].map(super::show), ["123", "12.3", "1.23"]);
    }
}
