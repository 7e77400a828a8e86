//! Principal components of a covariance matrix: eigenvectors by Jacobi's rotations (Golub and Van Loan,
//! Matrix Computations, 8.5). At most 64 columns, so that no library of linear algebra is needed.

#[cfg(test)]
mod tests;

/// Most sweeps over the matrix. Jacobi's method converges quadratically, in five to ten.
const SWEEPS_MAX: usize = 40;
/// Sum of the squares beside the diagonal, as a share of those on it, that is small enough.
const ENOUGH: f64 = 1e-18;

/// Returns the variances and directions of the components, the greatest variance first. `matrix` must be
/// symmetric.
pub(super) fn principal_components(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let width = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..width)
        .map(|i| (0..width).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();

    for _ in 0..SWEEPS_MAX {
        let square = |i: usize, j: usize| matrix[i][j] * matrix[i][j];
        let beside: f64 = (0..width)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| square(i, j))
            .sum();
        let along: f64 = (0..width).map(|i| square(i, i)).sum();
        if beside <= ENOUGH * along {
            break;
        }
        for i in 1..width {
            for j in 0..i {
                rotate(&mut matrix, &mut vectors, (j, i));
            }
        }
    }

    let direction = |at: usize| vectors.iter().map(|row| row[at]).collect();
    let mut found: Vec<(f64, Vec<f64>)> = (0..width)
        .map(|at| (matrix[at][at], direction(at)))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found
}

/// Turns two axes so that their covariance becomes 0.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], (p, q): (usize, usize)) {
    let beside = matrix[p][q];
    if beside == 0.0 {
        return;
    }
    let half = (matrix[q][q] - matrix[p][p]) / (2.0 * beside);
    let tangent = half.signum() / (half.abs() + (half * half + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    let turn = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);

    for row in matrix.iter_mut() {
        (row[p], row[q]) = turn(row[p], row[q]);
    }
    if let Ok([first, second]) = matrix.get_disjoint_mut([p, q]) {
        for (a, b) in first.iter_mut().zip(second) {
            (*a, *b) = turn(*a, *b);
        }
    }
    for row in vectors.iter_mut() {
        (row[p], row[q]) = turn(row[p], row[q]);
    }
}
