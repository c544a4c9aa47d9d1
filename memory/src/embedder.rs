//! What memory asks of an embedding model.

/// Texts to vectors, such that close meaning is a small angle.
pub trait Embedder: Send + Sync {
    /// Vectors are kept by this name: another model, another name.
    fn name(&self) -> &str;

    fn dimensions(&self) -> usize;

    /// A text in pieces that the model reads to their ends, in order, the first with its beginning. One, where all of it
    /// is read at once.
    fn windows(&self, text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    /// One vector a text, in order.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String>;
}
