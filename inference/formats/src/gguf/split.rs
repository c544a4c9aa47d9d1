//! Models split over several files: `NAME-00001-of-0000N.gguf`, each with `split.no` (from 0),
//! `split.count` and, over all parts, `split.tensors.count`.

use std::path::{Path, PathBuf};

use super::{GgufFile, Metadata, Part, parse};
use crate::FormatError;

/// Opens the file, and if it is a part all of its siblings.
pub(super) fn open(path: &Path) -> Result<GgufFile, FormatError> {
    let opened = Part::map(path)?;
    let (metadata, tensors) = parse::parse(path, opened.bytes(), 0)?;
    let Some(count) = count(&metadata)? else {
        return GgufFile::assemble(vec![opened], metadata, tensors);
    };
    let mut parts = Vec::new();
    let mut all_tensors = Vec::new();
    let mut first_metadata = None;
    for number in 0..count {
        let sibling = sibling(path, number, count)
            .ok_or_else(|| {
                let reason = format!("is one of {count} parts, but its name does not end in -00001-of-{count:05}.gguf; rename it as it was published");
                FormatError::new(path, reason)
            })?;
        if !sibling.exists() {
            let reason =
                format!("part {} of {count} of this model is missing; get it into the same folder", number + 1);
            return Err(FormatError::new(&sibling, reason));
        }
        let part = Part::map(&sibling)?;
        let (metadata, tensors) = parse::parse(&sibling, part.bytes(), number)?;
        if metadata.get::<usize>("split.no")? != Some(number) || self::count(&metadata)? != Some(count) {
            let reason = format!(
                "is not part {} of {count}, as its name says; the parts of different models are mixed",
                number + 1
            );
            return Err(FormatError::new(&sibling, reason));
        }
        parts.push(part);
        all_tensors.extend(tensors);
        first_metadata.get_or_insert(metadata);
    }
    let metadata = first_metadata.unwrap_or(metadata);
    if let Some(expected) = metadata.get::<usize>("split.tensors.count")?
        && expected != all_tensors.len()
    {
        let reason = format!(
            "the parts have {} tensors together, but should have {expected}; get them again",
            all_tensors.len()
        );
        return Err(metadata.error(reason));
    }
    GgufFile::assemble(parts, metadata, all_tensors)
}

/// How many parts there are, where there are several.
pub(super) fn count(metadata: &Metadata) -> Result<Option<usize>, FormatError> {
    Ok(metadata.get::<usize>("split.count")?.filter(|count| *count > 1))
}

/// The path of part `number` (from 0) beside the part at `path`.
fn sibling(path: &Path, number: usize, count: usize) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let suffix = format!("-of-{count:05}.gguf");
    let (stem, digits) = name.strip_suffix(&suffix)?.rsplit_once('-')?;
    let numbered = digits.len() >= 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
    numbered.then(|| path.with_file_name(format!("{stem}-{:05}{suffix}", number + 1)))
}
