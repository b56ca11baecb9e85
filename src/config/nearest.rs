//! What was meant by a word that is not known.

/// The one of `known` that somebody may have meant by `word`.
pub(super) fn nearest(
    word: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let far = |name: &&'static str| strsim::osa_distance(&word, &name.replace('-', "_"));
    let best = known.into_iter().min_by_key(far)?;
    // A third of the letters may be wrong.
    (far(&best) <= word.len().max(best.len()) / 3).then_some(best)
}
