//! Normalised discounted cumulative gain of the rows of a query (Järvelin and Kekäläinen 2002).
//! Rows of equal score share the mean of their places (McSherry and Najork 2008). Pure.

#[cfg(test)]
mod tests;

/// The largest grade: gains double with each grade.
pub(crate) const GRADE_MAX: f64 = 31.0;

/// Returns the gain of a grade.
pub(crate) fn gain(grade: f64) -> f64 {
    grade.exp2() - 1.0
}

/// Returns the discount of a place, from 0.
pub(crate) fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// Returns the gains of the best order within the first places.
pub(crate) fn ideal(mut grades: Vec<f64>, places: usize) -> f64 {
    grades.sort_by(|a, b| b.total_cmp(a));
    let first = grades.iter().take(places).enumerate();
    first
        .map(|(place, grade)| gain(*grade) * discount(place))
        .sum()
}

/// Returns the NDCG of pairs of a score and a grade within the first places; none if no row
/// has a grade above 0, as every order is as good. A score that is no number is the last.
pub(crate) fn of(rows: &[(f64, f64)], places: usize) -> Option<f64> {
    let ideal = ideal(rows.iter().map(|(_, grade)| *grade).collect(), places);
    if ideal <= 0.0 {
        return None;
    }
    let score = |row: &(f64, f64)| {
        if row.0.is_nan() {
            f64::NEG_INFINITY
        } else {
            row.0
        }
    };
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| score(b).total_cmp(&score(a)));

    let (mut place, mut found) = (0, 0.0);
    for tied in sorted.chunk_by(|a, b| score(a) == score(b)) {
        let discounts: f64 = (place..(place + tied.len()).min(places))
            .map(discount)
            .sum();
        let gains: f64 = tied.iter().map(|(_, grade)| gain(*grade)).sum();
        found += gains * discounts / tied.len() as f64;
        place += tied.len();
        if place >= places {
            break;
        }
    }
    Some(found / ideal)
}
