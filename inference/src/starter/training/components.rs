//! Principal components of the encoder's word embeddings.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::ModelError;

/// The embeddings of `pieces` (name, row in the encoder), centred and reduced to their first
/// `width` principal components, scaled to a root mean square of `scale`. Row-major.
pub(super) fn word_embeddings(
    checkpoint: &[u8],
    pieces: &[(String, usize)],
    width: usize,
    scale: f32,
) -> Result<Vec<f32>, ModelError> {
    let broken = |reason: String| ModelError::File { path: "model.safetensors".to_owned(), reason };
    let tensors = SafeTensors::deserialize(checkpoint).map_err(|error| broken(error.to_string()))?;
    let view = ["embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"]
        .iter()
        .find_map(|name| tensors.tensor(name).ok());
    let view = view.ok_or_else(|| broken("no word embeddings".to_owned()))?;
    let &[_, size] = view.shape() else { return Err(broken("word embeddings are not a matrix".to_owned())) };
    if view.dtype() != Dtype::F32 || size < width {
        return Err(broken(format!(
            "word embeddings are {:?} and {size} wide; f32 and at least {width} are needed",
            view.dtype()
        )));
    }
    let value = |row: usize, column: usize| {
        let start = (row * size + column) * 4;
        view.data().get(start..start + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0.0, f32::from_le_bytes)
    };
    let mut rows: Vec<f32> =
        pieces.iter().flat_map(|(_, row)| (0..size).map(|column| value(*row, column)).collect::<Vec<_>>()).collect();
    let count = pieces.len();
    for column in 0..size {
        let mean = (0..count).map(|row| f64::from(rows[row * size + column])).sum::<f64>() / count as f64;
        (0..count).for_each(|row| rows[row * size + column] -= mean as f32);
    }
    let directions = eigenvectors(covariance(&rows, size), size, width);
    let mut reduced = vec![0.0_f32; count * width];
    for row in 0..count {
        for (component, direction) in directions.iter().enumerate() {
            reduced[row * width + component] = rows[row * size..(row + 1) * size]
                .iter()
                .zip(direction)
                .map(|(value, weight)| value * (*weight as f32))
                .sum();
        }
        // Every word speaks equally loudly.
        let own = &mut reduced[row * width..(row + 1) * width];
        let rms = (own.iter().map(|value| value * value).sum::<f32>() / width as f32).sqrt().max(1e-6);
        own.iter_mut().for_each(|value| *value *= scale / rms);
    }
    Ok(reduced)
}

fn covariance(rows: &[f32], size: usize) -> Vec<f64> {
    let mut matrix = vec![0.0_f64; size * size];
    for row in rows.chunks_exact(size) {
        for (left, value) in row.iter().enumerate() {
            let target = &mut matrix[left * size..(left + 1) * size];
            target.iter_mut().zip(row).for_each(|(sum, other)| *sum += f64::from(*value) * f64::from(*other));
        }
    }
    matrix
}

/// The eigenvectors of the `count` largest eigenvalues of a symmetric matrix, by Jacobi's method.
fn eigenvectors(mut matrix: Vec<f64>, size: usize, count: usize) -> Vec<Vec<f64>> {
    const SWEEPS: usize = 8;
    let mut vectors = vec![0.0_f64; size * size];
    (0..size).for_each(|index| vectors[index * size + index] = 1.0);
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut matrix, &mut vectors, size, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|left, right| matrix[right * size + right].total_cmp(&matrix[left * size + left]));
    // Vectors are kept as rows.
    order.into_iter().take(count).map(|index| vectors[index * size..(index + 1) * size].to_vec()).collect()
}

/// Makes the entry (p, q) zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], size: usize, p: usize, q: usize) {
    let off = matrix[p * size + q];
    let (a, b) = (matrix[p * size + p], matrix[q * size + q]);
    if off.abs() < 1e-12 * (a.abs() + b.abs()) {
        return;
    }
    let theta = (b - a) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for index in 0..size {
        let (x, y) = (matrix[p * size + index], matrix[q * size + index]);
        matrix[p * size + index] = cosine * x - sine * y;
        matrix[q * size + index] = sine * x + cosine * y;
        let (x, y) = (vectors[p * size + index], vectors[q * size + index]);
        vectors[p * size + index] = cosine * x - sine * y;
        vectors[q * size + index] = sine * x + cosine * y;
    }
    for index in 0..size {
        let (x, y) = (matrix[index * size + p], matrix[index * size + q]);
        matrix[index * size + p] = cosine * x - sine * y;
        matrix[index * size + q] = sine * x + cosine * y;
    }
}
