//! Rows of measured figures: median, and the spread beside it.

/// Prints a row: what was measured, in which unit, and the median with the lowest and highest of all runs.
pub(crate) fn row(what: &str, unit: &str, figures: Vec<f64>) {
    if let Some((median, spread, runs)) = told(figures) {
        println!("| {what} | {median} {unit} | {spread} | {runs} |");
    }
}

/// Prints the head of the table.
pub(crate) fn head() {
    println!("| measure | median | low - high | runs |\n|---|--:|---|--:|");
}

/// Prints a row that says besides what is asked for.
pub(crate) fn asked_row(what: &str, unit: &str, asked: &str, figures: Vec<f64>) {
    if let Some((median, spread, runs)) = told(figures) {
        println!("| {what} | {asked} | {median} {unit} | {spread} | {runs} |");
    }
}

/// Prints the head of a table of such rows.
pub(crate) fn asked_head() {
    println!("| measure | must / aim | median | low - high | runs |\n|---|---|--:|---|--:|");
}

/// The median, the spread, and how many figures there are.
fn told(mut figures: Vec<f64>) -> Option<(String, String, usize)> {
    figures.sort_by(f64::total_cmp);
    let median = *figures.get(figures.len() / 2)?;
    let (low, high) = (figures[0], figures[figures.len() - 1]);
    Some((show(median), format!("{} - {}", show(low), show(high)), figures.len()))
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

    #[test]
    fn the_median_stands_beside_the_spread() {
        assert_eq!(super::told(vec![3.0, 1.0, 20.0]), Some(("3.00".to_owned(), "1.00 - 20.0".to_owned(), 3)));
        assert_eq!(super::told(Vec::new()), None);
    }
}
