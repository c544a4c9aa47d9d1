//! The arithmetic of search.

/// Of BM25: how soon repetition stops counting, how much length counts.
const K1: f32 = 1.2;
const B: f32 = 0.75;

pub(crate) struct Ranked {
    pub position: usize,
    pub score: f32,
    pub cosine: Option<f32>,
    pub bm25: Option<f32>,
}

/// Best first; the later position first among equals.
pub(crate) fn best(mut ranked: Vec<Ranked>) -> Vec<Ranked> {
    ranked.sort_by(|one, other| other.score.total_cmp(&one.score).then(other.position.cmp(&one.position)));
    ranked
}

/// Never negative, however common the word.
pub(crate) fn inverse_document_frequency(documents: usize, containing: usize) -> f32 {
    let (documents, containing) = (documents as f32, containing as f32);
    (((documents - containing).max(0.0) + 0.5) / (containing + 0.5)).ln_1p()
}

/// A word's count in a document of `length` words, saturated and set against the average.
pub(crate) fn saturation(count: u32, length: u32, average_length: f32) -> f32 {
    let count = count as f32;
    let relative_length = length as f32 / average_length.max(1.0);
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative_length))
}

/// The vector at length one; `None` for zero, infinite and undefined ones, which have no direction.
pub(crate) fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    (norm.is_finite() && norm > 1e-12).then(|| vector.iter().map(|number| (f64::from(*number) / norm) as f32).collect())
}

/// Of two unit vectors; `None` where they do not belong to one model.
pub(crate) fn cosine(one: &[f32], other: &[f32]) -> Option<f32> {
    (one.len() == other.len()).then(|| one.iter().zip(other).map(|(left, right)| left * right).sum::<f32>().clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::{cosine, inverse_document_frequency, saturation, unit};

    #[test]
    fn a_vector_without_direction_is_none() {
        assert_eq!(unit(&[0.0, 0.0]), None);
        assert_eq!(unit(&[f32::NAN, 1.0]), None);
        assert_eq!(unit(&[f32::INFINITY, 1.0]), None);
        assert_eq!(unit(&[]), None);
        assert_eq!(unit(&[3.0e38, 2.0e38]).map(|vector| vector.len()), Some(2));
        assert_eq!(unit(&[3.0, 4.0]), Some(vec![0.6, 0.8]));
        assert_eq!(cosine(&[1.0], &[1.0, 0.0]), None);
    }

    #[test]
    fn bm25_by_hand() {
        // ln(1 + (10 - 2 + 0.5) / (2 + 0.5)) and 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2))
        assert!((inverse_document_frequency(10, 2) - 4.4_f32.ln()).abs() < 1e-6);
        assert!((saturation(2, 10, 5.0) - 4.4 / 4.1).abs() < 1e-6);
        assert!(inverse_document_frequency(1, 1) > 0.0);
    }
}
